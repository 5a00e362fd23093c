// K prompts on one backbone, as rows are run with them: where each stands, and what it gives to all of its
// rows, made once a step or once while the prompts do not change. Knows no row.

import type { Backbone, CausalBackbone } from '../backbone/index.js'
import type { Contribution, Prompt } from '../prompt/index.js'
import { binding } from '../torch/context.js'
import { arange, cat, stack, type Tensor, tensor, tidy, zeros } from '../torch/index.js'
import { handlesOf, wrap } from '../torch/tensor.js'
import type { BatchPlace } from './batch.js'
import { LayerCheckpoints } from './layer-checkpoints.js'
import type { TextStore } from './text-store.js'

/**
 * How a prompt's rows go through the backbone. `rows`: each with all that it reads, or behind keys and values
 * that are there already. `beside`: the prompt's vectors run with the rows that stand behind them, once for all of
 * them. `behind`: prompt and label alone, behind the texts' keys and values.
 */
export type Route = (typeof ROUTES)[number]
export const ROUTES = ['rows', 'beside', 'behind'] as const

/** Where a prompt stands in rows, and what may be left out: known before its vectors are. */
export interface PromptLayout {
  readonly place: BatchPlace
  readonly route: Route
}

/** What a prompt gives to all of its rows, in the backbone's dtype. */
export interface PreparedPrompt {
  /** Vectors that stand in each row, [P, H]; null where there are none. */
  readonly inputs: Tensor | null
  /** The same where they run beside the rows, once for all of them; else null. */
  readonly prefix: Tensor | null
  /** [S + 1, H]: what the text's embeddings are shifted by, its last row zero; null: by nothing. */
  readonly embeddingDelta: Tensor | null
  /**
   * [2L, heads, P, D]: keys and values before the rows', k and v a layer: all rows attend to them (in a T5 the
   * decoder's). A prompt's own, or those of vectors that need not run again; null where there are none.
   */
  readonly past: Tensor | null
}

/** Prompts by their place, which is how a row names its own. null: the text alone. */
export interface PromptSet {
  readonly layouts: readonly PromptLayout[]
  /** Where the texts' keys and values come from that a row of the route `behind` stands behind. */
  readonly textStore: TextStore | null
  /** Whether work may be left out where the result is the same. */
  readonly fastPaths: boolean
  /** Runs the layers a few at a time; null where they run at once. */
  readonly checkpoints: LayerCheckpoints | null
  /** Positions whose logits are held at once; null: as many as make sense. */
  readonly positionsAtOnce: number | null
  /** One a layout. Rows become tensors before it is there. */
  readonly prepared: Promise<readonly PreparedPrompt[]>
}

export interface PromptSetOptions {
  /**
   * false: a prompt runs in every row, as written down in the papers, and a T5's decoder reads keys and
   * values of all that was encoded
   */
  fastPaths?: boolean | undefined
  /** For suffixes in a causal model: gives the texts' keys and values, and may keep them. */
  textStore?: TextStore | null | undefined
  /** Layers whose activations are held at once; `backward` then takes the place of the loss's own. */
  checkpointLayers?: number | undefined
  /** One batch is run with what is prepared: a prefix need not run before it. */
  once?: boolean | undefined
  /** Positions whose logits are held at once, where not as many as make sense. */
  positionsAtOnce?: number | undefined
}

type Prompts = readonly (Prompt | null)[]

/**
 * Prompts that rows are run with, in the caller's grad mode: what they give is computed here, and gradients
 * flow back through it.
 */
export function createPromptSet(
  backbone: Backbone,
  prompts: Prompts,
  options: PromptSetOptions = {},
): PromptSet {
  const layouts = promptLayouts(backbone, prompts, options)
  const prepared = preparePrompts(backbone, prompts, layouts)
  prepared.catch(() => {}) // whoever runs rows is told
  return pendingPromptSet(layouts, prepared, options)
}

/** The same with what the prompts give still to come. */
export function pendingPromptSet(
  layouts: readonly PromptLayout[],
  prepared: Promise<readonly PreparedPrompt[]>,
  {
    fastPaths = true,
    textStore = null,
    checkpointLayers,
    positionsAtOnce,
  }: PromptSetOptions,
): PromptSet {
  const checkpoints =
    checkpointLayers === undefined ? null : new LayerCheckpoints(checkpointLayers)
  return {
    layouts,
    textStore,
    fastPaths,
    checkpoints,
    prepared,
    positionsAtOnce: positionsAtOnce ?? null,
  }
}

/** Where each prompt stands. Their shapes decide, and nothing that is learned. */
export function promptLayouts(
  backbone: Backbone,
  prompts: Prompts,
  options: PromptSetOptions = {},
): PromptLayout[] {
  return prompts.map((prompt) =>
    tidy(() => layoutOf(backbone, prompt, prompt?.contribution() ?? {}, options)),
  )
}

function layoutOf(
  backbone: Backbone,
  prompt: Prompt | null,
  given: Contribution,
  { fastPaths = true, textStore = null, checkpointLayers, once }: PromptSetOptions,
): PromptLayout {
  const placement = prompt?.config.placement ?? 'prefix'
  const isFastCausal = fastPaths && backbone.kind === 'causal'
  // Keys and values of the prompt's own take positions of a causal model; a T5's encoder knows none.
  const before = backbone.kind === 'causal' ? (given.past?.[0]?.shape[2] ?? 0) : 0
  const isPrefix = isFastCausal && placement === 'prefix' && given.inputs !== undefined
  // With vectors behind the text alone the text does not depend on them.
  const isTextApart = isFastCausal && placement === 'suffix' && isVectorsAlone(given)
  // Layers that run a few at a time take what stands before them as keys and values.
  const isBeside = isPrefix && before === 0 && once && checkpointLayers === undefined
  return {
    place: {
      P: (given.inputs?.shape[0] ?? 0) + before,
      S: given.embeddingDelta?.shape[0] ?? 0,
      placement,
      shared: isPrefix || before > 0,
    },
    route: isTextApart && textStore !== null ? 'behind' : isBeside ? 'beside' : 'rows',
  }
}

