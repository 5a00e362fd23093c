// The kinds of models that there are.

import type { Architecture } from './architecture.js'
import type { BackboneConfig } from './contract.js'
import { GPT2 } from './gpt2/gpt2.js'
import { T5 } from './t5/t5.js'

// Each is looked up by its own modelType: a configuration never meets another's methods.
const ARCHITECTURES = [GPT2, T5] as unknown as readonly Architecture[]

/** config.json's `model_type`s that can be opened. */
export const MODEL_TYPES = ARCHITECTURES.flatMap(({ modelTypes }) => modelTypes)

export function findArchitecture(modelType: string): Architecture | undefined {
  return ARCHITECTURES.find(({ modelTypes }) => modelTypes.includes(modelType))
}

export function architectureOf(config: BackboneConfig): Architecture {
  return findArchitecture(config.modelType) as Architecture
}
