// T5's configuration: config.json to the library's names and back, checked field by field. Knows no
// tensor.

import { z } from 'zod'
import { LoptError } from '../../errors.js'
import { ACTIVATIONS } from '../activations.js'
import type { T5BackboneConfig } from '../contract.js'

// Limits against a file that lies: products of sizes stay far inside 64 bits, and no real T5 comes
// near them.
const MAX_LAYERS = 1024
const MAX_SIZE = 2 ** 20
const MAX_VOCAB = 2 ** 24

const size = z.int().min(1).max(MAX_SIZE)
const layers = z.int().min(1).max(MAX_LAYERS)

// transformers' defaults where a field is absent: its files leave out what is at its default.
const fields = z.object({
  vocabSize: z.int().min(1).max(MAX_VOCAB).default(32128),
  hiddenSize: size.default(512),
  headSize: size.default(64),
  innerSize: size.default(2048),
  layers: layers.default(6),
  decoderLayers: layers.optional(),
  heads: size.default(8),
  // Half of them are for each direction in the encoder, and half of those for near positions.
  relativeBuckets: z.int().min(4).max(MAX_SIZE).multipleOf(4).default(32),
  relativeMaxDistance: size.default(128),
  layerNormEpsilon: z.number().positive().max(1).default(1e-6),
  initializerFactor: z.number().positive().max(1000).default(1),
})

// As transformers writes them in one field, feed_forward_proj: `relu`, `gated-gelu`.
const fresh = fields.extend({
  activation: z.string().default('relu'),
  gated: z.boolean().default(false),
  tiedHead: z.boolean().default(true),
  scaleOutput: z.boolean().optional(),
  decoderStartTokenId: z.int().min(0).max(MAX_VOCAB).default(0),
})

type Field = keyof z.infer<typeof fields>

/** What a fresh T5 is made from; a field that is absent has transformers' default. */
export type T5Config = { readonly modelType: 't5' | 'mt5' } & Readonly<
  z.input<typeof fresh>
> & {
    /** Further fields of config.json, as in `T5BackboneConfig.raw`. */
    readonly raw?: Readonly<Record<string, unknown>>
  }

/** config.json's name of each field, then other names that transformers accepts. */
const STORED_NAMES: Readonly<Record<Field, readonly string[]>> = {
  vocabSize: ['vocab_size'],
  hiddenSize: ['d_model', 'hidden_size'],
  headSize: ['d_kv', 'head_dim'],
  innerSize: ['d_ff'],
  layers: ['num_layers', 'num_hidden_layers'],
  decoderLayers: ['num_decoder_layers'],
  heads: ['num_heads', 'num_attention_heads'],
  relativeBuckets: ['relative_attention_num_buckets'],
  relativeMaxDistance: ['relative_attention_max_distance'],
  layerNormEpsilon: ['layer_norm_epsilon'],
  initializerFactor: ['initializer_factor'],
}

const FIELDS = Object.keys(STORED_NAMES) as Field[]

/** `Architecture.parseConfig`. Whether the output matrix is separate, a folder's tensors say. */
export function parseT5Config(
  raw: Readonly<Record<string, unknown>>,
  path: string,
): T5BackboneConfig {
  refuseUnsupported(raw, path)
  const modelType = raw.model_type === 'mt5' ? 'mt5' : 't5'
  const defaults = modelType === 'mt5' ? MT5_DEFAULTS : {}
  const stored = new Map<Field, string>()
  const values: Record<string, unknown> = {}
  for (const field of FIELDS) {
    const names = STORED_NAMES[field]
    const name =
      names.find((candidate) => raw[candidate] !== undefined) ?? (names[0] as string)
    stored.set(field, name)
    values[field] = raw[name] ?? defaults[field]
  }
  const parsed = fields.safeParse(values)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const name = stored.get(issue?.path[0] as Field)
    throw new LoptError('ERR_MODEL_FILE', `${path}: ${name}: ${issue?.message}`)
  }
  checkDistance(parsed.data, (message) => {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: relative_attention_max_distance: ${message}`,
    )
  })
  const feedForward =
    raw.feed_forward_proj ?? (modelType === 'mt5' ? 'gated-gelu' : 'relu')
  const { activation, gated } = parseFeedForward(feedForward, path)
  const { tie_word_embeddings: tied, scale_decoder_outputs: scaled } = raw
  return complete(
    modelType,
    {
      ...parsed.data,
      activation,
      gated,
      tiedHead: tied !== false,
      // The first T5 alone scales. Its files of before transformers 5 say so by tying the matrices.
      scaleOutput: typeof scaled === 'boolean' ? scaled : tied !== false,
      decoderStartTokenId: startToken(raw, path, parsed.data.vocabSize),
    },
    raw,
  )
}

/** The decoder has a bucket each for half as many distances; the others reach from there on. */
function checkDistance(
  config: { relativeBuckets: number; relativeMaxDistance: number },
  refuse: (message: string) => void,
): void {
  const exact = config.relativeBuckets / 2
  if (config.relativeMaxDistance > exact) return
  refuse(`expected more than ${exact}, half of the buckets`)
}

const MT5_DEFAULTS: Partial<Record<Field, number>> = {
  vocabSize: 250112,
  innerSize: 1024,
  layers: 8,
  heads: 6,
}

/** What stands behind `gated-` where it is not the activation's own name. */
const GATED_NAMES: Readonly<Record<string, string>> = {
  gelu_new: 'gelu',
  gelu: 'gelu_python',
}

/** `relu`, `gated-gelu`…: `gated-gelu` is the tanh form (transformers' T5Config). */
function parseFeedForward(
  value: unknown,
  path: string,
): { activation: string; gated: boolean } {
  const match = /^(gated-)?(\w+)$/.exec(String(value))
  const gated = match?.[1] !== undefined
  const named = match?.[2] ?? ''
  const activation = gated && named === 'gelu' ? 'gelu_new' : named
  if (ACTIVATIONS.has(activation)) return { activation, gated }
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `${path}: feed_forward_proj: ${String(value)} is not known. These are, each also with ` +
      `"gated-" before it: ${[...ACTIVATIONS.keys()].join(', ')}.`,
  )
}

function startToken(
  raw: Readonly<Record<string, unknown>>,
  path: string,
  vocabSize: number,
): number {
  const value = raw.decoder_start_token_id ?? raw.pad_token_id ?? 0
  const isId = Number.isSafeInteger(value) && (value as number) >= 0
  if (isId && (value as number) < vocabSize) return value as number
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${path}: decoder_start_token_id: expected a token id below ${vocabSize} but received ${String(value)}`,
  )
}

