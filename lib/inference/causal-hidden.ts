// From rows to what a causal model's last layer gives where their labels are predicted, by the way that each prompt
// allows. Knows no logit.

import type { Backbone, CausalBackbone, RunOptions } from '../backbone/index.js'
import { cat, type Tensor, tensor } from '../torch/index.js'
import { assemble, pastOf } from './assemble.js'
import { type CausalBatch, makeCausalBatch, type Row } from './batch.js'
import { batchOptions, type LabelHidden, picked } from './label-hidden.js'
import {
  type PromptLayout,
  type PromptSet,
  paddedPrefixes,
  type Route,
} from './prompt-set.js'
import type { TextStore } from './text-store.js'

type Pass = (
  backbone: CausalBackbone,
  set: PromptSet,
  batch: CausalBatch,
) => Promise<Tensor>

const PASSES: Readonly<Record<Route, Pass>> = {
  rows: runRows,
  beside: runBeside,
  behind: runBehind,
}

const ROUTES = Object.keys(PASSES) as Route[]

/** One pass for the rows of each route: mostly there is one. */
export async function causalHidden(
  backbone: CausalBackbone,
  set: PromptSet,
  rows: readonly Row[],
): Promise<LabelHidden> {
  const passes = ROUTES.map(async (route) => {
    const chosen = rows.filter(({ prompt }) => set.layouts[prompt]?.route === route)
    if (chosen.length === 0) return null
    // Made before the prompts are there: a step's rows do not wait for the step before it.
    const behindTexts = route === 'behind'
    const batch = makeCausalBatch(chosen, { ...batchOptions(backbone, set), behindTexts })
    const hidden = await PASSES[route](backbone, set, batch) // [B, K, H]
    return { hidden: picked([hidden], batch.asked), targets: batch.targets }
  })
  const found = await Promise.all(passes)
  const parts = found.filter((part) => part !== null)
  if (parts.length === 1) return parts[0] as LabelHidden
  return joined(backbone, set, rows, found)
}

/** The passes' label tokens in the order of the rows as they were given. */
function joined(
  { device }: Backbone,
  set: PromptSet,
  rows: readonly Row[],
  found: readonly (LabelHidden | null)[],
): LabelHidden {
  const parts = found.filter((part) => part !== null)
  const next: Partial<Record<Route, number>> = {}
  let begin = 0
  for (const [i, route] of ROUTES.entries()) {
    next[route] = begin
    begin += found[i]?.targets.shape[0] ?? 0
  }
  const places = rows.flatMap(({ labels, prompt }) => {
    const { route } = set.layouts[prompt] as PromptLayout
    const first = next[route] as number
    const count = labels.reduce((sum, label) => sum + label.length, 0)
    next[route] = first + count
    return Array.from({ length: count }, (_, j) => first + j)
  })
  const index = tensor(places, { dtype: 'int64', device })
  const inOrder = (tensors: readonly Tensor[]) =>
    cat([...tensors], 0).indexSelect(0, index)
  return {
    hidden: inOrder(parts.map(({ hidden }) => hidden)),
    targets: inOrder(parts.map(({ targets }) => targets)),
  }
}

/** Only the asked queries go through the last layer. */
async function runRows(
  backbone: CausalBackbone,
  set: PromptSet,
  batch: CausalBatch,
): Promise<Tensor> {
  const prepared = await set.prepared
  const { positions, queries, mask } = batch
  const x = await assemble(backbone, prepared, batch)
  const past = pastOf(prepared, batch.groups)
  return await runLayers(backbone, set, {
    x,
    positions,
    mask: mask ?? undefined,
    past,
    queries,
  })
}

async function runBeside(
  backbone: CausalBackbone,
  set: PromptSet,
  batch: CausalBatch,
): Promise<Tensor> {
  const prepared = await set.prepared
  const { positions, queries, mask, groups } = batch
  const x = await assemble(backbone, prepared, batch)
  const prefixes = groups.map(({ prompt }) => prepared[prompt]?.prefix as Tensor)
  const isEven = groups.every(({ size }) => size === groups[0]?.size)
  const owners = () =>
    tensor(
      groups.flatMap(({ size }, i) => Array.from({ length: size }, () => i)),
      { dtype: 'int64', device: backbone.device },
    )
  return await backbone.runWithPrefixes({
    prefixes: paddedPrefixes(prefixes),
    x,
    positions,
    owners: isEven ? undefined : owners(),
    mask: mask ?? undefined,
    queries,
  })
}

/** The prompts and what is read of the labels run; the texts before them are keys and values only. */
async function runBehind(
  backbone: CausalBackbone,
  set: PromptSet,
  batch: CausalBatch,
): Promise<Tensor> {
  const prepared = await set.prepared
  const { positions, queries, mask, texts } = batch
  const past = await (set.textStore as TextStore).past(texts)
  const x = await assemble(backbone, prepared, batch)
  return await runLayers(backbone, set, {
    x,
    positions,
    mask: mask ?? undefined,
    past,
    queries,
  })
}

async function runLayers(
  backbone: CausalBackbone,
  { checkpoints }: PromptSet,
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
