// How many rows are worth running at once where several prompts have some. Knows shapes, no number that is learned.

import type { Backbone } from '../backbone/index.js'
import type { PromptLayout } from './prompt-set.js'

/** What a layer computes of a pass, in bytes: about what a processor's cache holds. */
const CPU_PASS_BYTES = 2 ** 25

/** Enough for a GPU's products to be at their peak; a model of GPT-2 small's shape holds 2 GB of them for the gradients. */
const GPU_PASS_TOKENS = 2 ** 12

/** Tokens of a pass at most: more would gain nothing, and take memory. */
export function passTokens({ config, device }: Backbone): number {
  if (device !== 'cpu') return GPU_PASS_TOKENS
  return Math.ceil(CPU_PASS_BYTES / (4 * config.innerSize))
}

/** What a row with a text of T tokens takes of a pass, in tokens that run through all layers. */
export function rowTokens(
  { config }: Backbone,
  { place, route }: PromptLayout,
  T: number,
): number {
  const { P, shared } = place
  // Of a text before it each row holds keys and values, 2 H numbers a token where a token that runs has I and more.
  if (route === 'behind') return P + (2 * config.hiddenSize * T) / config.innerSize
  return T + (shared ? 0 : P)
}
