// Rows of token ids -> the tensors of a batch: ids, the order of prompt and tokens, positions, and
// where the label's tokens are predicted. Knows lengths and ids, no model.

import { arrange, type Placement } from '../prompt/index.js'
import type { Tensor } from '../torch/index.js'
import type { Inputs as InputTensors } from './inputs.js'

/** A text, the labels that may continue it, one at least, and the prompt that it is run with. */
export interface Row {
  readonly text: readonly number[]
  /** Tokens whose logits are wanted, in order: one token at least of each label. */
  readonly labels: readonly (readonly number[])[]
  /** Its place in the set of prompts. */
  readonly prompt: number
}

/** Where a prompt of P vectors stands in a batch's rows. */
export interface BatchPlace {
  readonly P: number
  /** Tokens of a text, its first, whose embeddings are shifted; 0 for none. */
  readonly S: number
  readonly placement: Placement
  /** The prompt stands before its rows, as keys and values that they share: the batch has text only. */
  readonly shared: boolean
}

/** What a batch is made for: the place of each prompt that a row may name, and where its tensors are made. */
export interface BatchOptions {
  readonly places: readonly BatchPlace[]
  readonly inputs: InputTensors
  /** The texts stand before the rows, as keys and values: the batch has suffix prompts and labels only. */
  readonly behindTexts?: boolean
  /** Label tokens may be asked for more than once, so that few counts of them come: the last one again and again. */
  readonly isPadded?: boolean | undefined
}

/** Rows of one prompt, or of any with `owners`, which lie next to each other in a batch. */
export interface BatchGroup {
  readonly prompt: number
  /** int64 [size]: the prompt of each row; null where that is `prompt`. */
  readonly owners: Tensor | null
  /** Its rows are `begin`..`begin + size - 1`. */
  readonly begin: number
  readonly size: number
  /** int64 [size, its positions]: which of [prompt | ids] stands where; null where that is the order already. */
  readonly order: Tensor | null
  /** int64 [size, T]: by which of S shifts a token's embedding is moved, S for none; null where S is 0. */
  readonly shifts: Tensor | null
}

/** B rows that prompts are put into: T tokens of the longest, Q positions that run. */
export interface Inputs {
  readonly Q: number
  /** int64 [B, T], right-padded, the rows of a prompt next to each other; null where T is 0. */
  readonly ids: Tensor | null
  readonly groups: readonly BatchGroup[]
}

/**
 * For a causal model: a text's labels are a row each, and the label, but its last token, stands behind
 * the text. K label tokens; Q positions that run, without what stands before the rows as keys and values:
 * a prompt that its rows share, or the texts.
 */
export interface CausalBatch extends Inputs {
  /** Which of the labels that were given, row by row, each row has. */
  readonly given: readonly number[]
  /** The text of each row. */
  readonly texts: readonly (readonly number[])[]
  /** Keys and values before the rows, of what stands there: as many as the longest has, or more. */
  readonly before: number
  /** int64 [B, Q] */
  readonly positions: Tensor
  /** bool [B, before + Q], with the keys and values before a row: false where it has fewer; null where all have as many. */
  readonly mask: Tensor | null
  /** int64 [B]: which group each row is of; null where all are as large. */
  readonly owners: Tensor | null
  /** int64 [B, K]: where each label token is predicted; a shorter label repeats its last. */
  readonly queries: Tensor
  /** int64 [M]: which of the B * K queries are no repetition, in the order of the rows as they were given; maybe padded. */
  readonly asked: Tensor
  /** int64 [M]: the label tokens, row by row, as `asked`. */
  readonly targets: Tensor
}

/** For an encoder-decoder model: the texts at the encoder, their labels at the decoder. */
export interface EncoderDecoderBatch {
  /** Which of the texts that were given each row has. */
  readonly given: readonly number[]
  /** One row a text. */
  readonly encoder: Inputs & {
    /** bool [B, Q]: true at prompt and text; null where no row is padded. */
    readonly mask: Tensor | null
  }
  /**
   * int64 [B, K] each, the texts' first labels, then their second: the start token and the label but its last
   * token. A text that has fewer repeats its last.
   */
  readonly decoder: readonly Tensor[]
  /**
   * int64 [M]: which of the decoder's positions, one batch after the other, are asked for, in the order of the rows
   * as they were given; maybe padded.
   */
  readonly asked: Tensor
  /** int64 [M]: the label tokens, row by row, as `asked`. */
  readonly targets: Tensor
}

