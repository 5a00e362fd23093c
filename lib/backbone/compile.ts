// From an architecture and its parameters to a backbone. Knows no file and no model.

import { ScriptModule, type Tensor } from '../torch/index.js'
import { architectureOf } from './architectures.js'
import { ScriptedCausalBackbone } from './causal.js'
import type { Backbone } from './contract.js'
import { ScriptedEncoderDecoderBackbone } from './encoder-decoder.js'
import type { BackboneParts } from './scripted.js'

/** Compiles the module around `parameters`, which the backbone takes over. */
export async function compileBackbone(
  parts: Omit<BackboneParts, 'module' | 'tokenEmbedding'>,
): Promise<Backbone> {
  const { config, parameters } = parts
  const architecture = architectureOf(config)
  const { tokenEmbedding } = architecture
  const module = await ScriptModule.compile(
    architecture.module(
      config,
      (name) => parameters.get(name) as Tensor,
      parts.quantization,
    ),
  )
  return backboneOf({ ...parts, module, tokenEmbedding })
}

/** The backbone of the configuration's kind. */
export function backboneOf({ config, ...parts }: BackboneParts): Backbone {
  return config.modelType === 'gpt2'
    ? new ScriptedCausalBackbone({ ...parts, config })
    : new ScriptedEncoderDecoderBackbone({ ...parts, config })
}
