// From an architecture and its parameters to a backbone. Knows no file and no model.

import { ScriptModule, type Tensor } from '../torch/index.js'
import { architectureOf } from './architectures.js'
import { ScriptedCausalBackbone } from './causal.js'
import type { Backbone } from './contract.js'
import { ScriptedEncoderDecoderBackbone } from './encoder-decoder.js'
import { type BackboneParts, fingerprintInMemory } from './scripted.js'

/**
 * Compiles the module around `parameters`, which the backbone takes over.
 *
 * @param parts.fingerprint of the stored weights; without one, that of the weights in memory is taken
 */
export async function compileBackbone(
  parts: Omit<BackboneParts, 'module' | 'tokenEmbedding' | 'fingerprint'> & {
    fingerprint?: string
  },
): Promise<Backbone> {
  const { config, parameters } = parts
  const architecture = architectureOf(config)
  const { tokenEmbedding } = architecture
  const embedding = parameters.get(tokenEmbedding) as Tensor
  const fingerprint = parts.fingerprint ?? (await fingerprintInMemory(config, embedding))
  const module = await ScriptModule.compile(
    architecture.module(config, (name) => parameters.get(name) as Tensor),
  )
  return backboneOf({ ...parts, module, tokenEmbedding, fingerprint })
}

/** The backbone of the configuration's kind. */
export function backboneOf({ config, ...parts }: BackboneParts): Backbone {
  return config.modelType === 'gpt2'
    ? new ScriptedCausalBackbone({ ...parts, config })
    : new ScriptedEncoderDecoderBackbone({ ...parts, config })
}
