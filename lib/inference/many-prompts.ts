// K prompts behind the same texts in one pass: everything that does not depend on the prompt is computed
// once. Knows no loss and no task.

import type { CausalBackbone } from '../backbone/index.js'
import { cat, type Tensor } from '../torch/index.js'
import type { Row } from './batch.js'
import { embedTokens, labelLogProbabilitiesOf } from './label-logits.js'
import { makeSuffixBatch } from './suffix-batch.js'
import type { TextStore } from './text-store.js'

/**
 * As `labelLogProbabilities`, for several suffix prompts at once.
 *
 * @param inputs the prompts' vectors in the backbone's dtype, each [P, H], of one length
 * @returns [K, M]: a row for each prompt, with its graph
 */
export async function labelLogProbabilitiesOfMany(
  backbone: CausalBackbone,
  inputs: readonly Tensor[],
  rows: readonly Row[],
  textStore: TextStore,
): Promise<Tensor> {
  const K = inputs.length
  const [P, H] = (inputs[0] as Tensor).shape as [number, number]
  // Every row once for each prompt, the first prompt's first.
  const batch = makeSuffixBatch(
    inputs.flatMap(() => rows),
    { P, device: backbone.device },
  )
  const B = batch.texts.length / K
  const own = await textStore.past(batch.texts.slice(0, B))
  const before = inputs.map((vectors) => vectors.unsqueeze(0).expand([B, P, H]))
  const prompts = cat(before, 0) // [K * B, P, H]
  const { ids, mask, positions, queries } = batch
  const { hidden } = await backbone.run({
    x: ids === null ? prompts : cat([prompts, await embedTokens(backbone, ids)], 1),
    positions,
    mask: mask ?? undefined,
    past: own.map((tensor) => repeated(tensor, K)),
    queries,
    present: false,
  })
  const asked = hidden.reshape([-1, H]).indexSelect(0, batch.asked)
  const each = await labelLogProbabilitiesOf(backbone, asked, batch.targets) // [K * M]
  return each.reshape([K, -1])
}

/** A view or copy of [B, ..] that has its rows K times over: [K * B, ..]. */
function repeated(tensor: Tensor, K: number): Tensor {
  const [B, ...rest] = tensor.shape as [number, ...number[]]
  return tensor
    .unsqueeze(0)
    .expand([K, B, ...rest])
    .reshape([K * B, ...rest])
}
