// What a prompt gives to every row alike, made once a step or once an evaluation. Knows no row.

import type { Backbone, CausalBackbone } from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import { arange, type Tensor, tensor } from '../torch/index.js'
import type { BatchPlace } from './batch.js'

export interface PreparedPrompt {
  /** The prompt's vectors in the backbone's dtype, [P, H]; null without a prompt. */
  readonly inputs: Tensor | null
  /**
   * Keys and values of the prompt's positions, k and v a layer, each [1, heads, P, H / heads]: the
   * rows attend to them, and the prompt itself is not run again. Empty where it stands in each row.
   */
  readonly past: readonly Tensor[]
  readonly place: BatchPlace
}

/**
 * With its graph, in the caller's grad mode: a step's gradients flow back through what all its rows
 * share, and sum there.
 *
 * @param options.fastPaths false: the prompt runs in every row, as written down in the papers
 */
export async function preparePrompt(
  backbone: Backbone,
  prompt: Prompt | null,
  { fastPaths = true }: { fastPaths?: boolean | undefined } = {},
): Promise<PreparedPrompt> {
  const { device } = backbone
  if (prompt === null) {
    const place = { P: 0, placement: 'prefix', shared: false, device } as const
    return { inputs: null, past: [], place }
  }
  const { length: P, placement } = prompt.config
  const inputs = prompt.inputs().to(backbone.dtype)
  const place = { P, placement, shared: false, device }
  if (!fastPaths || backbone.kind !== 'causal' || placement !== 'prefix') {
    return { inputs, past: [], place }
  }
  const past = await prefixPast(backbone, inputs)
  return { inputs, past, place: { ...place, shared: true } }
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
