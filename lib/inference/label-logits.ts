// From rows to logits where their labels are predicted, through the prompt and the frozen backbone.
// Knows no loss and no task.

import type {
  Backbone,
  CausalBackbone,
  EncoderDecoderBackbone,
  RunOptions,
} from '../backbone/index.js'
import { binding } from '../torch/context.js'
import { arange, cat, noGrad, type Tensor } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import {
  type Inputs,
  makeCausalBatch,
  makeEncoderDecoderBatch,
  type Row,
} from './batch.js'
import { startAndEnd } from './encode.js'
import { type GivenPrompt, type PreparedPrompt, whenPrepared } from './prepared-prompt.js'
import { makeSuffixBatch } from './suffix-batch.js'
import type { TextStore } from './text-store.js'

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
  prompt: GivenPrompt,
  rows: readonly Row[],
): Promise<LabelHidden> {
  if (prompt.textStore !== null) return await suffixHidden(backbone, prompt, rows)
  const batch = makeCausalBatch(rows, prompt.place)
  const { positions, queries } = batch
  const prepared = await whenPrepared(prompt)
  const { prefix, past } = prepared
  const x = await assemble(backbone, prepared, batch)
  const hidden =
    prefix === null
      ? await runLayers(backbone, prepared, { x, positions, past, queries })
      : await backbone.runWithPrefix({ prefix, x, positions, queries }) // [B, K, H]
  return { hidden: picked([hidden], batch.asked), targets: batch.targets }
}

async function runLayers(
  backbone: CausalBackbone,
  { checkpoints }: PreparedPrompt,
  given: RunOptions & { past: readonly Tensor[] },
): Promise<Tensor> {
  const options = { ...given, present: false }
  if (checkpoints === null) return (await backbone.run(options)).hidden
  const { layers } = backbone.config
  return await checkpoints.run(layers, options, async (x, { first, last, past }) => {
    const queries = last === layers ? options.queries : undefined
    return (await backbone.run({ ...options, x, past, first, last, queries })).hidden
  })
}

/** The prompt and what is read of the labels run; the texts before them are keys and values only. */
async function suffixHidden(
  backbone: CausalBackbone,
  prompt: GivenPrompt,
  rows: readonly Row[],
): Promise<LabelHidden> {
  const batch = makeSuffixBatch(rows, prompt.place)
  const prepared = await whenPrepared(prompt)
  const { textStore } = prepared
  const inputs = prepared.inputs as Tensor
  const [P, H] = inputs.shape as [number, number]
  const past = await (textStore as TextStore).past(batch.texts)
  const { ids } = batch
  const before = inputs.unsqueeze(0).expand([batch.texts.length, P, H])
  const hidden = await runLayers(backbone, prepared, {
    x: ids === null ? before : cat([before, await embedTokens(backbone, ids)], 1),
    positions: batch.positions,
    mask: batch.mask ?? undefined,
    past,
    queries: batch.queries,
  }) // [B, K, H]
  return { hidden: picked([hidden], batch.asked), targets: batch.targets }
}

/** Each text goes through the encoder once, however many labels it has. */
async function encoderDecoderHidden(
  backbone: EncoderDecoderBackbone,
  prompt: GivenPrompt,
  rows: readonly Row[],
): Promise<LabelHidden> {
  const batch = makeEncoderDecoderBatch(rows, prompt.place, startAndEnd(backbone))
  const mask = batch.encoder.mask ?? undefined
  const prepared = await whenPrepared(prompt)
  const x = await assemble(backbone, prepared, batch.encoder)
  const encode = (x: Tensor, range?: { first: number; last: number }) =>
    backbone.encode({ x, mask, first: range?.first, last: range?.last })
  const encoded =
    prepared.checkpoints === null
      ? await encode(x)
      : await prepared.checkpoints.run(backbone.config.layers, { x, past: [] }, encode)
  const { past, fastPaths } = prepared
  const positions = batch.decoder.reduce(
    (sum, { shape }) => sum + (shape[1] as number),
    0,
  )
  const isDirect =
    fastPaths && backbone.decodesEncoded && isFew(positions, encoded, backbone)
  const cross = isDirect ? [] : await backbone.crossKeyValues(encoded)
  const decoded: Tensor[] = []
  for (const ids of batch.decoder) {
    const x = await embedTokens(backbone, ids)
    const hidden = isDirect
      ? await backbone.decodeEncoded({ x, past, encoded, crossMask: mask })
      : (await backbone.decode({ x, past, cross, crossMask: mask, present: false }))
          .hidden
    decoded.push(hidden) // [B, K, H]
  }
  return { hidden: picked(decoded, batch.asked), targets: batch.targets }
}

/**
 * Whether Q decoder positions a text take less work over the encoded text itself, [B, S, H], than over its keys
 * and values: multiplications for a key, or a value, of one text in one layer, there and back.
 */
function isFew(Q: number, encoded: Tensor, { config }: EncoderDecoderBackbone): boolean {
  const { heads, headSize, hiddenSize: H } = config
  const S = encoded.shape[1] as number
  const inner = heads * headSize
  // A gradient takes one product more where a factor is frozen, two where neither is.
  const [frozen, free] = encoded.requiresGrad ? [2, 3] : [1, 1]
  const projected = frozen * S * H * inner + free * Q * S * inner
  const carried = frozen * Q * H * inner + free * Q * heads * S * H
  return carried < projected
}

/** Rows of several [.., H], one after the other: [M, H]. */
function picked(hidden: readonly Tensor[], asked: Tensor): Tensor {
  const flat = hidden.map((one) => one.reshape([-1, one.shape.at(-1) as number]))
  return (flat.length === 1 ? (flat[0] as Tensor) : cat(flat, 0)).indexSelect(0, asked)
}

function labelHidden(
  backbone: Backbone,
  prompt: GivenPrompt,
  rows: readonly Row[],
): Promise<LabelHidden> {
  return backbone.kind === 'causal'
    ? causalHidden(backbone, prompt, rows)
    : encoderDecoderHidden(backbone, prompt, rows)
}

/**
 * Logits [M, N] where the rows' label tokens are predicted, or [M, V] of the named rows of the
 * output matrix.
 */
export async function labelLogits(
  backbone: Backbone,
  prompt: GivenPrompt,
  rows: readonly Row[],
  vocabulary?: Tensor,
): Promise<Tensor> {
  const { hidden } = await labelHidden(backbone, prompt, rows)
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
  prompt: GivenPrompt,
  rows: readonly Row[],
): Promise<Tensor> {
  const { hidden, targets } = await labelHidden(backbone, prompt, rows)
  return await labelLogProbabilitiesOf(backbone, hidden, targets)
}

/** Log-probability of each of `targets` [M], predicted from [M, H]. */
export async function labelLogProbabilitiesOf(
  backbone: Backbone,
  hidden: Tensor,
  targets: Tensor,
): Promise<Tensor> {
  const logits = await logitsOf(backbone, hidden)
  const { jobs } = binding()
  const target = handleOf(targets)
  return wrap(
    await jobs.crossEntropy(handleOf(logits), target, null, 'none', -100, 0),
  ).neg()
}

/** Sums of `values` [M] by their owner, [rows]. */
export function rowSums(values: Tensor, owner: Tensor, rows: number): Tensor {
  // A product with the matrix of who owns what: sums in a fixed order, with a gradient.
  const index = arange(0, rows, { device: values.device }).unsqueeze(1) // [rows, 1]
  return index.eq(owner).to(values.dtype).matmul(values)
}
