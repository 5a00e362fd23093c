// From rows to what a causal model's last layer gives where their labels are predicted, by the way that each prompt
// allows. Knows no logit.

import type { CausalBackbone, RunOptions } from '../backbone/index.js'
import { cat, type Tensor } from '../torch/index.js'
import { assemble, pastOf } from './assemble.js'
import {
  type BatchOptions,
  type CausalBatch,
  makeCausalBatch,
  paddedAsked,
  type Row,
} from './batch.js'
import type { Inputs } from './inputs.js'
import { batchOptions, type PlacedRows, picked } from './label-hidden.js'
import {
  type PreparedPrompt,
  type PromptLayout,
  type PromptSet,
  paddedPrefixes,
  ROUTES,
  type Route,
} from './prompt-set.js'
import { runBatch } from './run-batch.js'
import type { TextStore } from './text-store.js'

/** Rows that go through the backbone together. */
interface Pass {
  readonly route: Route
  /** Which of the rows that were given. */
  readonly chosen: readonly number[]
  readonly batch: CausalBatch
  /** k, v of each layer, of the texts that the rows stand behind. */
  readonly past: (texts: TextStore) => Promise<readonly Tensor[]>
}

/** One pass for the rows of each route: mostly there is one. */
export function placeCausalRows(
  backbone: CausalBackbone,
  layouts: readonly PromptLayout[],
  rows: readonly Row[],
  inputs: Inputs,
  isPadded?: boolean,
): PlacedRows {
  const options = batchOptions(layouts, inputs, isPadded)
  const passes = ROUTES.flatMap((route) => passOf(route, rows, layouts, options))
  const labels = rows.flatMap((row) => row.labels)
  const inputOf = (values: number[]) => inputs.int64(paddedAsked(values, labels, options))
  const order = passes.length === 1 ? null : inputOf(orderOf(passes, rows))
  const inOrder = (parts: readonly Tensor[]) =>
    order === null ? (parts[0] as Tensor) : cat([...parts], 0).indexSelect(0, order)
  return {
    targets: order === null ? (passes[0] as Pass).batch.targets : inputOf(labels.flat()),
    hidden: async (set) => {
      const prepared = await set.prepared
      const parts: Tensor[] = []
      for (const pass of passes) {
        const run = pass.route === 'beside' ? runBeside : runRows
        const hidden = await run(backbone, set, prepared, pass) // [B, K, H]
        parts.push(picked([hidden], pass.batch.asked))
      }
      return inOrder(parts)
    },
  }
}

function passOf(
  route: Route,
  rows: readonly Row[],
  layouts: readonly PromptLayout[],
  options: BatchOptions,
): Pass[] {
  const chosen = [...rows.keys()].filter(
    (i) => layouts[(rows[i] as Row).prompt]?.route === route,
  )
  if (chosen.length === 0) return []
  const own = chosen.map((i) => rows[i] as Row)
  const behindTexts = route === 'behind'
  const batch = makeCausalBatch(own, { ...options, behindTexts })
  const { texts, before } = batch
  const past = (store: TextStore) => store.past(texts, before)
  return [{ route, chosen, batch, past: behindTexts ? options.inputs.later(past) : past }]
}

/** Where the label tokens of the rows, as they were given, are among those of all passes. */
function orderOf(passes: readonly Pass[], rows: readonly Row[]): number[] {
  const tokensOf = (i: number) =>
    rows[i]?.labels.reduce((sum, { length }) => sum + length, 0) as number
  const begins: number[] = [] // of each row's tokens among those of all passes
  let end = 0
  for (const { chosen, batch } of passes) {
    let begin = end
    for (const i of chosen) {
      begins[i] = begin
      begin += tokensOf(i)
    }
    end += batch.asked.numel
  }
  return begins.flatMap((first, i) =>
    Array.from({ length: tokensOf(i) }, (_, j) => first + j),
  )
}

/** Only the asked queries go through the last layer; texts that stand before are keys and values only. */
async function runRows(
  backbone: CausalBackbone,
  set: PromptSet,
  prepared: readonly PreparedPrompt[],
  { route, batch, past: pastOfTexts }: Pass,
): Promise<Tensor> {
  const { positions, queries, mask, groups } = batch
  if (route === 'rows' && set.checkpoints === null) {
    const wanted = { queries, present: false }
    return (await runBatch(backbone, prepared, batch, wanted)).hidden
  }
  const past =
    route === 'behind'
      ? await pastOfTexts(set.textStore as TextStore)
      : pastOf(prepared, groups)
  const x = await assemble(backbone, prepared, batch)
  const options = { x, positions, mask: mask ?? undefined, past, queries }
  return await runLayers(backbone, set, options)
}

async function runBeside(
  backbone: CausalBackbone,
  _: PromptSet,
  prepared: readonly PreparedPrompt[],
  { batch }: Pass,
): Promise<Tensor> {
  const { positions, queries, mask, groups, owners } = batch
  const x = await assemble(backbone, prepared, batch)
  const prefixes = groups.map(({ prompt }) => prepared[prompt]?.prefix as Tensor)
  return await backbone.runWithPrefixes({
    prefixes: paddedPrefixes(prefixes),
    x,
    positions,
    owners: owners ?? undefined,
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
