// What a batch's rows read besides their ids: embeddings with the prompts in their places, and the keys and
// values that stand before them. Knows no layer.

import type { Backbone } from '../backbone/index.js'
import { cat, noGrad, stack, type Tensor, zeros } from '../torch/index.js'
import type { BatchGroup, Inputs } from './batch.js'
import { type PreparedPrompt, paddedTo } from './prompt-set.js'

/** [B, T] -> [B, T, H], without a graph where the embeddings are frozen. */
export async function embedTokens(backbone: Backbone, ids: Tensor): Promise<Tensor> {
  const embed = () => backbone.embed(ids)
  return await (backbone.tokenEmbedding.requiresGrad ? embed() : noGrad(embed))
}

/** What the backbone reads: prompts and token embeddings in the batch's order, [B, Q, H]. */
export async function assemble(
  backbone: Backbone,
  prepared: readonly PreparedPrompt[],
  { ids, groups, Q }: Inputs,
): Promise<Tensor> {
  const tokens = ids === null ? null : await embedTokens(backbone, ids) // [B, T, H]
  const of = ({ prompt }: BatchGroup) => prepared[prompt] as PreparedPrompt
  const [first] = groups as readonly [BatchGroup]
  if (groups.length === 1) return assembleGroup(tokens, prepared, first, Q)
  const isBare = (group: BatchGroup) => of(group).inputs === null && group.shifts === null
  if (tokens !== null && groups.every(isBare)) return tokens
  const parts = groups.map((group) => {
    const { begin, size } = group
    return assembleGroup(
      tokens?.slice(0, begin, begin + size) ?? null,
      prepared,
      group,
      Q,
    )
  })
  return cat(parts, 0)
}

/** Rows of a group: tokens [B, T, H] -> [B, Q, H]. */
function assembleGroup(
  plain: Tensor | null,
  prepared: readonly PreparedPrompt[],
  group: BatchGroup,
  Q: number,
): Tensor {
  const { prompt, size, order, shifts } = group
  const { inputs, embeddingDelta } = prepared[prompt] as PreparedPrompt
  const tokens =
    plain === null || embeddingDelta === null || shifts === null
      ? plain
      : plain.add(
          embeddingDelta.indexSelect(0, shifts.reshape([-1])).reshape(plain.shape),
        )
  if (inputs === null) return paddedTo(Q, tokens as Tensor, 1)
  const [P, H] = inputs.shape as [number, number]
  const each = // [B, P, H]
    group.owners === null
      ? inputs.unsqueeze(0).expand([size, P, H])
      : stack(prepared.map((one) => one.inputs as Tensor)).indexSelect(0, group.owners)
  if (tokens === null) return paddedTo(Q, each, 1)
  const T = Math.min(tokens.shape[1] as number, Q - P)
  const x = T === 0 ? each : cat([each, tokens.slice(1, 0, T)], 1) // [B, P + T, H]
  if (order === null) return paddedTo(Q, x, 1)
  return paddedTo(Q, x.gather(1, order.unsqueeze(2).expand([...order.shape, H])), 1)
}

/**
 * Keys and values before a batch's rows, k and v a layer, each [B, heads, P, D] with P of the longest; [1, ..]
 * where all rows are one prompt's, and share it.
 */
export function pastOf(
  prepared: readonly PreparedPrompt[],
  groups: readonly BatchGroup[],
): Tensor[] {
  const pasts = groups.map(({ prompt }) => prepared[prompt]?.past ?? null)
  const known = pasts.filter((past) => past !== null)
  const [some] = known
  if (some === undefined) return []
  if (pasts.length === 1) return layersOf(some.unsqueeze(1))
  const longest = Math.max(...known.map(({ shape }) => shape[2] as number))
  const [layers, heads, , D] = some.shape as [number, number, number, number]
  const { dtype, device } = some
  const none = () => zeros([layers, longest, heads, D], { dtype, device })
  // A position's heads lie together, as a layer joins them with its own.
  const parts = groups.map(({ size }, i) => {
    const past = pasts[i] ? paddedTo(longest, pasts[i].transpose(1, 2), 1) : none()
    return past.unsqueeze(1).expand([layers, size, longest, heads, D])
  })
  return layersOf(cat(parts, 1).transpose(2, 3))
}

/** [2L, ..]: k and v of each layer. */
export function layersOf(all: Tensor): Tensor[] {
  return Array.from({ length: all.shape[0] as number }, (_, i) => all.select(0, i))
}
