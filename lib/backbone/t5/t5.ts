// T5's parameters and its TorchScript module, from a configuration. Knows no file.

import type { ModuleSpec, Tensor } from '../../torch/index.js'
import { ACTIVATIONS } from '../activations.js'
import type { Architecture, ParameterShape } from '../architecture.js'
import type { T5BackboneConfig } from '../contract.js'
import { unroll } from '../source.js'
import { parseT5Config, storedT5Config } from './config.js'
import crossAttentionSource from './cross_attention.py'
import decoderBlockSource from './decoder_block.py'
import encoderBlockSource from './encoder_block.py'
import feedForwardSource from './feed_forward.py'
import modelSource from './model.py'
import normSource from './norm.py'
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
): ModuleSpec {
  const eps = { type: 'float', value: config.layerNormEpsilon } as const
  const heads = { type: 'int', value: config.heads } as const
  const head_size = { type: 'int', value: config.headSize } as const
  const leaf = (name: string): ModuleSpec => ({
    name: 'Weight',
    source: '',
    parameters: { weight: tensor(`${name}.weight`) },
  })
  const leaves = (at: string, names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, leaf(`${at}.${name}`)]))

  const attention = (
    at: string,
    [place, name]: readonly [string, string],
    hasBias: boolean,
  ): ModuleSpec => {
    const layer = `${at}.layer.${place}`
    const weights = ['q', 'k', 'v', 'o', ...(hasBias ? ['relative_attention_bias'] : [])]
    return {
      name: name === 'SelfAttention' ? 'T5LayerSelfAttention' : 'T5LayerCrossAttention',
      source:
        normSource +
        (name === 'SelfAttention' ? selfAttentionSource : crossAttentionSource),
      attributes: { eps, heads, head_size },
      modules: {
        [name]: group('T5Attention', leaves(`${layer}.${name}`, weights)),
        layer_norm: leaf(`${layer}.layer_norm`),
      },
    }
  }
  const feedForward = (at: string, place: string): ModuleSpec => ({
    name: 'T5LayerFF',
    source:
      normSource +
      feedForwardSource.replace('INNER(normed)\n', `${innerSource(config)}\n`),
    attributes: { eps },
    modules: {
      [MLP]: group(
        'T5Dense',
        leaves(`${at}.layer.${place}.${MLP}`, [...innerNames(config), 'wo']),
      ),
      layer_norm: leaf(`${at}.layer.${place}.layer_norm`),
    },
  })
  const stack = (side: Side): ModuleSpec => {
    const { layers, attentions, mlpPlace } = sideOf(config, side)
    const block = (i: number): ModuleSpec => {
      const at = `${side}.block.${i}`
      const parts = attentions.map((one) => [
        one[0],
        attention(at, one, i === 0 && one === SELF),
      ])
      return {
        name: side === 'encoder' ? 'T5EncoderBlock' : 'T5DecoderBlock',
        source: side === 'encoder' ? encoderBlockSource : decoderBlockSource,
        modules: {
          layer: group('T5Layers', {
            ...Object.fromEntries(parts),
            [mlpPlace]: feedForward(at, mlpPlace),
          }),
        },
      }
    }
    const blocks = Array.from({ length: layers }, (_, i) => [String(i), block(i)])
    return {
      name: 'T5Stack',
      source: normSource.replaceAll('self.layer_norm', 'self.final_layer_norm'),
      attributes: { eps },
      modules: {
        block: group('T5Blocks', Object.fromEntries(blocks)),
        final_layer_norm: leaf(`${side}.final_layer_norm`),
      },
    }
  }
  const { layers, decoderLayers, relativeBuckets, relativeMaxDistance } = config
  const logSpan = (exact: number) =>
    ({ type: 'float', value: Math.log(relativeMaxDistance / exact) }) as const
  return {
    name: 'T5',
    source: unroll(modelSource, { encoder: layers, decoder: decoderLayers }).replaceAll(
      'OUTPUT',
      config.tiedHead ? 'shared' : 'lm_head',
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
      shared: leaf('shared'),
      encoder: stack('encoder'),
      decoder: stack('decoder'),
      ...(config.tiedHead ? {} : { lm_head: leaf('lm_head') }),
    },
  }
}

/** The inner layer's expression of `normed`, [B, Q, F]. */
function innerSource(config: T5BackboneConfig): string {
  const linear = (name: string) => `torch.linear(normed, self.${MLP}.${name}.weight)`
  const activation = ACTIVATIONS.get(config.activation) as string
  const [first, second] = innerNames(config).map(linear)
  const activated = activation.replaceAll('hidden', `(${first})`)
  return second === undefined ? activated : `(${activated}) * ${second}`
}

function group(name: string, modules: Record<string, ModuleSpec>): ModuleSpec {
  return { name, source: '', modules }
}
