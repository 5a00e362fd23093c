// The two training objectives, each the mean over a prompt's examples. Knows no optimizer.

import type { Backbone } from '../backbone/index.js'
import {
  type CandidateRow,
  candidateLogits,
  candidateScores,
  labelLogProbabilities,
  type PromptSet,
} from '../inference/index.js'
import type { Objective } from '../run/index.js'
import type { LabelTokens } from '../task/index.js'
import { crossEntropy, type Tensor, tensor } from '../torch/index.js'

/** A training example: ids of its text, index of its label. */
export interface TrainingRow {
  readonly text: readonly number[]
  /** Among the labels, or among the row's own candidates. */
  readonly label: number
  readonly candidates?: readonly (readonly number[])[] | undefined
}

/**
 * `lm`: the negative log-likelihood (nats) of the label's tokens over the whole vocabulary, summed
 * over the tokens. `verbalizer`: cross-entropy among the candidate labels.
 *
 * What the rows alone decide is made before the prompts are waited for.
 *
 * @param batches of each prompt of the set, one row at least
 * @returns [] for each batch, the mean over its rows, with its graph back to its prompt alone: one that is not
 *   finite leaves the others as they are
 */
export async function trainingLosses(
  objective: Objective,
  backbone: Backbone,
  set: PromptSet,
  batches: readonly (readonly TrainingRow[])[],
  labels: LabelTokens,
): Promise<Tensor[]> {
  const rows = batches.flatMap((batch, prompt) =>
    batch.map((row) => ({ ...row, prompt })),
  )
  const counts = batches.map(({ length }) => length)
  if (objective === 'lm') {
    const continued = rows.map(({ text, label, candidates = labels.ids, prompt }) => ({
      text,
      labels: [candidates[label] as readonly number[]],
      prompt,
    }))
    const each = await labelLogProbabilities(backbone, set, continued) // [M], row by row
    const perBatch = batches.map((batch) =>
      batch.reduce((sum, { label, candidates = labels.ids }) => {
        return sum + (candidates[label] as readonly number[]).length
      }, 0),
    )
    return partsOf(each, perBatch).map((own, k) => own.sum().div(-(counts[k] as number)))
  }
  const target = tensor(
    rows.map(({ label }) => label),
    { dtype: 'int64', device: backbone.device },
  )
  const logits = await logitsOf(backbone, set, rows, labels) // [B, C]
  const targets = partsOf(target, counts)
  return partsOf(logits, counts).map((own, k) => crossEntropy(own, targets[k] as Tensor))
}

/** One after the other along the first dimension. */
function partsOf(values: Tensor, counts: readonly number[]): Tensor[] {
  return counts.length === 1 ? [values] : values.split(counts, 0)
}

/** What the softmax among the candidates is of, [B, C]. */
async function logitsOf(
  backbone: Backbone,
  set: PromptSet,
  rows: readonly (TrainingRow & { readonly prompt: number })[],
  labels: LabelTokens,
): Promise<Tensor> {
  // The labels' own logits are enough where each is one token: the softmax is among them alone.
  if (labels.singleToken && rows.every(({ candidates }) => candidates === undefined)) {
    return await candidateLogits(backbone, set, rows, labels.ids)
  }
  const asked = rows.map(
    ({ text, candidates = labels.ids, prompt }): CandidateRow => ({
      text,
      candidates,
      prompt,
    }),
  )
  return await candidateScores(backbone, set, asked)
}
