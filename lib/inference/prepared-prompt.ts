// What a prompt gives to every row alike, made once a step or once an evaluation. Knows no row.

import type { Backbone, CausalBackbone } from '../backbone/index.js'
import type { Contribution, Prompt } from '../prompt/index.js'
import { arange, cat, type Tensor, tensor, tidy, zeros } from '../torch/index.js'
import type { BatchPlace } from './batch.js'
import { LayerCheckpoints } from './layer-checkpoints.js'
import type { TextStore } from './text-store.js'

/** Where a prompt stands in rows, and what may be left out: known before its vectors are. */
export interface PromptLayout {
  readonly place: BatchPlace
  /** Where the texts' keys and values come from; null where the texts run with the prompt. */
  readonly textStore: TextStore | null
  /** Whether work may be left out where the result is the same. */
  readonly fastPaths: boolean
}

export interface PreparedPrompt extends PromptLayout {
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
  /** Runs the layers a few at a time; null where they run at once. */
  readonly checkpoints: LayerCheckpoints | null
}

/** A prompt that is prepared later: a batch's rows become tensors meanwhile. */
export interface PendingPrompt extends PromptLayout {
  readonly prepared: Promise<PreparedPrompt>
}

/** What batches are made for: their own tensors do not wait for the prompt's. */
export type GivenPrompt = PreparedPrompt | PendingPrompt

export async function whenPrepared(prompt: GivenPrompt): Promise<PreparedPrompt> {
  return 'prepared' in prompt ? await prompt.prepared : prompt
}

interface LayoutOptions {
  /**
   * false: the prompt runs in every row, as written down in the papers, and a T5's decoder reads keys and
   * values of all that was encoded
   */
  fastPaths?: boolean | undefined
  /** For a suffix in a causal model: keeps the texts' keys and values. */
  textStore?: TextStore | null | undefined
}

/** What `preparePrompt` will say of the prompt's place. */
export function promptLayout(
  backbone: Backbone,
  prompt: Prompt | null,
  options: LayoutOptions = {},
): PromptLayout {
  return tidy(() => layoutOf(backbone, prompt, prompt?.contribution() ?? {}, options))
}

function layoutOf(
  backbone: Backbone,
  prompt: Prompt | null,
  given: Contribution,
  { fastPaths = true, textStore = null }: LayoutOptions,
): PromptLayout {
  const placement = prompt?.config.placement ?? 'prefix'
  const isFastCausal = fastPaths && backbone.kind === 'causal'
  // Keys and values of the prompt's own take positions of a causal model; a T5's encoder knows none.
  const before = backbone.kind === 'causal' ? (given.past?.[0]?.shape[2] ?? 0) : 0
  const isPrefix = isFastCausal && placement === 'prefix' && given.inputs !== undefined
  // With vectors behind the text alone the text does not depend on them.
  const isTextApart = isFastCausal && placement === 'suffix' && isVectorsAlone(given)
  return {
    place: {
      P: (given.inputs?.shape[0] ?? 0) + before,
      S: given.embeddingDelta?.shape[0] ?? 0,
      placement,
      shared: isPrefix || before > 0,
      device: backbone.device,
    },
    textStore: isTextApart ? textStore : null,
    fastPaths,
  }
}

/**
 * With its graph, in the caller's grad mode: a step's gradients flow back through what all its rows
 * share, and sum there.
 *
 * @param options.checkpointLayers layers whose activations are held at once; `backward` then takes the
 *   place of the loss's own
 * @param options.once one batch is run with what is prepared: a prefix need not run before it
 */
export async function preparePrompt(
  backbone: Backbone,
  prompt: Prompt | null,
  options: LayoutOptions & {
    checkpointLayers?: number | undefined
    once?: boolean | undefined
  } = {},
): Promise<PreparedPrompt> {
  const { checkpointLayers, once = false } = options
  const given = prompt?.contribution() ?? {}
  const layout = layoutOf(backbone, prompt, given, options)
  const checkpoints =
    checkpointLayers === undefined ? null : new LayerCheckpoints(checkpointLayers)
  const inputs = given.inputs?.to(backbone.dtype) ?? null
  const embeddingDelta =
    given.embeddingDelta === undefined
      ? null
      : withZeroRow(given.embeddingDelta.to(backbone.dtype))
  const own = (given.past ?? []).map((tensor) => tensor.to(backbone.dtype))
  const parts = { ...layout, inputs, embeddingDelta, checkpoints }
  const isPrefix = layout.place.shared && own.length === 0
  if (inputs === null || !isPrefix || backbone.kind !== 'causal') {
    return { ...parts, prefix: null, past: own }
  }
  // Layers that run a few at a time take what stands before them as keys and values.
  if (once && checkpoints === null) return { ...parts, prefix: inputs, past: [] }
  return { ...parts, prefix: null, past: await prefixPast(backbone, inputs) }
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
