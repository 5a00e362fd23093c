// A batch of a causal model through all layers, behind the keys and values that its prompts give, which their rows
// share. Knows no label and no slot.

import type { CausalBackbone, RunResult } from '../backbone/index.js'
import { cat, type Tensor, tensor, zeros } from '../torch/index.js'
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
  const { positions, mask, groups } = batch
  const x = await assemble(backbone, prepared, batch)
  const rows = { x, positions, mask: mask ?? undefined, ...wanted }
  const shared = sharedPast(prepared, groups)
  return await (shared === null
    ? backbone.run(rows)
    : backbone.runBehind({ ...rows, ...shared }))
}

/** What stands before a batch's rows, padded to the longest, once a prompt; null where nothing does. */
function sharedPast(
  prepared: readonly PreparedPrompt[],
  groups: readonly BatchGroup[],
): { past: Tensor[]; owners?: Tensor | undefined } | null {
  const pasts = groups.map(({ prompt }) => prepared[prompt]?.past ?? null)
  const known = pasts.filter((past) => past !== null)
  const [some] = known
  if (some === undefined) return null
  if (pasts.length === 1) return { past: layersOf(some.unsqueeze(1)) }
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
  return { past: layersOf(joined.transpose(2, 3)), owners: ownersOf(groups, device) }
}

/** int64 [B]: which group each row is of; undefined where all are as large. */
export function ownersOf(
  groups: readonly BatchGroup[],
  device: string,
): Tensor | undefined {
  if (groups.every(({ size }) => size === groups[0]?.size)) return undefined
  return tensor(
    groups.flatMap(({ size }, i) => Array.from({ length: size }, () => i)),
    { dtype: 'int64', device },
  )
}