/** What the prompts give, in the caller's grad mode: a step's gradients sum there over all rows that share it. */
export async function preparePrompts(
  backbone: Backbone,
  prompts: Prompts,
  layouts: readonly PromptLayout[],
): Promise<PreparedPrompt[]> {
  const prepared = prompts.map((prompt, i): PreparedPrompt => {
    const { inputs, embeddingDelta, past } = prompt?.contribution() ?? {}
    const vectors = inputs?.to(backbone.dtype) ?? null
    const isBeside = layouts[i]?.route === 'beside'
    return {
      inputs: isBeside ? null : vectors,
      prefix: isBeside ? vectors : null,
      embeddingDelta: embeddingDelta
        ? withZeroRow(embeddingDelta.to(backbone.dtype))
        : null,
      past: past ? cat([...past], 0).to(backbone.dtype) : null,
    }
  })
  if (backbone.kind !== 'causal') return prepared
  // In a causal model nothing before the text depends on it: a prefix's keys and values stand for it.
  const isRunBefore = (i: number) =>
    layouts[i]?.place.shared && prepared[i]?.inputs !== null && prepared[i]?.past === null
  const chosen = [...prepared.keys()].filter(isRunBefore)
  const prefixes = chosen.map((i) => prepared[i]?.inputs as Tensor)
  const pasts = await prefixPasts(backbone, prefixes)
  chosen.forEach((i, n) => {
    prepared[i] = {
      ...(prepared[i] as PreparedPrompt),
      inputs: null,
      past: pasts[n] as Tensor,
    }
  })
  return prepared
}

/** What is made of each tensor that a prompt gives. */
export function eachOf(
  { inputs, prefix, embeddingDelta, past }: PreparedPrompt,
  fn: (tensor: Tensor) => Tensor,
): PreparedPrompt {
  const of = (tensor: Tensor | null) => tensor && fn(tensor)
  return {
    inputs: of(inputs),
    prefix: of(prefix),
    embeddingDelta: of(embeddingDelta),
    past: of(past),
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

/** Vectors that are run at once: enough to keep matrix products at their peak. */
const VECTORS_AT_ONCE = 2048

/** Keys and values of prefixes [P, H] alone, each [2L, heads, P, D], as many at once as makes sense. */
async function prefixPasts(
  backbone: CausalBackbone,
  prefixes: readonly Tensor[],
): Promise<Tensor[]> {
  // Those of like length together: little padding is run.
  const lengthAt = (k: number) => lengthOf(prefixes[k] as Tensor)
  const order = [...prefixes.keys()].sort((a, b) => lengthAt(a) - lengthAt(b))
  const pasts: Tensor[] = []
  for (let end = order.length; end > 0; ) {
    const count = Math.max(
      1,
      Math.floor(VECTORS_AT_ONCE / lengthAt(order[end - 1] as number)),
    )
    const chosen = order.slice(Math.max(0, end - count), end)
    const found = await runPrefixes(
      backbone,
      chosen.map((k) => prefixes[k] as Tensor),
    )
    chosen.forEach((k, i) => {
      pasts[k] = found[i] as Tensor
    })
    end -= chosen.length
  }
  return pasts
}

async function runPrefixes(
  backbone: CausalBackbone,
  prefixes: readonly Tensor[],
): Promise<Tensor[]> {
  const { device } = backbone
  const x = paddedPrefixes(prefixes) // [K, P, H]
  const [K, P] = x.shape as [number, number, number]
  const { present } = await backbone.run({
    x,
    positions: arange(0, P, { dtype: 'int64', device }).unsqueeze(0).expand([K, P]),
    // Only keys and values are wanted: one query is the least.
    queries: tensor(
      Array.from(prefixes, () => [0]),
      { dtype: 'int64', device },
    ),
  })
  // A job: the layers are still to run when it is asked for.
  const all = wrap(await binding().jobs.stack(handlesOf(present, 'present'), 0)) // [2L, K, heads, P, D]
  return prefixes.map((prefix, k) => all.select(1, k).slice(2, 0, lengthOf(prefix)))
}

/** [P, H] each -> [K, P of the longest, H], zeros where one is shorter. */
export function paddedPrefixes(prefixes: readonly Tensor[]): Tensor {
  const longest = Math.max(...prefixes.map(lengthOf))
  return stack(
    prefixes.map((prefix) => paddedTo(longest, prefix, 0)),
    0,
  )
}

/** Zeros behind what a tensor has along `dim`; itself where it is as long already. */
export function paddedTo(length: number, given: Tensor, dim: number): Tensor {
  const shape = [...given.shape]
  const missing = length - (shape[dim] as number)
  if (missing === 0) return given
  shape[dim] = missing
  const { dtype, device } = given
  return cat([given, zeros(shape, { dtype, device })], dim)
}

function lengthOf(prefix: Tensor): number {
  return prefix.shape[0] as number
}

/** Gradients of a loss that was computed with a set, down to the prompts' factors. */
export async function backward(set: PromptSet, loss: Tensor): Promise<void> {
  await loss.backward()
  await set.checkpoints?.backward()
}
