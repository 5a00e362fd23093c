// T5's parameters and its TorchScript module, from a configuration. Knows no file.

import type { ModuleSpec, Tensor } from '../../torch/index.js'
import { ACTIVATIONS, activationOnTheWay } from '../activations.js'
import type { Architecture, ParameterShape } from '../architecture.js'
import type { Quantization, T5BackboneConfig } from '../contract.js'
import attentionSource from '../products/attention.py'
import attentionInt8 from '../products/attention_int8.py'
import linearSource from '../products/linear.py'
import linearInt8 from '../products/linear_int8.py'
import outputSource from '../products/output.py'
import outputInt8 from '../products/output_int8.py'
import slotsSource from '../products/slots.py'
import { unroll } from '../source.js'
import { parseT5Config, storedT5Config } from './config.js'
import crossAttentionSource from './cross_attention.py'
import decoderBlockSource from './decoder_block.py'
import encoderBlockSource from './encoder_block.py'
import feedForwardSource from './feed_forward.py'
import feedForwardInt8 from './feed_forward_int8.py'
import modelSource from './model.py'
import normSource from './norm.py'
import projectionsSource from './projections.py'
import projectionsInt8 from './projections_int8.py'
import selfAttentionSource from './self_attention.py'

const TOKEN_EMBEDDING = 'shared.weight'
const OUTPUT_MATRIX = 'lm_head.weight'

/** Where old checkpoints store the token embedding once more. */
const EMBEDDING_COPIES = ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight']

// Left in old checkpoints by a version that gave it to attention to the encoder, which has none.
const UNUSED = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'

export const T5: Architecture<T5BackboneConfig> = {
  title: 'T5',
  modelTypes: ['t5', 'mt5'],
  parseConfig: parseT5Config,
  storedConfig: storedT5Config,
  fingerprintFields: [
    'modelType',
    'vocabSize',
    'hiddenSize',
    'headSize',
    'innerSize',
    'layers',
    'decoderLayers',
    'heads',
    'relativeBuckets',
    'relativeMaxDistance',
    'activation',
    'gated',
    'layerNormEpsilon',
    'scaleOutput',
    'tiedHead',
    'decoderStartTokenId',
  ] satisfies (keyof T5BackboneConfig)[],
  parameters: t5Parameters,
  tokenEmbedding: TOKEN_EMBEDDING,
  outputMatrix: OUTPUT_MATRIX,
  storedName: (name) => name,
  plainName: (stored) => {
    if (stored === UNUSED) return undefined
    return EMBEDDING_COPIES.includes(stored) ? TOKEN_EMBEDDING : stored
  },
  otherOutputMatrix: 'separate',
  // feed_forward.py says why.
  parameterDType: (name, dtype) =>
    dtype === 'float16' && name.endsWith('.DenseReluDense.wo.weight') ? 'float32' : dtype,
  isProduct: (name) => /\.(q|k|v|o|wi|wi_0|wi_1|wo)\.weight$/.test(name),
  weightsLie: 'out-in',
  module: t5Module,
}

/** A layer of a block: its place in `layer`, and the attention's or MLP's name. */
const SELF = ['0', 'SelfAttention'] as const
const CROSS = ['1', 'EncDecAttention'] as const
const MLP = 'DenseReluDense'