/** A row of a batch, and where it was among those given. */
interface Placed<R> {
  readonly row: R
  readonly given: number
}

/** Rows by prompt, those of one in their order. */
function byPrompt<R extends { readonly prompt: number }>(
  rows: readonly R[],
): Placed<R>[] {
  return rows
    .map((row, given) => ({ row, given }))
    .sort((a, b) => a.row.prompt - b.row.prompt || a.given - b.given)
}

/**
 * Of each row as it was given, where it is now.
 *
 * @param given of each row now, which of those given it is
 */
export function placesOf(given: readonly number[]): number[] {
  const at: number[] = []
  given.forEach((place, i) => {
    at[place] = i
  })
  return at
}

function range(length: number, value: (i: number) => number): number[] {
  return Array.from({ length }, (_, i) => value(i))
}

function padded(values: readonly number[], length: number, padding: number): number[] {
  return Array.from({ length }, (_, i) => values[i] ?? padding)
}

/** How many tokens are predicted, padding among them, where each of some labels is a row. */
export function predictedOf(labels: Row['labels'], inputs: InputTensors): number {
  const count = labels.reduce((sum, { length }) => sum + length, 0)
  return inputs.predictedOf(count, labels.length * inputs.answerOf(longest(labels)))
}

/** A figure of each token of the labels; the last one again and again behind them where they are padded. */
export function paddedAsked(
  values: readonly number[],
  labels: Row['labels'],
  { inputs, isPadded = false }: Pick<BatchOptions, 'inputs' | 'isPadded'>,
): number[] {
  const count = isPadded ? predictedOf(labels, inputs) : values.length
  return padded(values, count, values.at(-1) as number)
}

function longest(rows: readonly (readonly number[])[]): number {
  return Math.max(...rows.map(({ length }) => length))
}

/** Positions of a prompt that stand in its rows. */
function inside({ P, shared }: BatchPlace): number {
  return shared ? 0 : P
}

/** What a row is read from. */
interface Tokens {
  readonly prompt: number
  /** All that is read of text and label. */
  readonly ids: readonly number[]
  /** How many of them a suffix stands behind. */
  readonly before: number
  /** How many of them are the text's: the rest is the label's. */
  readonly text: number
}

/**
 * Right-padded ids, and for each prompt the order that puts it in its place: a suffix stands at each row's
 * own length, never behind padding.
 *
 * @param rows by prompt
 */
function makeInputs(
  rows: readonly Tokens[],
  { places, inputs }: BatchOptions,
  alike: Alike | null,
): Inputs {
  const tokens = longest(rows.map(({ ids }) => ids))
  const T = tokens === 0 ? 0 : inputs.lengthOf(tokens)
  const placeOf = ({ prompt }: Tokens) => places[prompt] as BatchPlace
  const positions = Math.max(...rows.map((row) => inside(placeOf(row)) + row.ids.length))
  const Q = positions + T - tokens
  const groups = groupsOf(rows, places, alike).map(
    ({ prompt, begin, own }): BatchGroup => {
      if (alike === null) inputs.note(`${own.length} of ${prompt}`)
      const owners = () => inputs.int64(own.map((row) => row.prompt))
      const { P, S, placement, shared } = places[prompt] as BatchPlace
      const order = () =>
        own.map(({ before, ids }) =>
          // What stands in padding is not attended to: any vector does.
          padded(arrange(placement, P, before, ids.length), Math.min(P + T, Q), 0),
        )
      const shifts = () =>
        own.map(({ text }) =>
          Array.from({ length: T }, (_, j) => (j < text ? Math.min(j, S) : S)),
        )
      // A suffix behind texts that lie before the batch is the first that its rows have.
      const isFirst =
        placement === 'prefix' ||
        (placement === 'suffix' && own.every(({ before }) => before === 0))
      const isInOrder = shared || P === 0 || isFirst
      return {
        prompt,
        begin,
        size: own.length,
        owners: alike === 'vectors' ? owners() : null,
        order: isInOrder ? null : inputs.int64(order()),
        shifts: S === 0 ? null : inputs.int64(shifts()),
      }
    },
  )
  return {
    Q,
    ids: T === 0 ? null : inputs.int64(rows.map(({ ids }) => padded(ids, T, 0))),
    groups,
  }
}

