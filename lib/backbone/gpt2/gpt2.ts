// GPT-2's parameters and its TorchScript module, from a configuration. Knows no file.

import type { ModuleSpec, Tensor } from '../../torch/index.js'
import { ACTIVATIONS, activationOnTheWay } from '../activations.js'
import type { Architecture, ParameterShape } from '../architecture.js'
import type { Gpt2BackboneConfig, Quantization } from '../contract.js'
import attentionSource from '../products/attention.py'
import attentionInt8 from '../products/attention_int8.py'
import behindSource from '../products/behind.py'
import denseSource from '../products/dense.py'
import denseInt8 from '../products/dense_int8.py'
import outputSource from '../products/output.py'
import outputInt8 from '../products/output_int8.py'
import slotsSource from '../products/slots.py'
import { unroll } from '../source.js'
import blockSource from './block.py'
import { parseGpt2Config, storedGpt2Config } from './config.js'
import mlpSource from './mlp.py'
import mlpInt8 from './mlp_int8.py'
import modelSource from './model.py'
import upcastAttention from './upcast_attention.py'

const TOKEN_EMBEDDING = 'wte.weight'
/** The one name that stands outside the prefix. */
const OUTPUT_MATRIX = 'lm_head.weight'
/** What transformers puts before every other name in a language model's checkpoint. */
const NAME_PREFIX = 'transformer.'

/** Causal masks that old checkpoints store beside the weights. */
function isStoredMask(name: string): boolean {
  return /^h\.\d+\.attn\.(bias|masked_bias)$/.test(name)
}

export const GPT2: Architecture<Gpt2BackboneConfig> = {
  title: 'GPT-2',
  modelTypes: ['gpt2'],
  parseConfig: parseGpt2Config,
  storedConfig: storedGpt2Config,
  fingerprintFields: [
    'modelType',
    'vocabSize',
    'hiddenSize',
    'layers',
    'heads',
    'positions',
    'innerSize',
    'activation',
    'layerNormEpsilon',
    'scaleAttention',
    'scaleByLayer',
    'tiedHead',
    // not upcastAttention: it is how the same function is rounded, as the dtype is
  ] satisfies (keyof Gpt2BackboneConfig)[],
  parameters: gpt2Parameters,
  tokenEmbedding: TOKEN_EMBEDDING,
  outputMatrix: OUTPUT_MATRIX,
  storedName: (name) => (name === OUTPUT_MATRIX ? name : NAME_PREFIX + name),
  plainName: (stored) => {
    const plain = stored.startsWith(NAME_PREFIX)
      ? stored.slice(NAME_PREFIX.length)
      : stored
    return isStoredMask(plain) ? undefined : plain
  },
  otherOutputMatrix: 'refuse',
  parameterDType: (_, dtype) => dtype,
  isProduct: (name) => /\.(c_attn|c_proj|c_fc)\.weight$/.test(name),
  weightsLie: 'in-out',
  module: gpt2Module,
}

/**
 * Initial values: Radford et al. 2019 (GPT-2), section 2.3, as transformers has them: normal with
 * `initializerRange`, the residual projections' divided by the square root of 2L, biases 0.
 */
function gpt2Parameters(config: Gpt2BackboneConfig): ParameterShape[] {
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

function gpt2Module(
  config: Gpt2BackboneConfig,
  tensor: (name: string) => Tensor,
  quantization: Quantization | null,
): ModuleSpec {
  const eps = { type: 'float', value: config.layerNormEpsilon } as const
  const headSize = config.hiddenSize / config.heads
  const leaf = (name: string, parameters: string[], source = ''): ModuleSpec => ({
    name: source === '' ? 'Weights' : 'Product',
    source,
    parameters: Object.fromEntries(
      parameters.map((key) => [key, tensor(`${name}.${key}`)]),
    ),
  })
  const pair = (name: string) => leaf(name, ['weight', 'bias'])
  const weight = quantization === null ? ['weight'] : ['weight', 'scale']
  const [product, output] =
    quantization === null ? [denseSource, outputSource] : [denseInt8, outputInt8]
  const dense = (name: string) => leaf(name, [...weight, 'bias'], product)
  const hasHead = !config.tiedHead || quantization !== null
  const block = (i: number): ModuleSpec => ({
    name: 'GPT2Block',
    source: `${attentionText(config, quantization)}\n\n${blockSource}`,
    attributes: {
      heads: { type: 'int', value: config.heads },
      head_size: { type: 'int', value: headSize },
      scale: { type: 'float', value: attentionScale(config, headSize, i) },
      eps,
    },
    modules: {
      ln_1: pair(`h.${i}.ln_1`),
      attn: group('GPT2Attention', {
        c_attn: dense(`h.${i}.attn.c_attn`),
        c_proj: dense(`h.${i}.attn.c_proj`),
      }),
      ln_2: pair(`h.${i}.ln_2`),
      mlp: {
        name: 'GPT2MLP',
        source: mlpText(config, quantization),
        modules: {
          c_fc: dense(`h.${i}.mlp.c_fc`),
          c_proj: dense(`h.${i}.mlp.c_proj`),
        },
      },
    },
  })
  const blocks = Array.from(
    { length: config.layers },
    (_, i) => [String(i), block(i)] as const,
  )
  return {
    name: 'GPT2',
    source: modelText(config, hasHead ? 'lm_head' : 'wte'),
    attributes: { eps },
    modules: {
      wte: leaf('wte', ['weight'], hasHead ? '' : output),
      wpe: leaf('wpe', ['weight']),
      h: group('GPT2Blocks', Object.fromEntries(blocks)),
      ln_f: pair('ln_f'),
      ...(hasHead ? { lm_head: leaf('lm_head', weight, output) } : {}),
    },
  }
}

function group(name: string, modules: Record<string, ModuleSpec>): ModuleSpec {
  return { name, source: '', modules }
}

function attentionText(
  { upcastAttention: isUpcast }: Gpt2BackboneConfig,
  quantization: Quantization | null,
): string {
  if (quantization !== null) return attentionInt8
  const attended = isUpcast ? upcastAttention : attentionSource
  return [attended, behindSource, slotsSource].join('\n\n')
}

function mlpText(
  { activation }: Gpt2BackboneConfig,
  quantization: Quantization | null,
): string {
  const onTheWay = activationOnTheWay(activation, quantization)
  return onTheWay === undefined
    ? mlpSource.replace('ACTIVATION(hidden)\n', `${ACTIVATIONS.get(activation)}\n`)
    : mlpInt8.replace('"ACTIVATION"', `"${onTheWay}"`)
}

function attentionScale(
  config: Gpt2BackboneConfig,
  headSize: number,
  layer: number,
): number {
  const scale = config.scaleAttention ? 1 / Math.sqrt(headSize) : 1
  return config.scaleByLayer ? scale / (layer + 1) : scale
}

/** model.py for this number of layers, and the module that has the output matrix. */
function modelText(config: Gpt2BackboneConfig, output: string): string {
  const last = config.layers - 1
  return unroll(modelSource, { block: last })
    .replaceAll('LAST', String(last))
    .replaceAll('OUTPUT', output)
}
