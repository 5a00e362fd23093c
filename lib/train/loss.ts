// The two training objectives, each the mean over a batch's examples. Knows no optimizer.

import type { Backbone } from '../backbone/index.js'
import {
  labelLogProbabilities,
  labelScores,
  type PreparedPrompt,
  verbalizerLogits,
} from '../inference/index.js'
import type { LabelTokens } from '../task/index.js'
import { crossEntropy, type Tensor, tensor } from '../torch/index.js'

export const OBJECTIVES = ['lm', 'verbalizer'] as const

export type Objective = (typeof OBJECTIVES)[number]

/** A training example: ids of its text, index of its label. */
export interface TrainingRow {
  readonly text: readonly number[]
  readonly label: number
}

/**
 * `lm`: the negative log-likelihood (nats) of the label's tokens over the whole vocabulary, summed
 * over the tokens. `verbalizer`: cross-entropy among the candidate labels.
 *
 * @returns [], the mean over the rows, with its graph back to the prompt
 */
export async function trainingLoss(
  objective: Objective,
  backbone: Backbone,
  prepared: PreparedPrompt,
  rows: readonly TrainingRow[],
  labels: LabelTokens,
): Promise<Tensor> {
  if (objective === 'lm') {
    const continued = rows.map(({ text, label }) => ({
      text,
      labels: [labels.ids[label] as readonly number[]],
    }))
    const each = await labelLogProbabilities(backbone, prepared, continued) // [M]
    return each.sum().div(-rows.length)
  }
  const texts = rows.map(({ text }) => text)
  // The labels' own logits are enough where each is one token: the softmax is among them alone.
  const candidates = labels.singleToken ? verbalizerLogits : labelScores
  const logits = await candidates(backbone, prepared, texts, labels) // [B, C]
  const target = tensor(
    rows.map(({ label }) => label),
    { dtype: 'int64', device: backbone.device },
  )
  return crossEntropy(logits, target)
}