/** How prompts are alike: as keys and values before their rows, or as vectors of one number and place within them. */
type Alike = 'keys' | 'vectors'

/** How several prompts are alike that any row may have, without a trace in the shape of anything; null: they are not, or there is one. */
function alikeOf({ places, inputs, behindTexts }: BatchOptions): Alike | null {
  const [first] = places as readonly [BatchPlace]
  const isAlike = (place: BatchPlace) =>
    place.S === 0 &&
    inside(place) === inside(first) &&
    (inside(first) === 0 || place.placement === first.placement)
  if (!inputs.takesAnyPrompts || places.length === 1 || behindTexts) return null
  if (!places.every(isAlike)) return null
  return inside(first) === 0 ? 'keys' : 'vectors'
}

/** Rows of one prompt, where they begin; of prompts that are keys alone, one for each, though no row has it. */
function groupsOf(
  rows: readonly Tokens[],
  places: readonly BatchPlace[],
  alike: Alike | null,
): { prompt: number; begin: number; own: readonly Tokens[] }[] {
  if (alike === 'vectors') return [{ prompt: 0, begin: 0, own: rows }]
  const used = new Set(rows.map(({ prompt }) => prompt))
  let begin = 0
  return [...(alike === 'keys' ? places.keys() : used)].map((prompt) => {
    const own = rows.filter((row) => row.prompt === prompt)
    begin += own.length
    return { prompt, begin: begin - own.length, own }
  })
}

/** int64 [B]: which group each row is of; null where all are as large. */
function ownersOf(
  groups: readonly BatchGroup[],
  tensors: InputTensors,
  alike: Alike | null,
): Tensor | null {
  const isEven = groups.every(({ size }) => size === groups[0]?.size)
  if (groups.length === 1 || (isEven && alike === null)) return null
  return tensors.int64(groups.flatMap(({ size }, i) => range(size, () => i)))
}

export function makeCausalBatch(
  rows: readonly Row[],
  options: BatchOptions,
): CausalBatch {
  const { places, inputs: tensors, behindTexts = false } = options
  const pairs = byPrompt(
    rows.flatMap(({ text, labels, prompt }) =>
      labels.map((label) => ({ text, label, prompt })),
    ),
  )
  const tokens = pairs.map(({ row: { text, label, prompt } }): Tokens => {
    const own = behindTexts ? [] : text
    // A label's last token is predicted, never read.
    const ids = [...own, ...label.slice(0, -1)]
    return { prompt, ids, before: own.length, text: own.length }
  })
  const alike = alikeOf(options)
  const inputs = makeInputs(tokens, options, alike)
  const insideOf = ({ prompt }: Tokens) => inside(places[prompt] as BatchPlace)
  const befores = tokens.map((row, i) =>
    behindTexts
      ? (pairs[i]?.row.text.length as number)
      : (places[row.prompt] as BatchPlace).P - insideOf(row),
  )
  const longestBefore = Math.max(...befores)
  const before = behindTexts ? tensors.lengthOf(longestBefore) : longestBefore
  const K = tensors.answerOf(longest(pairs.map(({ row }) => row.label)))
  const queries = tokens.map((row, i) => {
    const first = insideOf(row) + row.text - 1
    const last = (pairs[i]?.row.label.length as number) - 1
    return range(K, (j) => first + Math.min(j, last))
  })
  const order = pairs.map(({ given }) => given)
  const at = placesOf(order)
  const given = rows.flatMap(({ labels }) => labels)
  const asked = given.flatMap((label, i) =>
    label.map((_, j) => (at[i] as number) * K + j),
  )
  return {
    ...inputs,
    given: order,
    texts: pairs.map(({ row }) => row.text),
    before,
    ...standing(
      tokens.map((row) => insideOf(row) + row.ids.length),
      { befores, before },
      inputs,
      tensors,
    ),
    owners: ownersOf(inputs.groups, tensors, alike),
    queries: tensors.int64(queries),
    asked: tensors.int64(paddedAsked(asked, given, options)),
    targets: tensors.int64(paddedAsked(given.flat(), given, options)),
  }
}

