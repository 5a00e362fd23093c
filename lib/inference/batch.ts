// Rows of token ids -> the tensors of a batch: ids, the order of prompt and tokens, positions, and
// where the label's tokens are predicted. Knows lengths and ids, no model.

import { arrange, type Placement } from '../prompt/index.js'
import { type Tensor, tensor } from '../torch/index.js'

/** A text and the label that continues it; the label may be the one token that is to be predicted. */
export interface Row {
  readonly text: readonly number[]
  /** Tokens whose logits are wanted, in order: one at least. */
  readonly label: readonly number[]
}

/**
 * B rows; T tokens of the longest, label but its last token included; K label tokens; Q positions
 * that run: P + T, or T where the prompt's keys and values are shared by all rows.
 */
export interface Batch {
  readonly size: number
  /** int64 [B, T], right-padded. */
  readonly ids: Tensor
  /** int64 [B, Q]: which of [prompt | ids] stands where; null where that is the order already. */
  readonly order: Tensor | null
  /** int64 [B, Q] */
  readonly positions: Tensor
  /** int64 [B, K]: where each label token is predicted; a shorter label repeats its last. */
  readonly queries: Tensor
  /** int64 [M]: which of the B * K queries are no repetition. */
  readonly asked: Tensor
  /** int64 [M]: the label tokens, row by row. */
  readonly targets: Tensor
}

/** Where a prompt of P vectors stands in a batch's rows. */
export interface BatchPlace {
  readonly P: number
  readonly placement: Placement
  /** The prompt stands before all rows, as keys and values that they share: the batch has text only. */
  readonly shared: boolean
  readonly device: string
}

/** Builds a batch on `device`. A suffix stands at each row's own length, never behind padding. */
export function makeBatch(
  rows: readonly Row[],
  { P, placement, shared, device }: BatchPlace,
): Batch {
  // A label's last token is predicted, never read.
  const tokens = rows.map(({ text, label }) => [...text, ...label.slice(0, -1)])
  const T = Math.max(...tokens.map((ids) => ids.length))
  const before = shared ? P : 0 // positions that lie before the batch's
  const Q = P + T - before
  const K = Math.max(...rows.map(({ label }) => label.length))

  const padded = (values: readonly number[], length: number, padding: number) =>
    Array.from({ length }, (_, i) => values[i] ?? padding)
  const int64 = (values: number[] | number[][]) =>
    tensor(values, { dtype: 'int64', device })

  const order = () =>
    rows.map(({ text }, i) => {
      const ids = tokens[i] as number[]
      // What stands in padding is not attended to: any vector does.
      return padded(arrange(placement, P, text.length, ids.length), Q, 0)
    })
  const first = rows.map(({ text }) => P + text.length - 1 - before)
  const queries = rows.map(({ label }, i) =>
    Array.from(
      { length: K },
      (_, j) => (first[i] as number) + Math.min(j, label.length - 1),
    ),
  )
  return {
    size: rows.length,
    ids: int64(tokens.map((ids) => padded(ids, T, 0))),
    order: P === 0 || placement === 'prefix' ? null : int64(order()),
    positions: int64(rows.map(() => Array.from({ length: Q }, (_, i) => before + i))),
    queries: int64(queries),
    asked: int64(rows.flatMap(({ label }, i) => label.map((_, j) => i * K + j))),
    targets: int64(rows.flatMap(({ label }) => [...label])),
  }
}
