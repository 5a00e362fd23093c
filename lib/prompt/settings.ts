// From a prompt's configuration to what its method's equation needs. Knows no tensor.

import { activationOf } from './activation.js'
import type { PromptConfig } from './config.js'
import { METHODS } from './methods/index.js'
import type { MethodName, PromptSizes, Settings } from './methods/method.js'

export function sizesOf(config: PromptConfig): PromptSizes {
  return {
    P: config.length,
    H: config.hiddenSize,
    R: config.rank,
    M: config.bottleneck ?? 0,
    S: config.textTokens ?? 0,
    L: config.layers ?? 0,
    heads: config.heads ?? 0,
    D: config.headSize ?? 0,
  }
}

export function settingsOf(config: PromptConfig): Settings {
  return {
    sizes: sizesOf(config),
    activation: activationOf(config.activation, config.activationThreshold),
    alpha: config.alpha ?? 1,
  }
}

/** The highest R of a method with a rank. */
export function maxRank(method: MethodName, sizes: PromptSizes): number {
  return METHODS[method].maxRank?.(sizes) ?? Math.min(sizes.P, sizes.H)
}