/**
 * What stands before the rows, and the places of their own positions behind it.
 *
 * @param lengths positions of each row that are no padding
 * @param past.befores keys and values before each row, of `before` that there are
 */
function standing(
  lengths: readonly number[],
  { befores, before }: { befores: readonly number[]; before: number },
  { Q, groups }: Inputs,
  tensors: InputTensors,
): Pick<CausalBatch, 'positions' | 'mask'> {
  // A padding position's place does not matter, but it must be one that the model has.
  const ends = groups.flatMap(({ begin, size }) => {
    const end = Math.max(...lengths.slice(begin, begin + size)) - 1
    return Array.from({ length: size }, () => end)
  })
  // Behind a long text with a short label even that would be beyond what any row has.
  const last = Math.max(...befores.map((own, i) => own + (lengths[i] as number) - 1))
  const positions = befores.map((own, i) =>
    range(Q, (j) => Math.min(own + Math.min(j, ends[i] as number), last)),
  )
  const mask = () =>
    tensors.bool(
      befores.map((own) => range(before + Q, (j) => Number(j < own || j >= before))),
    )
  return {
    positions: tensors.int64(positions),
    mask: befores.every((own) => own === before) ? null : mask(),
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
  options: BatchOptions,
  { start, end }: { start: number; end: number },
): EncoderDecoderBatch {
  const placed = byPrompt(rows)
  const tokens = placed.map(({ row: { text, prompt } }): Tokens => {
    const ids = [...text, end]
    return { prompt, ids, before: text.length, text: ids.length } // what ends a text is read with it
  })
  // Keys and values that prompts give to the decoder are not told apart row by row.
  const alike = alikeOf(options)
  const inputs = makeInputs(tokens, options, alike === 'keys' ? null : alike)
  const { Q } = inputs
  const { inputs: tensors } = options
  const lengths = tokens.map(
    ({ prompt, ids }) => inside(options.places[prompt] as BatchPlace) + ids.length,
  )
  const mask = () =>
    tensors.bool(
      lengths.map((length) => Array.from({ length: Q }, (_, i) => Number(i < length))),
    )

  // Of the texts' n-th labels: how long the batch is, and where it begins among all positions.
  const counts = rows.map(({ labels }) => labels.length)
  let positions = 0
  const groups = Array.from({ length: Math.max(...counts) }, (_, n) => {
    const own = placed.map(
      ({ row: { labels } }) => labels[n] ?? (labels.at(-1) as number[]),
    )
    const group = { own, K: tensors.answerOf(longest(own)), begin: positions }
    positions += rows.length * group.K
    return group
  })
  const order = placed.map(({ given }) => given)
  const at = placesOf(order)
  const all = rows.flatMap(({ labels }) => labels)
  const asked = rows.flatMap(({ labels }, i) =>
    labels.flatMap((label, n) => {
      const { K, begin } = groups[n] as (typeof groups)[number]
      return label.map((_, j) => begin + (at[i] as number) * K + j)
    }),
  )
  return {
    given: order,
    encoder: { ...inputs, mask: lengths.some((length) => length < Q) ? mask() : null },
    decoder: groups.map(({ own, K }) =>
      tensors.int64(own.map((label) => padded([start, ...label.slice(0, -1)], K, start))),
    ),
    asked: tensors.int64(paddedAsked(asked, all, options)),
    targets: tensors.int64(paddedAsked(all.flat(), all, options)),
  }
}