/** Initial values: transformers' `T5PreTrainedModel._init_weights`, Mesh TensorFlow's. */
function t5Parameters(config: T5BackboneConfig): ParameterShape[] {
  const { hiddenSize: H, headSize, heads, innerSize, vocabSize } = config
  const inner = heads * headSize
  const factor = config.initializerFactor
  const weight = (name: string, shape: number[], std: number): ParameterShape => ({
    name: `${name}.weight`,
    shape,
    initial: { kind: 'normal', std: factor * std },
  })
  const norm = (name: string): ParameterShape => ({
    name: `${name}.weight`,
    shape: [H],
    initial: { kind: 'constant', value: factor },
  })
  const attention = (at: string) => [
    weight(`${at}.q`, [inner, H], (H * headSize) ** -0.5),
    weight(`${at}.k`, [inner, H], H ** -0.5),
    weight(`${at}.v`, [inner, H], H ** -0.5),
    weight(`${at}.o`, [H, inner], inner ** -0.5),
  ]
  const relativeBias = (at: string) =>
    weight(`${at}.relative_attention_bias`, [config.relativeBuckets, heads], H ** -0.5)
  const mlp = (at: string) => [
    ...innerNames(config).map((name) =>
      weight(`${at}.${MLP}.${name}`, [innerSize, H], H ** -0.5),
    ),
    weight(`${at}.${MLP}.wo`, [H, innerSize], innerSize ** -0.5),
    norm(`${at}.layer_norm`),
  ]
  const layer = (block: string, [place, name]: readonly [string, string]) => [
    ...attention(`${block}.layer.${place}.${name}`),
    norm(`${block}.layer.${place}.layer_norm`),
  ]
  const stack = (side: Side) => {
    const { layers, attentions, mlpPlace } = sideOf(config, side)
    const blocks = Array.from({ length: layers }, (_, i) => {
      const block = `${side}.block.${i}`
      return [
        ...attentions.flatMap((one) => layer(block, one)),
        ...(i === 0 ? [relativeBias(`${block}.layer.${SELF.join('.')}`)] : []),
        ...mlp(`${block}.layer.${mlpPlace}`),
      ]
    })
    return [...blocks.flat(), norm(`${side}.final_layer_norm`)]
  }
  return [
    weight('shared', [vocabSize, H], 1),
    ...stack('encoder'),
    ...stack('decoder'),
    ...(config.tiedHead ? [] : [weight('lm_head', [vocabSize, H], 1)]),
  ]
}

type Side = 'encoder' | 'decoder'

function sideOf(config: T5BackboneConfig, side: Side) {
  return side === 'encoder'
    ? { layers: config.layers, attentions: [SELF], mlpPlace: '1' }
    : { layers: config.decoderLayers, attentions: [SELF, CROSS], mlpPlace: '2' }
}

function innerNames({ gated }: T5BackboneConfig): string[] {
  return gated ? ['wi_0', 'wi_1'] : ['wi']
}

function t5Module(
  config: T5BackboneConfig,
  tensor: (name: string) => Tensor,
  quantization: Quantization | null,
): ModuleSpec {
  const leaves = leavesOf(tensor, quantization)
  const hasHead = !config.tiedHead || quantization !== null
  const { layers, decoderLayers, relativeBuckets, relativeMaxDistance } = config
  const logSpan = (exact: number) =>
    ({ type: 'float', value: Math.log(relativeMaxDistance / exact) }) as const
  return {
    name: 'T5',
    source: unroll(modelSource, { encoder: layers, decoder: decoderLayers }).replaceAll(
      'OUTPUT',
      hasHead ? 'lm_head' : 'shared',
    ),
    attributes: {
      encoder_layers: { type: 'int', value: layers },
      decoder_layers: { type: 'int', value: decoderLayers },
      buckets: { type: 'int', value: relativeBuckets },
      encoder_log_span: logSpan(relativeBuckets / 4),
      decoder_log_span: logSpan(relativeBuckets / 2),
      output_scale: {
        type: 'float',
        value: config.scaleOutput ? config.hiddenSize ** -0.5 : 1,
      },
    },
    modules: {
      shared: leaves.leaf('shared', hasHead ? '' : outputSource),
      encoder: stack(config, 'encoder', leaves),
      decoder: stack(config, 'decoder', leaves),
      ...(hasHead
        ? { lm_head: leaves.product('lm_head', outputSource, outputInt8) }
        : {}),
    },
  }
}

/** Modules with a weight. */
interface Leaves {
  leaf(name: string, source?: string): ModuleSpec
  /** Those that know their product: by `float`, or by `int8` where weights are of 8 bits. */
  product(name: string, float: string, int8: string): ModuleSpec
  products(at: string, names: readonly string[]): Record<string, ModuleSpec>
  readonly quantization: Quantization | null
}

function leavesOf(
  tensor: (name: string) => Tensor,
  quantization: Quantization | null,
): Leaves {
  const leaf = (name: string, source = ''): ModuleSpec => ({
    name: source === '' ? 'Weight' : 'Product',
    source,
    parameters: { weight: tensor(`${name}.weight`) },
  })
  const product = (name: string, float: string, int8: string): ModuleSpec => {
    if (quantization === null) return leaf(name, float)
    const { parameters, ...rest } = leaf(name, int8)
    return { ...rest, parameters: { ...parameters, scale: tensor(`${name}.scale`) } }
  }
  const products = (at: string, names: readonly string[]) =>
    Object.fromEntries(
      names.map((name) => [name, product(`${at}.${name}`, linearSource, linearInt8)]),
    )
  return { leaf, product, products, quantization }
}

