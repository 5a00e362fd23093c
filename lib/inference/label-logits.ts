// From a batch to logits where labels are predicted, through the prompt and the frozen backbone.
// Knows no loss and no task.

import type { CausalBackbone } from '../backbone/index.js'
import { binding } from '../torch/context.js'
import { cat, noGrad, type Tensor } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import { type Batch, makeBatch, type Row } from './batch.js'
import type { PreparedPrompt } from './prepared-prompt.js'

/** What the backbone reads: prompt and token embeddings in the batch's order, [B, Q, H]. */
export async function assemble(
  backbone: CausalBackbone,
  { inputs, place }: PreparedPrompt,
  batch: Batch,
): Promise<Tensor> {
  // The embeddings are frozen: no graph.
  const tokens = await noGrad(() => backbone.embed(batch.ids)) // [B, T, H]
  if (inputs === null || place.shared) return tokens
  const [P, H] = inputs.shape as [number, number]
  const x = cat([inputs.unsqueeze(0).expand([batch.size, P, H]), tokens], 1) // [B, P + T, H]
  if (batch.order === null) return x
  return x.gather(1, batch.order.unsqueeze(2).expand([...batch.order.shape, H]))
}

/**
 * Last-layer outputs where label tokens are predicted, [M, H]: only those queries go through the
 * last layer.
 */
async function labelHidden(
  backbone: CausalBackbone,
  prepared: PreparedPrompt,
  batch: Batch,
): Promise<Tensor> {
  const { hidden } = await backbone.run({
    x: await assemble(backbone, prepared, batch),
    positions: batch.positions,
    past: prepared.past,
    queries: batch.queries,
  }) // [B, K, H]
  return hidden.reshape([-1, backbone.config.hiddenSize]).indexSelect(0, batch.asked)
}

/**
 * Logits [M, N] where the rows' label tokens are predicted, or [M, V] of the named rows of the
 * output matrix.
 */
export async function labelLogits(
  backbone: CausalBackbone,
  prepared: PreparedPrompt,
  rows: readonly Row[],
  vocabulary?: Tensor,
): Promise<Tensor> {
  const batch = makeBatch(rows, prepared.place)
  return logitsOf(backbone, await labelHidden(backbone, prepared, batch), vocabulary)
}

/** `backbone.head` of [M, H]; in float32 for a backbone of half precision. */
export async function logitsOf(
  backbone: CausalBackbone,
  hidden: Tensor,
  rows?: Tensor,
): Promise<Tensor> {
  const logits = await backbone.head(hidden, rows)
  if (logits.dtype === 'float64' || logits.dtype === 'float32') return logits
  return wrap(await binding().jobs.to(handleOf(logits), 'float32', null, false))
}

/** Log-probability of each label token of the rows given everything before it, [M], row by row. */
export async function labelLogProbabilities(
  backbone: CausalBackbone,
  prepared: PreparedPrompt,
  rows: readonly Row[],
): Promise<Tensor> {
  const batch = makeBatch(rows, prepared.place)
  const logits = await logitsOf(backbone, await labelHidden(backbone, prepared, batch))
  const { jobs } = binding()
  const target = handleOf(batch.targets)
  return wrap(
    await jobs.crossEntropy(handleOf(logits), target, null, 'none', -100, 0),
  ).neg()
}
