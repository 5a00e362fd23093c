// Every kind of backbone on `meta`, small, and prompts for it: fresh backbones, whose tokenizer puts a
// first token before a text as some do, so that every placement is allowed.

import {
  type Backbone,
  type BackboneDType,
  createBackbone,
  type Tokenizer,
} from '../../lib/backbone/index.js'
import { loadTokenizer } from '../../lib/backbone/tokenizer.js'
import { LoptError } from '../../lib/errors.js'
import {
  createPrompt,
  type MethodName,
  type Placement,
  type Prompt,
} from '../../lib/prompt/index.js'
import { fixture } from '../backbone/golden.js'

const GPT2 = { hiddenSize: 32, heads: 4, layers: 3, positions: 64 }
const T5 = { hiddenSize: 24, heads: 3, headSize: 10, innerSize: 32, layers: 2 }

const CONFIGS = {
  'GPT-2': { folder: 'gpt2-plain', config: GPT2 },
  'GPT-2, untied': { folder: 'gpt2-plain', config: { ...GPT2, tiedHead: false } },
  T5: {
    folder: 't5-plain',
    config: { ...T5, modelType: 't5', decoderLayers: 3, scaleOutput: true },
  },
  'T5, gated and untied': {
    folder: 't5-plain',
    config: {
      ...T5,
      modelType: 't5',
      gated: true,
      tiedHead: false,
      activation: 'gelu_new',
    },
  },
} as const

export type BackboneName = keyof typeof CONFIGS
export const BACKBONE_NAMES = Object.keys(CONFIGS) as BackboneName[]

export async function onMeta(
  name: BackboneName,
  dtype: BackboneDType = 'float32',
): Promise<Backbone> {
  const { folder, config } = CONFIGS[name]
  const own = await loadTokenizer(fixture(folder), { config: {} })
  // Methods stay bound to the tokenizer itself.
  const tokenizer: Tokenizer = {
    vocabSize: own.vocabSize,
    encode: (text) => own.encode(text),
    encodeBatch: (texts) => own.encodeBatch(texts),
    tokenize: (texts) => own.tokenize(texts),
    decode: (ids, options) => own.decode(ids, options),
    decodeBatch: (lists, options) => own.decodeBatch(lists, options),
    eosTokenId: own.vocabSize - 1,
    firstTokenId: 3,
    files: own.files,
  }
  return await createBackbone(config as never, {
    seed: 0,
    tokenizer,
    device: 'meta',
    dtype,
  })
}

/** null where the method refuses this backbone or placement. */
export function promptFor(
  backbone: Backbone,
  method: MethodName,
  placement: Placement,
): Prompt | null {
  try {
    return createPrompt(backbone, { method, placement, length: 4, rank: 2 })
  } catch (error) {
    if (error instanceof LoptError && error.code === 'ERR_UNSUPPORTED') return null
    throw error
  }
}
