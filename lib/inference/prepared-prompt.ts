// What a prompt gives to every row alike, made once a step or once an evaluation. Knows no row.

import type { Backbone, CausalBackbone } from '../backbone/index.js'
import type { Contribution, Prompt } from '../prompt/index.js'
import { arange, cat, type Tensor, tensor, zeros } from '../torch/index.js'
import type { BatchPlace } from './batch.js'
import { LayerCheckpoints } from './layer-checkpoints.js'
import type { TextStore } from './text-store.js'

export interface PreparedPrompt {
  /** Vectors that stand in each row, in the backbone's dtype, [P, H]; null where there are none. */
  readonly inputs: Tensor | null
  /** [S + 1, H]: what the text's embeddings are shifted by, its last row zero; null: by nothing. */
  readonly embeddingDelta: Tensor | null
  /** The same vectors where they run with the batch, once for all its rows; else null. */
  readonly prefix: Tensor | null
  /**
   * Keys and values before the rows', k and v a layer, each [1, heads, P, D]: all rows attend to
   * them (in a T5 the decoder's). A prompt's own, or those of vectors that need not run again.
   */
  readonly past: readonly Tensor[]
  /** Where the texts' keys and values come from; null where the texts run with the prompt. */
  readonly textStore: TextStore | null
  /** Runs the layers a few at a time; null where they run at once. */
  readonly checkpoints: LayerCheckpoints | null
  /** Whether work may be left out where the result is the same. */
  readonly fastPaths: boolean
  readonly place: BatchPlace
}

/**
 * With its graph, in the caller's grad mode: a step's gradients flow back through what all its rows
 * share, and sum there.
 *
 * @param options.fastPaths false: the prompt runs in every row, as written down in the papers, and a
 *   T5's decoder reads keys and values of all that was encoded
 * @param options.checkpointLayers layers whose activations are held at once; `backward` then takes the
 *   place of the loss's own
 * @param options.textStore for a suffix in a causal model: keeps the texts' keys and values
 * @param options.once one batch is run with what is prepared: a prefix need not run before it
 */
export async function preparePrompt(
  backbone: Backbone,
  prompt: Prompt | null,
  {
    fastPaths = true,
    textStore = null,
    checkpointLayers,
    once = false,
  }: {
    fastPaths?: boolean | undefined
    textStore?: TextStore | null | undefined
    checkpointLayers?: number | undefined
    once?: boolean | undefined
  } = {},
): Promise<PreparedPrompt> {
  const { device } = backbone
  const checkpoints =
    checkpointLayers === undefined ? null : new LayerCheckpoints(checkpointLayers)
  const given = prompt?.contribution() ?? {}
  const inputs = given.inputs?.to(backbone.dtype) ?? null
  const embeddingDelta =
    given.embeddingDelta === undefined
      ? null
      : withZeroRow(given.embeddingDelta.to(backbone.dtype))
  const own = (given.past ?? []).map((tensor) => tensor.to(backbone.dtype))
  const placement = prompt?.config.placement ?? 'prefix'
  const S = given.embeddingDelta?.shape[0] ?? 0
  const P = inputs?.shape[0] ?? 0
  const isShareable = backbone.kind === 'causal' && placement === 'prefix'
  if (inputs !== null && fastPaths && isShareable) {
    // Layers that run a few at a time take what stands before them as keys and values.
    const isBeside = once && checkpoints === null
    return {
      inputs,
      embeddingDelta,
      prefix: isBeside ? inputs : null,
      past: isBeside ? [] : await prefixPast(backbone, inputs),
      textStore: null,
      checkpoints,
      fastPaths,
      place: { P, S, placement, shared: true, device },
    }
  }
  // With vectors behind the text alone the text does not depend on them.
  const isTextApart =
    fastPaths &&
    backbone.kind === 'causal' &&
    placement === 'suffix' &&
    isVectorsAlone(given)
  // Keys and values of the prompt's own take positions of a causal model; a T5's encoder knows none.
  const before = backbone.kind === 'causal' ? (own[0]?.shape[2] ?? 0) : 0
  return {
    inputs,
    embeddingDelta,
    prefix: null,
    past: own,
    textStore: isTextApart ? textStore : null,
    checkpoints,
    fastPaths,
    place: { P: P + before, S, placement, shared: before > 0, device },
  }
}

/** Whether a prompt changes nothing of the text's own vectors, keys and values. */
export function isVectorsAlone({ inputs, embeddingDelta, past }: Contribution): boolean {
  return inputs !== undefined && embeddingDelta === undefined && past === undefined
}

function withZeroRow(delta: Tensor): Tensor {
  const [, H] = delta.shape as [number, number]
  return cat([delta, zeros([1, H], { dtype: delta.dtype, device: delta.device })], 0)
}

/**
 * In a causal model nothing before the text depends on it: runs the prompt alone, [1, P, H]. Only its keys
 * and values are wanted: one query is the least.
 */
async function prefixPast(backbone: CausalBackbone, inputs: Tensor): Promise<Tensor[]> {
  const { device } = backbone
  const P = inputs.shape[0] as number
  const { present } = await backbone.run({
    x: inputs.unsqueeze(0),
    positions: arange(0, P, { dtype: 'int64', device }).unsqueeze(0),
    queries: tensor([[P - 1]], { dtype: 'int64', device }),
  })
  return present
}

/** Gradients of a loss that was computed with `prepared`, down to the prompt's factors. */
export async function backward(prepared: PreparedPrompt, loss: Tensor): Promise<void> {
  await loss.backward()
  await prepared.checkpoints?.backward()
}
