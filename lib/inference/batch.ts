// Rows of token ids -> the tensors of a batch: ids, the order of prompt and tokens, positions, and
// where the label's tokens are predicted. Knows lengths and ids, no model.

import { arrange, type Placement } from '../prompt/index.js'
import { type Tensor, tensor } from '../torch/index.js'

/** A text and the labels that may continue it: one at least, and as many for each row of a batch. */
export interface Row {
  readonly text: readonly number[]
  /** Tokens whose logits are wanted, in order: one token at least of each label. */
  readonly labels: readonly (readonly number[])[]
}

/** Where a prompt of P vectors stands in a batch's rows. */
export interface BatchPlace {
  readonly P: number
  /** Tokens of a text, its first, whose embeddings are shifted; default 0. */
  readonly S?: number
  readonly placement: Placement
  /** The prompt stands before all rows, as keys and values that they share: the batch has text only. */
  readonly shared: boolean
  readonly device: string
}

/** B rows that a prompt is put into: T tokens of the longest. */
export interface Inputs {
  readonly size: number
  /** int64 [B, T], right-padded. */
  readonly ids: Tensor
  /** int64 [B, Q]: which of [prompt | ids] stands where; null where that is the order already. */
  readonly order: Tensor | null
  /** int64 [B, T]: by which of S shifts a token's embedding is moved, S for none; null where S is 0. */
  readonly shifts: Tensor | null
}

/**
 * For a causal model: a text's labels are a row each, and the label, but its last token, stands behind
 * the text. K label tokens; Q positions that run: P + T, or T where the prompt's keys and values are
 * shared by all rows.
 */
export interface CausalBatch extends Inputs {
  /** int64 [B, Q] */
  readonly positions: Tensor
  /** int64 [B, K]: where each label token is predicted; a shorter label repeats its last. */
  readonly queries: Tensor
  /** int64 [M]: which of the B * K queries are no repetition. */
  readonly asked: Tensor
  /** int64 [M]: the label tokens, row by row. */
  readonly targets: Tensor
}

/** For an encoder-decoder model: the texts at the encoder, their labels at the decoder. */
export interface EncoderDecoderBatch {
  /** One row a text. */
  readonly encoder: Inputs & {
    /** bool [B, Q]: true at prompt and text; null where no row is padded. */
    readonly mask: Tensor | null
  }
  /** int64 [B, K] each, one a label of a text: the start token and the label but its last token. */
  readonly decoder: readonly Tensor[]
  /** int64 [M]: which of the decoder's positions, one batch after the other, are no padding, row by row. */
  readonly asked: Tensor
  /** int64 [M]: the label tokens, row by row. */
  readonly targets: Tensor
}

function padded(values: readonly number[], length: number, padding: number): number[] {
  return Array.from({ length }, (_, i) => values[i] ?? padding)
}

function longest(rows: readonly (readonly number[])[]): number {
  return Math.max(...rows.map(({ length }) => length))
}

/**
 * Right-padded ids, and the order that puts the prompt in its place: a suffix stands at each row's
 * own length, never behind padding.
 *
 * @param before tokens of each row that a suffix stands behind
 * @param texts how many of each row's tokens are the text's: the rest is the label's
 */
function makeInputs(
  tokens: readonly (readonly number[])[],
  before: readonly number[],
  texts: readonly number[],
  { P, S = 0, placement, device }: BatchPlace,
): Inputs {
  const T = longest(tokens)
  const shifts = () =>
    texts.map((length) =>
      Array.from({ length: T }, (_, j) => (j < length ? Math.min(j, S) : S)),
    )
  const order = () =>
    tokens.map((ids, i) =>
      // What stands in padding is not attended to: any vector does.
      padded(arrange(placement, P, before[i] as number, ids.length), P + T, 0),
    )
  const int64 = (values: number[][]) => tensor(values, { dtype: 'int64', device })
  return {
    size: tokens.length,
    ids: int64(tokens.map((ids) => padded(ids, T, 0))),
    order: P === 0 || placement === 'prefix' ? null : int64(order()),
    shifts: S === 0 ? null : int64(shifts()),
  }
}

export function makeCausalBatch(rows: readonly Row[], place: BatchPlace): CausalBatch {
  const { P, shared, device } = place
  const pairs = rows.flatMap(({ text, labels }) =>
    labels.map((label) => ({ text, label })),
  )
  // A label's last token is predicted, never read.
  const tokens = pairs.map(({ text, label }) => [...text, ...label.slice(0, -1)])
  const texts = pairs.map(({ text }) => text.length)
  const K = longest(pairs.map(({ label }) => label))
  const before = shared ? P : 0 // positions that lie before the batch's
  const Q = P + longest(tokens) - before
  const queries = pairs.map(({ text, label }) => {
    const first = P + text.length - 1 - before
    return Array.from({ length: K }, (_, j) => first + Math.min(j, label.length - 1))
  })
  const int64 = (values: number[] | number[][]) =>
    tensor(values, { dtype: 'int64', device })
  return {
    ...makeInputs(tokens, texts, texts, place),
    positions: int64(pairs.map(() => Array.from({ length: Q }, (_, i) => before + i))),
    queries: int64(queries),
    asked: int64(pairs.flatMap(({ label }, i) => label.map((_, j) => i * K + j))),
    targets: int64(pairs.flatMap(({ label }) => [...label])),
  }
}

/**
 * A text is encoded once, and its n-th label decoded with the other texts' n-th.
 *
 * @param tokens.end ends each text at the encoder
 * @param tokens.start what the decoder starts from
 */
export function makeEncoderDecoderBatch(
  rows: readonly Row[],
  place: BatchPlace,
  { start, end }: { start: number; end: number },
): EncoderDecoderBatch {
  const { P, device } = place
  const ended = rows.map(({ text }) => [...text, end])
  const Q = P + longest(ended)
  const isPadded = ended.some((ids) => P + ids.length < Q)
  const mask = () =>
    tensor(
      ended.map((ids) => Array.from({ length: Q }, (_, i) => Number(i < P + ids.length))),
      { dtype: 'bool', device },
    )
  const int64 = (values: number[] | number[][]) =>
    tensor(values, { dtype: 'int64', device })

  // Of each text's n-th label: how long the batch is, and where it begins among all positions.
  let positions = 0
  const groups = (rows[0] as Row).labels.map((_, n) => {
    const own = rows.map(({ labels }) => labels[n] as readonly number[])
    const group = { own, K: longest(own), begin: positions }
    positions += rows.length * group.K
    return group
  })
  const asked = rows.flatMap(({ labels }, i) =>
    groups.flatMap(({ K, begin }, n) =>
      (labels[n] as readonly number[]).map((_, j) => begin + i * K + j),
    ),
  )
  return {
    encoder: {
      ...makeInputs(
        ended,
        rows.map(({ text }) => text.length),
        ended.map(({ length }) => length), // what ends a text is read with it
        place,
      ),
      mask: isPadded ? mask() : null,
    },
    decoder: groups.map(({ own, K }) =>
      int64(own.map((label) => padded([start, ...label.slice(0, -1)], K, start))),
    ),
    asked: int64(asked),
    targets: int64(rows.flatMap(({ labels }) => labels.flat())),
  }
}
