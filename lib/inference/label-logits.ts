// From rows to logits and log-probabilities where their labels are predicted. Knows no loss and no task.

import type { Backbone } from '../backbone/index.js'
import { binding } from '../torch/context.js'
import type { Tensor } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import type { Row } from './batch.js'
import { causalHidden } from './causal-hidden.js'
import { encoderDecoderHidden } from './encoder-decoder-hidden.js'
import type { LabelHidden } from './label-hidden.js'
import type { PromptSet } from './prompt-set.js'

function labelHidden(
  backbone: Backbone,
  set: PromptSet,
  rows: readonly Row[],
): Promise<LabelHidden> {
  return backbone.kind === 'causal'
    ? causalHidden(backbone, set, rows)
    : encoderDecoderHidden(backbone, set, rows)
}

/**
 * Logits [M, N] where the rows' label tokens are predicted, or [M, V] of the named rows of the
 * output matrix.
 */
export async function labelLogits(
  backbone: Backbone,
  set: PromptSet,
  rows: readonly Row[],
  vocabulary?: Tensor,
): Promise<Tensor> {
  const { hidden } = await labelHidden(backbone, set, rows)
  return logitsOf(backbone, hidden, vocabulary)
}

/** `backbone.head` of [M, H]; in float32 for a backbone of half precision. */
export async function logitsOf(
  backbone: Backbone,
  hidden: Tensor,
  rows?: Tensor,
): Promise<Tensor> {
  const logits = await backbone.head(hidden, rows)
  if (logits.dtype === 'float64' || logits.dtype === 'float32') return logits
  return wrap(await binding().jobs.to(handleOf(logits), 'float32', null, false))
}

/** Log-probability of each label token of the rows given everything before it, [M], row by row. */
export async function labelLogProbabilities(
  backbone: Backbone,
  set: PromptSet,
  rows: readonly Row[],
): Promise<Tensor> {
  const { hidden, targets } = await labelHidden(backbone, set, rows)
  const logits = await logitsOf(backbone, hidden)
  const { jobs } = binding()
  const target = handleOf(targets)
  return wrap(
    await jobs.crossEntropy(handleOf(logits), target, null, 'none', -100, 0),
  ).neg()
}
