// GPT-2's configuration: config.json to the library's names and back, checked field by field. Knows
// no tensor.

import { z } from 'zod'
import { LoptError } from '../../errors.js'
import { ACTIVATIONS } from '../activations.js'
import type { Gpt2BackboneConfig } from '../contract.js'

// Limits against a file that lies: products of sizes stay far inside 64 bits, and no real GPT-2
// comes near them.
const MAX_LAYERS = 1024
const MAX_SIZE = 2 ** 20
const MAX_VOCAB = 2 ** 24

const size = z.int().min(1).max(MAX_SIZE)

// transformers' defaults where a field is absent: its files leave out what is at its default.
const fields = z.object({
  vocabSize: z.int().min(1).max(MAX_VOCAB).default(50257),
  hiddenSize: size.default(768),
  layers: z.int().min(1).max(MAX_LAYERS).default(12),
  heads: size.default(12),
  positions: size.default(1024),
  innerSize: size.optional(),
  activation: z.string().default('gelu_new'),
  layerNormEpsilon: z.number().positive().max(1).default(1e-5),
  scaleAttention: z.boolean().default(true),
  scaleByLayer: z.boolean().default(false),
  upcastAttention: z.boolean().default(false),
  tiedHead: z.boolean().default(true),
  initializerRange: z.number().positive().max(10).default(0.02),
})

type Field = keyof z.infer<typeof fields>

/** What a fresh GPT-2 is made from; a field that is absent has transformers' default. */
export type Gpt2Config = { readonly modelType?: 'gpt2' } & Readonly<
  z.input<typeof fields>
> & {
    /** Further fields of config.json, as in `Gpt2BackboneConfig.raw`. */
    readonly raw?: Readonly<Record<string, unknown>>
  }

/** config.json's name of each field, then other names that transformers accepts. */
const STORED_NAMES: Readonly<Record<Field, readonly string[]>> = {
  vocabSize: ['vocab_size'],
  hiddenSize: ['n_embd', 'hidden_size'],
  layers: ['n_layer', 'num_hidden_layers'],
  heads: ['n_head', 'num_attention_heads'],
  positions: ['n_positions', 'max_position_embeddings'],
  innerSize: ['n_inner'],
  activation: ['activation_function'],
  layerNormEpsilon: ['layer_norm_epsilon'],
  scaleAttention: ['scale_attn_weights'],
  scaleByLayer: ['scale_attn_by_inverse_layer_idx'],
  upcastAttention: ['reorder_and_upcast_attn'],
  tiedHead: ['tie_word_embeddings'],
  initializerRange: ['initializer_range'],
}

const FIELDS = Object.keys(STORED_NAMES) as Field[]

/**
 * Reads config.json's content.
 *
 * @param path names the file in errors
 * @throws LoptError `ERR_MODEL_FILE` naming the field that is wrong; `ERR_UNSUPPORTED` naming the
 *   one that asks for mathematics that is not here.
 */
export function parseGpt2Config(
  raw: Readonly<Record<string, unknown>>,
  path: string,
): Gpt2BackboneConfig {
  refuseUnsupported(raw, path)
  const stored = new Map<Field, string>()
  const values: Record<string, unknown> = {}
  for (const field of FIELDS) {
    const names = STORED_NAMES[field]
    const name =
      names.find((candidate) => raw[candidate] !== undefined) ?? (names[0] as string)
    stored.set(field, name)
    values[field] = raw[name]
  }
  // transformers writes null for "four times the hidden size", and takes it for false.
  if (values.innerSize === null) values.innerSize = undefined
  if (values.upcastAttention === null) values.upcastAttention = undefined
  const parsed = fields.safeParse(values)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const name = stored.get(issue?.path[0] as Field)
    throw new LoptError('ERR_MODEL_FILE', `${path}: ${name}: ${issue?.message}`)
  }
  const { heads, hiddenSize, activation } = parsed.data
  if (hiddenSize % heads !== 0) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: n_head: expected a divisor of n_embd ${hiddenSize} but received ${heads}`,
    )
  }
  if (!ACTIVATIONS.has(activation)) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path}: activation_function: ${activation} is not known. These are: ` +
        `${[...ACTIVATIONS.keys()].join(', ')}.`,
    )
  }
  return complete(parsed.data, raw)
}

/** Switches that change what is computed and that this library does not have. */
function refuseUnsupported(raw: Readonly<Record<string, unknown>>, path: string): void {
  const reasons: Record<string, string> = {
    add_cross_attention: 'attention to an encoder',
    quantization_config: 'quantised weights',
  }
  for (const [name, what] of Object.entries(reasons)) {
    const value = raw[name]
    if (value === undefined || value === null || value === false) continue
    throw new LoptError('ERR_UNSUPPORTED', `${path}: ${name}: ${what} is not supported`)
  }
  const pruned = raw.pruned_heads
  if (typeof pruned === 'object' && pruned !== null && Object.keys(pruned).length > 0) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path}: pruned_heads: pruned heads are not supported`,
    )
  }
}

/**
 * A caller's configuration of a fresh model, completed.
 *
 * @throws TypeError or RangeError naming the field.
 */
export function checkGpt2Config(config: Gpt2Config): Gpt2BackboneConfig {
  const { modelType = 'gpt2', raw = {}, ...given } = config
  if (modelType !== 'gpt2') {
    throw new RangeError(
      `Expected config.modelType to be gpt2 but received ${String(modelType)}`,
    )
  }
  const parsed = fields.strict().safeParse(given)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const where = ['config', ...(issue?.path ?? [])].join('.')
    const isRange = issue?.code === 'too_small' || issue?.code === 'too_big'
    throw new (isRange ? RangeError : TypeError)(`${where}: ${issue?.message}`)
  }
  const { heads, hiddenSize, activation } = parsed.data
  if (hiddenSize % heads !== 0) {
    throw new RangeError(
      `Expected config.heads to divide config.hiddenSize ${hiddenSize} but received ${heads}`,
    )
  }
  if (!ACTIVATIONS.has(activation)) {
    throw new RangeError(
      `Expected config.activation to be one of ${[...ACTIVATIONS.keys()].join(', ')} but ` +
        `received ${activation}`,
    )
  }
  return complete(parsed.data, raw)
}

function complete(
  data: z.infer<typeof fields>,
  raw: Readonly<Record<string, unknown>>,
): Gpt2BackboneConfig {
  return {
    modelType: 'gpt2',
    ...data,
    innerSize: data.innerSize ?? 4 * data.hiddenSize,
    raw,
  }
}

/** config.json's content, with what it had besides. */
export function storedGpt2Config(config: Gpt2BackboneConfig): Record<string, unknown> {
  const stored: Record<string, unknown> = { ...config.raw }
  for (const field of FIELDS) {
    const [name, ...otherNames] = STORED_NAMES[field]
    for (const other of otherNames) delete stored[other]
    stored[name as string] = config[field]
  }
  if (config.innerSize === 4 * config.hiddenSize) stored.n_inner = null // as transformers has it
  return { ...stored, model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] }
}