/** Switches that change what is computed and that this library does not have. */
function refuseUnsupported(raw: Readonly<Record<string, unknown>>, path: string): void {
  const refuse = (name: string, what: string) => {
    throw new LoptError('ERR_UNSUPPORTED', `${path}: ${name}: ${what} is not supported`)
  }
  const quantised = raw.quantization_config
  if (quantised !== undefined && quantised !== null)
    refuse('quantization_config', 'quantised weights')
  if (raw.is_encoder_decoder === false) {
    refuse('is_encoder_decoder', 'a T5 encoder without a decoder')
  }
}

/**
 * A caller's configuration of a fresh model, completed.
 *
 * @throws TypeError or RangeError naming the field.
 */
export function checkT5Config(config: T5Config): T5BackboneConfig {
  const { modelType, raw = {}, ...given } = config
  const parsed = fresh.strict().safeParse(given)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const where = ['config', ...(issue?.path ?? [])].join('.')
    const isRange = issue?.code === 'too_small' || issue?.code === 'too_big'
    throw new (isRange ? RangeError : TypeError)(`${where}: ${issue?.message}`)
  }
  const { data } = parsed
  checkDistance(data, (message) => {
    throw new RangeError(`config.relativeMaxDistance: ${message}`)
  })
  if (data.decoderStartTokenId >= data.vocabSize) {
    throw new RangeError(
      `Expected config.decoderStartTokenId to be below config.vocabSize ${data.vocabSize} but ` +
        `received ${data.decoderStartTokenId}`,
    )
  }
  if (!ACTIVATIONS.has(data.activation)) {
    throw new RangeError(
      `Expected config.activation to be one of ${[...ACTIVATIONS.keys()].join(', ')} but ` +
        `received ${data.activation}`,
    )
  }
  const scaleOutput = data.scaleOutput ?? (modelType === 't5' && data.tiedHead)
  return complete(modelType, { ...data, scaleOutput }, raw)
}

function complete(
  modelType: 't5' | 'mt5',
  data: Omit<z.infer<typeof fresh>, 'scaleOutput'> & { scaleOutput: boolean },
  raw: Readonly<Record<string, unknown>>,
): T5BackboneConfig {
  return {
    modelType,
    ...data,
    decoderLayers: data.decoderLayers ?? data.layers,
    // mt5 never scales, whatever its file says (transformers' MT5ForConditionalGeneration).
    scaleOutput: modelType === 't5' && data.scaleOutput,
    raw,
  }
}

/** `Architecture.storedConfig`. */
export function storedT5Config(config: T5BackboneConfig): Record<string, unknown> {
  const stored: Record<string, unknown> = { ...config.raw }
  for (const field of FIELDS) {
    const [name, ...otherNames] = STORED_NAMES[field]
    for (const other of otherNames) delete stored[other]
    stored[name as string] = config[field]
  }
  const { activation, gated } = config
  const mt5 = config.modelType === 'mt5'
  return {
    ...stored,
    feed_forward_proj: gated
      ? `gated-${GATED_NAMES[activation] ?? activation}`
      : activation,
    // transformers before 5 reads whether to scale from the one, from 5 on from the other.
    tie_word_embeddings: config.tiedHead,
    ...(mt5 ? {} : { scale_decoder_outputs: config.scaleOutput }),
    decoder_start_token_id: config.decoderStartTokenId,
    is_encoder_decoder: true,
    model_type: config.modelType,
    architectures: [mt5 ? 'MT5ForConditionalGeneration' : 'T5ForConditionalGeneration'],
  }
}
