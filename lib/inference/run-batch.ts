// A batch of a causal model through all layers, behind the keys and values that its prompts give, which their rows
// share. Knows no label and no slot.

import type { CausalBackbone, RunResult } from '../backbone/index.js'
import { cat, type Tensor, zeros } from '../torch/index.js'
import { assemble, layersOf } from './assemble.js'
import type { BatchGroup, CausalBatch } from './batch.js'
import { type PreparedPrompt, paddedTo } from './prompt-set.js'

/**
 * @param wanted.queries int64 [B, K]: the positions whose output is wanted
 * @param wanted.present whether keys and values of the rows' own positions are
 */
export async function runBatch(
  backbone: CausalBackbone,
  prepared: readonly PreparedPrompt[],
  batch: CausalBatch,
  wanted: { queries: Tensor; present: boolean },
): Promise<RunResult> {
  const { positions, mask, groups, owners } = batch
  const x = await assemble(backbone, prepared, batch)
  const rows = { x, positions, mask: mask ?? undefined, ...wanted }
  const past = sharedPast(prepared, groups)
  return await (past === null
    ? backbone.run(rows)
    : backbone.runBehind({ ...rows, past, owners: owners ?? undefined }))
}

/** What stands before a batch's rows, padded to the longest, once a prompt; null where nothing does. */
function sharedPast(
  prepared: readonly PreparedPrompt[],
  groups: readonly BatchGroup[],
): Tensor[] | null {
  const pasts = groups.map(({ prompt }) => prepared[prompt]?.past ?? null)
  const known = pasts.filter((past) => past !== null)
  const [some] = known
  if (some === undefined) return null
  if (pasts.length === 1) return layersOf(some.unsqueeze(1))
  const longest = Math.max(...known.map(({ shape }) => shape[2] as number))
  const [layers, heads, , D] = some.shape as [number, number, number, number]
  const { dtype, device } = some
  const none = () => zeros([layers, longest, heads, D], { dtype, device })
  // A position's heads lie together, as a layer joins them with its own.
  const parts = pasts.map((past) =>
    past ? paddedTo(longest, past.transpose(1, 2), 1) : none(),
  )
  const joined = cat(
    parts.map((part) => part.unsqueeze(1)),
    1,
  )
  return layersOf(joined.transpose(2, 3))
}