const epsOf = ({ layerNormEpsilon }: T5BackboneConfig) =>
  ({ type: 'float', value: layerNormEpsilon }) as const

function stack(config: T5BackboneConfig, side: Side, leaves: Leaves): ModuleSpec {
  const { layers, attentions, mlpPlace } = sideOf(config, side)
  const block = (i: number): ModuleSpec => {
    const at = `${side}.block.${i}`
    const parts = attentions.map((one) => {
      const hasBias = i === 0 && one === SELF
      return [one[0], attention(config, at, one, hasBias, leaves)]
    })
    return {
      name: side === 'encoder' ? 'T5EncoderBlock' : 'T5DecoderBlock',
      source: side === 'encoder' ? encoderBlockSource : decoderBlockSource,
      modules: {
        layer: group('T5Layers', {
          ...Object.fromEntries(parts),
          [mlpPlace]: feedForward(config, `${at}.layer.${mlpPlace}`, leaves),
        }),
      },
    }
  }
  const blocks = Array.from({ length: layers }, (_, i) => [String(i), block(i)])
  return {
    name: 'T5Stack',
    source: normSource.replaceAll('self.layer_norm', 'self.final_layer_norm'),
    attributes: { eps: epsOf(config) },
    modules: {
      block: group('T5Blocks', Object.fromEntries(blocks)),
      final_layer_norm: leaves.leaf(`${side}.final_layer_norm`),
    },
  }
}

function attention(
  config: T5BackboneConfig,
  block: string,
  [place, name]: readonly [string, string],
  hasBias: boolean,
  { leaf, products, quantization }: Leaves,
): ModuleSpec {
  const layer = `${block}.layer.${place}`
  const own = `${layer}.${name}`
  const isSelf = name === 'SelfAttention'
  const bias = 'relative_attention_bias'
  const isFloat = quantization === null
  const attended = isFloat ? [attentionSource, slotsSource] : [attentionInt8]
  const projections = isFloat ? projectionsSource : projectionsInt8
  const sources = isSelf ? [projections, selfAttentionSource] : [crossAttentionSource]
  return {
    name: isSelf ? 'T5LayerSelfAttention' : 'T5LayerCrossAttention',
    source: [normSource, ...attended, ...sources].join('\n\n'),
    attributes: {
      eps: epsOf(config),
      heads: { type: 'int', value: config.heads },
      head_size: { type: 'int', value: config.headSize },
      scale: { type: 'float', value: 1 }, // scores are not scaled
    },
    modules: {
      [name]: group('T5Attention', {
        ...products(own, ['q', 'k', 'v', 'o']),
        ...(hasBias ? { [bias]: leaf(`${own}.${bias}`) } : {}),
      }),
      layer_norm: leaf(`${layer}.layer_norm`),
    },
  }
}

function feedForward(
  config: T5BackboneConfig,
  layer: string,
  { leaf, products, quantization }: Leaves,
): ModuleSpec {
  const names = [...innerNames(config), 'wo']
  return {
    name: 'T5LayerFF',
    source: normSource + feedForwardText(config, quantization),
    attributes: { eps: epsOf(config) },
    modules: {
      [MLP]: group('T5Dense', products(`${layer}.${MLP}`, names)),
      layer_norm: leaf(`${layer}.layer_norm`),
    },
  }
}

function feedForwardText(
  config: T5BackboneConfig,
  quantization: Quantization | null,
): string {
  const onTheWay = activationOnTheWay(config.activation, quantization)
  if (onTheWay === undefined)
    return feedForwardSource.replace('INNER(normed)\n', `${innerSource(config)}\n`)
  const inner = (key: string) =>
    innerNames(config)
      .map((name) => `self.${MLP}.${name}.${key}`)
      .join(', ')
  return feedForwardInt8
    .replace('INNER.weight', inner('weight'))
    .replace('INNER.scale', inner('scale'))
    .replace('"ACTIVATION"', `"${onTheWay}"`)
}

/** The inner layer's expression of `normed`, [B, Q, F]. */
function innerSource(config: T5BackboneConfig): string {
  const linear = (name: string) => `self.${MLP}.${name}.product(normed)`
  const activation = ACTIVATIONS.get(config.activation) as string
  const [first, second] = innerNames(config).map(linear)
  const activated = activation.replaceAll('hidden', `(${first})`)
  return second === undefined ? activated : `(${activated}) * ${second}`
}

function group(name: string, modules: Record<string, ModuleSpec>): ModuleSpec {
  return { name, source: '', modules }
}
