// From rows to logits where their labels are predicted, through the prompt and the frozen backbone.
// Knows no loss and no task.

import type {
  Backbone,
  CausalBackbone,
  EncoderDecoderBackbone,
} from '../backbone/index.js'
import { binding } from '../torch/context.js'
import { cat, noGrad, type Tensor } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import {
  type Inputs,
  makeCausalBatch,
  makeEncoderDecoderBatch,
  type Row,
} from './batch.js'
import { startAndEnd } from './encode.js'
import type { PreparedPrompt } from './prepared-prompt.js'

/** [B, T] -> [B, T, H], without a graph where the embeddings are frozen. */
export async function embedTokens(backbone: Backbone, ids: Tensor): Promise<Tensor> {
  const embed = () => backbone.embed(ids)
  return await (backbone.tokenEmbedding.requiresGrad ? embed() : noGrad(embed))
}

/** What the backbone reads: prompt and token embeddings in the batch's order, [B, Q, H]. */
export async function assemble(
  backbone: Backbone,
  { inputs, embeddingDelta, place }: PreparedPrompt,
  batch: Inputs,
): Promise<Tensor> {
  const plain = await embedTokens(backbone, batch.ids) // [B, T, H]
  const tokens =
    embeddingDelta === null || batch.shifts === null
      ? plain
      : plain.add(
          embeddingDelta.indexSelect(0, batch.shifts.reshape([-1])).reshape(plain.shape),
        )
  if (inputs === null || place.shared) return tokens
  const [P, H] = inputs.shape as [number, number]
  const x = cat([inputs.unsqueeze(0).expand([batch.size, P, H]), tokens], 1) // [B, P + T, H]
  if (batch.order === null) return x
  return x.gather(1, batch.order.unsqueeze(2).expand([...batch.order.shape, H]))
}

interface LabelHidden {
  /** [M, H]: last-layer outputs where label tokens are predicted, row by row. */
  hidden: Tensor
  /** int64 [M]: those tokens. */
  targets: Tensor
}

/** Only the asked queries go through the last layer. */
async function causalHidden(
  backbone: CausalBackbone,
  prepared: PreparedPrompt,
  rows: readonly Row[],
): Promise<LabelHidden> {
  const batch = makeCausalBatch(rows, prepared.place)
  const { hidden } = await backbone.run({
    x: await assemble(backbone, prepared, batch),
    positions: batch.positions,
    past: prepared.past,
    queries: batch.queries,
  }) // [B, K, H]
  return { hidden: picked([hidden], batch.asked), targets: batch.targets }
}

/** Each text goes through the encoder once, however many labels it has. */
async function encoderDecoderHidden(
  backbone: EncoderDecoderBackbone,
  prepared: PreparedPrompt,
  rows: readonly Row[],
): Promise<LabelHidden> {
  const batch = makeEncoderDecoderBatch(rows, prepared.place, startAndEnd(backbone))
  const mask = batch.encoder.mask ?? undefined
  const x = await assemble(backbone, prepared, batch.encoder)
  const cross = await backbone.crossKeyValues(await backbone.encode({ x, mask }))
  const decoded: Tensor[] = []
  for (const ids of batch.decoder) {
    const x = await embedTokens(backbone, ids)
    const { past } = prepared
    const { hidden } = await backbone.decode({ x, past, cross, crossMask: mask })
    decoded.push(hidden) // [B, K, H]
  }
  return { hidden: picked(decoded, batch.asked), targets: batch.targets }
}

/** Rows of several [.., H], one after the other: [M, H]. */
function picked(hidden: readonly Tensor[], asked: Tensor): Tensor {
  const flat = hidden.map((one) => one.reshape([-1, one.shape.at(-1) as number]))
  return (flat.length === 1 ? (flat[0] as Tensor) : cat(flat, 0)).indexSelect(0, asked)
}

function labelHidden(
  backbone: Backbone,
  prepared: PreparedPrompt,
  rows: readonly Row[],
): Promise<LabelHidden> {
  return backbone.kind === 'causal'
    ? causalHidden(backbone, prepared, rows)
    : encoderDecoderHidden(backbone, prepared, rows)
}

/**
 * Logits [M, N] where the rows' label tokens are predicted, or [M, V] of the named rows of the
 * output matrix.
 */
export async function labelLogits(
  backbone: Backbone,
  prepared: PreparedPrompt,
  rows: readonly Row[],
  vocabulary?: Tensor,
): Promise<Tensor> {
  const { hidden } = await labelHidden(backbone, prepared, rows)
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
  prepared: PreparedPrompt,
  rows: readonly Row[],
): Promise<Tensor> {
  const { hidden, targets } = await labelHidden(backbone, prepared, rows)
  const logits = await logitsOf(backbone, hidden)
  const { jobs } = binding()
  const target = handleOf(targets)
  return wrap(
    await jobs.crossEntropy(handleOf(logits), target, null, 'none', -100, 0),
  ).neg()
}
