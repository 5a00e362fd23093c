// The two training objectives, each the mean over a prompt's examples. Knows no optimizer.

import type { Backbone } from '../backbone/index.js'
import {
  type CandidateRow,
  candidateLogits,
  candidateScores,
  Inputs,
  labelLogProbabilities,
  type PromptLayout,
  predictedOf,
  type Waiting,
} from '../inference/index.js'
import type { TrainSettings } from '../run/index.js'
import type { LabelTokens } from '../task/index.js'
import { crossEntropy, type Tensor } from '../torch/index.js'

/** A training example: ids of its text, and of what is to be said to it. */
export interface TrainingRow {
  readonly text: readonly number[]
  /** Tokens by which rows of like length are put together. */
  readonly length: number
  /** One token at least: a text, the right label's words, or the right one of the row's own candidates. */
  readonly target: readonly number[]
  /** Which of the labels, or of the row's own candidates, the target is: what `verbalizer` asks for; 0 where there are none. */
  readonly label: number
  readonly candidates?: readonly (readonly number[])[] | undefined
}

/** What a loss is a mean of, and over. */
export type LossSettings = Pick<TrainSettings, 'objective' | 'meanOver'>

/** How much rows count in a mean: their number, or that of their targets' tokens. */
export function weightOf(
  rows: readonly Pick<TrainingRow, 'target'>[],
  meanOver: LossSettings['meanOver'],
): number {
  if (meanOver === 'rows') return rows.length
  return rows.reduce((sum, { target }) => sum + target.length, 0)
}

/**
 * `lm`: the negative log-likelihood (nats) of the target's tokens over the whole vocabulary: a mean over
 * the tokens of the batch, or over its rows of the sum of a row's tokens. `verbalizer`: cross-entropy among the
 * candidate labels, a mean over rows.
 *
 * What the rows alone decide is made at once; the prompts are what is waited for.
 *
 * @param layouts of the prompts that the batches are of, one each
 * @param batches one row at least each
 * @returns what gives [] for each batch, the mean, with its graph back to its prompt alone: one that is not
 *   finite leaves the others as they are
 */
export function trainingLosses(
  { objective, meanOver }: LossSettings,
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  batches: readonly (readonly TrainingRow[])[],
  labels: LabelTokens,
  inputs = new Inputs(backbone.device),
): Waiting<Tensor[]> {
  const rows = batches.flatMap((batch, prompt) =>
    batch.map((row) => ({ ...row, prompt })),
  )
  const counts = batches.map(({ length }) => length)
  inputs.note(`rows ${counts.join()}`) // other than what a model reads: a row may be read once for each of its candidates
  if (objective === 'lm') {
    const continued = rows.map(({ text, target, prompt }) => {
      return { text, labels: [target], prompt }
    })
    const each = labelLogProbabilities(backbone, layouts, continued, inputs) // [M], row by row
    const tokens = batches.map((batch) => weightOf(batch, 'tokens'))
    const over = batches.map((batch) => weightOf(batch, meanOver))
    const count = predictedOf(
      rows.map(({ target }) => target),
      inputs,
    )
    const means = placeMeans({ tokens, over, count }, backbone, inputs)
    return async (set) => means(await each(set))
  }
  const target = inputs.int64(rows.map(({ label }) => label))
  const logits = placeLogits(backbone, layouts, rows, labels, inputs) // [B, C]
  return async (set) => {
    const targets = partsOf(target, counts)
    return partsOf(await logits(set), counts).map((own, k) =>
      crossEntropy(own, targets[k] as Tensor),
    )
  }
}

/** How many tokens each batch has, and what its loss is a mean over. */
interface Counts {
  readonly tokens: readonly number[]
  readonly over: readonly number[]
  /** Of all of them, padding among them. */
  readonly count: number
}

/** Of log-probabilities of all batches' tokens, [M], what gives each batch's mean negative one. */
function placeMeans(
  { tokens, over, count }: Counts,
  { dtype }: Backbone,
  inputs: Inputs,
): (values: Tensor) => Tensor[] {
  if (!inputs.isBucketed) {
    return (values) =>
      partsOf(values, tokens).map((own, k) => own.sum().div(-(over[k] as number)))
  }
  // Whose a token is, is an input: batches of other counts may take each other's place.
  const owners = tokens.flatMap((own, k) => Array.from({ length: own }, () => k))
  const others = inputs.bool(
    tokens.map((_, k) =>
      Array.from({ length: count }, (_, i) => Number(owners[i] !== k)),
    ),
  )
  const by = inputs.float(
    over.map((own) => -own),
    dtype === 'float64' ? 'float64' : 'float32',
  )
  return (values) =>
    tokens.map((_, k) => {
      // Replaced and not multiplied by 0: a batch that is not finite leaves the others as they are.
      const own = values.maskedFill(others.select(0, k), 0)
      return own.sum().div(by.select(0, k).select(0, 0))
    })
}

/** One after the other along the first dimension. */
function partsOf(values: Tensor, counts: readonly number[]): Tensor[] {
  return counts.length === 1 ? [values] : values.split(counts, 0)
}

/** What the softmax among the candidates is of, [B, C]. */
function placeLogits(
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  rows: readonly (TrainingRow & { readonly prompt: number })[],
  labels: LabelTokens,
  inputs: Inputs,
): Waiting<Tensor> {
  // The labels' own logits are enough where each is one token: the softmax is among them alone.
  if (labels.singleToken && rows.every(({ candidates }) => candidates === undefined)) {
    return candidateLogits(backbone, layouts, rows, labels.ids, inputs)
  }
  const asked = rows.map(
    ({ text, candidates = labels.ids, prompt }): CandidateRow => ({
      text,
      candidates,
      prompt,
    }),
  )
  return candidateScores(backbone, layouts, asked, inputs)
}
