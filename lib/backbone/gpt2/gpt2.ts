// GPT-2's parameters and its TorchScript module, from a configuration. Knows no file.

import type { ModuleSpec, Tensor } from '../../torch/index.js'
import type { BackboneConfig } from '../contract.js'
import { ACTIVATIONS } from './activations.js'
import blockSource from './block.py'
import modelSource from './model.py'

/** How a parameter starts in a fresh model. */
export type InitialValue =
  | { kind: 'normal'; std: number }
  | { kind: 'constant'; value: number }

export interface ParameterShape {
  /** As in the Hugging Face checkpoint, without its prefix. */
  name: string
  shape: readonly number[]
  initial: InitialValue
}

/** The token embedding's name. */
export const TOKEN_EMBEDDING = 'wte.weight'
/** The output matrix's name where it is separate; it alone stands outside the prefix. */
export const OUTPUT_MATRIX = 'lm_head.weight'
/** What transformers puts before every other name in a language model's checkpoint. */
export const NAME_PREFIX = 'transformer.'

/** Causal masks that old checkpoints store beside the weights. */
export function isStoredMask(name: string): boolean {
  return /^h\.\d+\.attn\.(bias|masked_bias)$/.test(name)
}

/**
 * Every parameter, in the order of the module.
 *
 * Initial values: Radford et al. 2019 (GPT-2), section 2.3, as transformers has them: normal with
 * `initializerRange`, the residual projections' divided by the square root of 2L, biases 0.
 */
export function gpt2Parameters(config: BackboneConfig): ParameterShape[] {
  const {
    hiddenSize: H,
    innerSize,
    layers,
    positions,
    vocabSize,
    initializerRange: std,
  } = config
  const weight = (name: string, shape: number[], scale = 1): ParameterShape => ({
    name,
    shape,
    initial: { kind: 'normal', std: std * scale },
  })
  const constant = (name: string, size: number, value: number): ParameterShape => ({
    name,
    shape: [size],
    initial: { kind: 'constant', value },
  })
  const norm = (name: string) => [
    constant(`${name}.weight`, H, 1),
    constant(`${name}.bias`, H, 0),
  ]
  const dense = (name: string, input: number, output: number, scale = 1) => [
    weight(`${name}.weight`, [input, output], scale),
    constant(`${name}.bias`, output, 0),
  ]
  const residual = 1 / Math.sqrt(2 * layers)
  const block = (name: string) => [
    ...norm(`${name}.ln_1`),
    ...dense(`${name}.attn.c_attn`, H, 3 * H),
    ...dense(`${name}.attn.c_proj`, H, H, residual),
    ...norm(`${name}.ln_2`),
    ...dense(`${name}.mlp.c_fc`, H, innerSize),
    ...dense(`${name}.mlp.c_proj`, innerSize, H, residual),
  ]
  return [
    weight(TOKEN_EMBEDDING, [vocabSize, H]),
    weight('wpe.weight', [positions, H]),
    ...Array.from({ length: layers }, (_, i) => block(`h.${i}`)).flat(),
    ...norm('ln_f'),
    ...(config.tiedHead ? [] : [weight(OUTPUT_MATRIX, [vocabSize, H])]),
  ]
}

/**
 * The module that meets docs/backbone-contract.md.
 *
 * @param tensor gives each of `gpt2Parameters` by name
 */
export function gpt2Module(
  config: BackboneConfig,
  tensor: (name: string) => Tensor,
): ModuleSpec {
  const eps = { type: 'float', value: config.layerNormEpsilon } as const
  const headSize = config.hiddenSize / config.heads
  const leaf = (name: string, ...parameters: string[]): ModuleSpec => ({
    name: 'Weights',
    source: '',
    parameters: Object.fromEntries(
      parameters.map((key) => [key, tensor(`${name}.${key}`)]),
    ),
  })
  const pair = (name: string) => leaf(name, 'weight', 'bias')
  const block = (i: number): ModuleSpec => ({
    name: 'GPT2Block',
    source: blockSource.replace(
      'ACTIVATION(hidden)\n',
      `${ACTIVATIONS.get(config.activation)}\n`,
    ),
    attributes: {
      heads: { type: 'int', value: config.heads },
      head_size: { type: 'int', value: headSize },
      scale: { type: 'float', value: attentionScale(config, headSize, i) },
      eps,
    },
    modules: {
      ln_1: pair(`h.${i}.ln_1`),
      attn: group('GPT2Attention', {
        c_attn: pair(`h.${i}.attn.c_attn`),
        c_proj: pair(`h.${i}.attn.c_proj`),
      }),
      ln_2: pair(`h.${i}.ln_2`),
      mlp: group('GPT2MLP', {
        c_fc: pair(`h.${i}.mlp.c_fc`),
        c_proj: pair(`h.${i}.mlp.c_proj`),
      }),
    },
  })
  const blocks = Array.from(
    { length: config.layers },
    (_, i) => [String(i), block(i)] as const,
  )
  return {
    name: 'GPT2',
    source: modelText(config),
    attributes: { eps },
    modules: {
      wte: leaf('wte', 'weight'),
      wpe: leaf('wpe', 'weight'),
      h: group('GPT2Blocks', Object.fromEntries(blocks)),
      ln_f: pair('ln_f'),
      ...(config.tiedHead ? {} : { lm_head: leaf('lm_head', 'weight') }),
    },
  }
}

function group(name: string, modules: Record<string, ModuleSpec>): ModuleSpec {
  return { name, source: '', modules }
}

function attentionScale(config: BackboneConfig, headSize: number, layer: number): number {
  const scale = config.scaleAttention ? 1 / Math.sqrt(headSize) : 1
  return config.scaleByLayer ? scale / (layer + 1) : scale
}

/** model.py for this number of layers: TorchScript cannot loop over blocks of its own accord. */
function modelText(config: BackboneConfig): string {
  const [before, section, after] = modelSource.split(/^ {4}# (?:repeat|end)\n/m)
  if (section === undefined || after === undefined) {
    throw new Error('model.py has no section between "# repeat" and "# end"')
  }
  const repeated = Array.from({ length: config.layers - 1 }, (_, i) =>
    section.replaceAll('LAYER', String(i)),
  )
  return [before, ...repeated, after]
    .join('')
    .replaceAll('LAST', String(config.layers - 1))
    .replaceAll('OUTPUT', config.tiedHead ? 'wte' : 'lm_head')
}
