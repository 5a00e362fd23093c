// The JSON files of a PEFT adapter folder, as peft 0.21.0 writes adapter_config.json and as
// docs/file-formats.md says of lopt.json. Knows no tensor and no backbone.

import { readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { z } from 'zod'
import { LoptError } from '../errors.js'
import { targetFields } from './prompt-file.js'

export const CONFIG_FILE = 'adapter_config.json'
export const WEIGHTS_FILE = 'adapter_model.safetensors'
export const PICKLE_FILE = 'adapter_model.bin'
export const LOPT_FILE = 'lopt.json'

/** PEFT's names of what each kind of backbone is for. */
export const TASK_TYPES = {
  causal: 'CAUSAL_LM',
  'encoder-decoder': 'SEQ_2_SEQ_LM',
} as const

// Both have less than 1 KB and what a template and its labels take.
const MAX_JSON_BYTES = 2 ** 20

// As for prompt files.
const size = z.int().min(1).max(1e6)

// Everything that decides what the adapter does; the rest says how its training began.
const adapterConfig = z.object({
  peft_type: z.enum(['PROMPT_TUNING', 'P_TUNING', 'PREFIX_TUNING']),
  task_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  num_virtual_tokens: size,
  token_dim: size,
  num_transformer_submodules: size.nullish(),
  num_attention_heads: size.nullish(),
  num_layers: size.nullish(),
  modules_to_save: z.array(z.string()).nullish(),
})

export type AdapterConfig = z.infer<typeof adapterConfig>

const loptJson = z.strictObject({
  format: z.literal('lopt-peft'),
  version: z.literal(1),
  backbone: z.string().nullable(),
  method: z.string(),
  rank: z.int().min(0),
  task: z
    .strictObject({
      template: z.string(),
      /** Label → the words that stand for it; none where texts answer rows. */
      labels: z.record(z.string(), z.string()),
      target: targetFields.optional(),
      objective: z.enum(['lm', 'verbalizer']).nullable(),
      max_length: size.nullable(),
    })
    .refine(
      ({ labels, target }) => target !== undefined || Object.keys(labels).length > 0,
      { path: ['labels'], error: 'expected at least one label' },
    )
    .nullable(),
  created_with: z.string(),
})

/** What lopt knows of an exported prompt and PEFT has no place for. */
export type LoptJson = z.infer<typeof loptJson>

// What the other adapters of PEFT are, for the kinds that come up; all are refused.
const OTHER_TYPES: Readonly<Record<string, string>> = {
  MULTITASK_PROMPT_TUNING: 'it holds a prompt and a factor for each task',
  CPT: 'its vectors are those of example texts',
  LORA: 'it changes the weights of the model',
}

/**
 * The configuration of the adapter of prompt tuning, p-tuning or prefix tuning in a folder.
 *
 * @throws LoptError `ERR_UNSUPPORTED` for an adapter of another type; `ERR_PROMPT_FILE` for a file that
 *   is missing or damaged.
 */
export async function readAdapterConfig(path: string): Promise<AdapterConfig> {
  const json = await readJson(path)
  if (json === undefined) {
    throw new LoptError(
      'ERR_PROMPT_FILE',
      `${path}: there is no such file. A PEFT adapter folder holds an ${CONFIG_FILE}.`,
    )
  }
  // Another type's fields are not those of the schema.
  const type = z.object({ peft_type: z.string() }).safeParse(json)
  const known: readonly string[] = adapterConfig.shape.peft_type.options
  if (type.success && !known.includes(type.data.peft_type)) {
    const { peft_type: name } = type.data
    const reason = OTHER_TYPES[name]
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path}: an adapter of the type ${name}${reason ? `: ${reason}` : ''}. Only ` +
        `${known.join(', ')} are read: vectors before the text, or keys and values`,
    )
  }
  return checked(adapterConfig, json, path)
}

/** What lopt wrote beside the adapter; undefined for a folder that PEFT wrote. */
export async function readLoptJson(path: string): Promise<LoptJson | undefined> {
  const json = await readJson(path)
  return json === undefined ? undefined : checked(loptJson, json, path)
}

/** As Python's `json.dumps(value, indent=2, sort_keys=True)` writes plain values. */
export function sortedJson(value: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(value, Object.keys(value).sort(), 2)
}

async function readJson(path: string): Promise<unknown> {
  try {
    const { size: bytes } = await stat(path)
    if (bytes > MAX_JSON_BYTES) {
      throw new LoptError(
        'ERR_PROMPT_FILE',
        `${path}: ${bytes} bytes, more than the ${MAX_JSON_BYTES} that such a file may have`,
      )
    }
    return JSON.parse(await readFile(path, 'utf8')) as unknown
  } catch (cause) {
    if (cause instanceof LoptError) throw cause
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (cause instanceof SyntaxError) {
      throw new LoptError('ERR_PROMPT_FILE', `${path}: not JSON: ${message}`, { cause })
    }
    throw new LoptError('ERR_IO', `Cannot read ${path}: ${message}`, { cause })
  }
}

function checked<T>(schema: z.ZodType<T>, json: unknown, path: string): T {
  const read = schema.safeParse(json)
  if (read.success) return read.data
  const issues = read.error.issues.map(
    ({ path: at, message }) => `${at.join('.') || basename(path)}: ${message}`,
  )
  throw new LoptError('ERR_PROMPT_FILE', `${path}: ${issues.join('; ')}`)
}
