// From rows to what a causal model's last layer gives where their labels are predicted, by the way that each prompt
// allows. Knows no logit.

import type { Backbone, CausalBackbone, RunOptions } from '../backbone/index.js'
import { cat, type Tensor, tensor } from '../torch/index.js'
import { assemble, pastOf } from './assemble.js'
import { type CausalBatch, makeCausalBatch, type Row } from './batch.js'
import { batchOptions, type LabelHidden, picked } from './label-hidden.js'
import {
  type PreparedPrompt,
  type PromptSet,
  paddedPrefixes,
  ROUTES,
  type Route,
} from './prompt-set.js'
import { ownersOf, runBatch } from './run-batch.js'
import type { TextStore } from './text-store.js'

/** Rows that go through the backbone together. */
interface Pass {
  readonly route: Route
  /** Which of the rows that were given. */
  readonly chosen: readonly number[]
  readonly batch: CausalBatch
}

/** One pass for the rows of each route: mostly there is one. */
export async function causalHidden(
  backbone: CausalBackbone,
  set: PromptSet,
  rows: readonly Row[],
): Promise<LabelHidden> {
  // Made before the prompts are there: a step's rows do not wait for the step before it.
  const passes = ROUTES.flatMap((route) => passOf(route, rows, backbone, set))
  const prepared = await set.prepared
  const parts: LabelHidden[] = []
  for (const pass of passes) {
    const { asked, targets } = pass.batch
    const hidden =
      pass.route === 'beside'
        ? await runBeside(backbone, prepared, pass)
        : await runRows(backbone, set, prepared, pass) // [B, K, H]
    parts.push({ hidden: picked([hidden], asked), targets })
  }
  return parts.length === 1
    ? (parts[0] as LabelHidden)
    : inOrder(parts, passes, rows, backbone)
}

function passOf(
  route: Route,
  rows: readonly Row[],
  backbone: Backbone,
  set: PromptSet,
): Pass[] {
  const chosen = [...rows.keys()].filter(
    (i) => set.layouts[(rows[i] as Row).prompt]?.route === route,
  )
  if (chosen.length === 0) return []
  const own = chosen.map((i) => rows[i] as Row)
  const behindTexts = route === 'behind'
  const batch = makeCausalBatch(own, { ...batchOptions(backbone, set), behindTexts })
  return [{ route, chosen, batch }]
}

/** The passes' label tokens in the order of the rows as they were given. */
function inOrder(
  parts: readonly LabelHidden[],
  passes: readonly Pass[],
  rows: readonly Row[],
  { device }: Backbone,
): LabelHidden {
  const tokensOf = (i: number) =>
    rows[i]?.labels.reduce((sum, { length }) => sum + length, 0) as number
  const begins: number[] = [] // of each row's tokens among those of all passes
  let begin = 0
  for (const i of passes.flatMap(({ chosen }) => chosen)) {
    begins[i] = begin
    begin += tokensOf(i)
  }
  const places = begins.flatMap((first, i) =>
    Array.from({ length: tokensOf(i) }, (_, j) => first + j),
  )
  const index = tensor(places, { dtype: 'int64', device })
  const joined = (tensors: readonly Tensor[]) =>
    cat([...tensors], 0).indexSelect(0, index)
  return {
    hidden: joined(parts.map(({ hidden }) => hidden)),
    targets: joined(parts.map(({ targets }) => targets)),
  }
}

/** Only the asked queries go through the last layer; texts that stand before are keys and values only. */
async function runRows(
  backbone: CausalBackbone,
  set: PromptSet,
  prepared: readonly PreparedPrompt[],
  { route, batch }: Pass,
): Promise<Tensor> {
  const { positions, queries, mask, texts, groups } = batch
  if (route === 'rows' && set.checkpoints === null) {
    const wanted = { queries, present: false }
    return (await runBatch(backbone, prepared, batch, wanted)).hidden
  }
  const past =
    route === 'behind'
      ? await (set.textStore as TextStore).past(texts)
      : pastOf(prepared, groups)
  const x = await assemble(backbone, prepared, batch)
  const options = { x, positions, mask: mask ?? undefined, past, queries }
  return await runLayers(backbone, set, options)
}

async function runBeside(
  backbone: CausalBackbone,
  prepared: readonly PreparedPrompt[],
  { batch }: Pass,
): Promise<Tensor> {
  const { positions, queries, mask, groups } = batch
  const x = await assemble(backbone, prepared, batch)
  const prefixes = groups.map(({ prompt }) => prepared[prompt]?.prefix as Tensor)
  return await backbone.runWithPrefixes({
    prefixes: paddedPrefixes(prefixes),
    x,
    positions,
    owners: ownersOf(groups, backbone.device),
    mask: mask ?? undefined,
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
