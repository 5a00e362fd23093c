// The two training objectives, each the mean over a batch's examples. Knows no optimizer.

import type { Backbone } from '../backbone/index.js'
import {
  candidateScores,
  type GivenPrompt,
  labelLogProbabilities,
  labelScores,
  verbalizerLogits,
} from '../inference/index.js'
import type { LabelTokens } from '../task/index.js'
import { crossEntropy, type Tensor, tensor } from '../torch/index.js'

export const OBJECTIVES = ['lm', 'verbalizer'] as const

export type Objective = (typeof OBJECTIVES)[number]

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
 * With a pending prompt, what the rows alone decide is made before it is waited for.
 *
 * @returns [], the mean over the rows, with its graph back to the prompt
 */
export async function trainingLoss(
  objective: Objective,
  backbone: Backbone,
  prompt: GivenPrompt,
  rows: readonly TrainingRow[],
  labels: LabelTokens,
): Promise<Tensor> {
  if (objective === 'lm') {
    const continued = rows.map(({ text, label, candidates = labels.ids }) => ({
      text,
      labels: [candidates[label] as readonly number[]],
    }))
    const each = await labelLogProbabilities(backbone, prompt, continued) // [M]
    return each.sum().div(-rows.length)
  }
  const target = tensor(
    rows.map(({ label }) => label),
    { dtype: 'int64', device: backbone.device },
  )
  const logits = await candidateLogits(backbone, prompt, rows, labels) // [B, C]
  return crossEntropy(logits, target)
}

/** What the softmax among the candidates is of, [B, C]. */
async function candidateLogits(
  backbone: Backbone,
  prompt: GivenPrompt,
  rows: readonly TrainingRow[],
  labels: LabelTokens,
): Promise<Tensor> {
  if (rows.some(({ candidates }) => candidates !== undefined)) {
    const own = rows.map(({ text, candidates = labels.ids }) => ({ text, candidates }))
    return await candidateScores(backbone, prompt, own)
  }
  const texts = rows.map(({ text }) => text)
  // The labels' own logits are enough where each is one token: the softmax is among them alone.
  const scores = labels.singleToken ? verbalizerLogits : labelScores
  return await scores(backbone, prompt, texts, labels)
}
