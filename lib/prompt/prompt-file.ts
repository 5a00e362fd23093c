// Prompt files: one small safetensors file each, as docs/file-formats.md says. Knows no backbone.

import { z } from 'zod'
import { LoptError } from '../errors.js'
import { packageVersion } from '../native.js'
import {
  type SafetensorsFile,
  type Tensor,
  tidy,
  writeSafetensors,
} from '../torch/index.js'
import { ACTIVATION_NAMES } from './activation.js'
import type { PromptConfig, PromptTask } from './config.js'
import { METHOD_NAMES, METHODS } from './methods/index.js'
import type { Factors, MethodName } from './methods/method.js'
import { PLACEMENTS } from './placement.js'
import { maxRank, sizesOf } from './settings.js'
import { jsonText, openTensors } from './tensor-file.js'

const VERSION = '1'

/** A prompt file's content. */
export interface StoredPrompt {
  config: PromptConfig
  /** float32, on the CPU. */
  factors: Factors
  task?: PromptTask | undefined
}

const integer = z
  .string()
  .regex(/^\d{1,9}$/, 'expected an integer')
  .transform(Number)

// Metadata are strings. Limits: no prompt is longer than the longest context in use, and a product
// of sizes stays far inside 64 bits.
const size = integer.pipe(z.number().min(1).max(1e6))
/** How a prompt's rows are answered by texts, as files say it. */
export const targetFields = z.object({
  template: z.string().optional(),
  end: z.boolean(),
})

const metadata = z.object({
  format: z.literal('lopt'),
  version: z.literal(VERSION, {
    error: ({ input }) =>
      `this lopt reads version ${VERSION} of the format, not ${String(input)}`,
  }),
  method: z.enum(METHOD_NAMES as [MethodName, ...MethodName[]]),
  length: size,
  rank: integer.default(0),
  hidden_size: size,
  placement: z.enum(PLACEMENTS).default('prefix'),
  activation: z.enum(ACTIVATION_NAMES).default('relu'),
  activation_threshold: z.coerce.number().min(0).default(0),
  bottleneck: size.optional(),
  text_tokens: size.optional(),
  alpha: z.coerce.number().gt(0).optional(),
  layers: size.optional(),
  heads: size.optional(),
  head_size: size.optional(),
  backbone: z.string().optional(),
  template: z.string().optional(),
  labels: jsonText
    // none where each row of the task had its own
    .pipe(z.record(z.string(), z.string()))
    .optional(),
  target: jsonText.pipe(targetFields).optional(),
  objective: z.enum(['lm', 'verbalizer']).optional(),
  max_length: integer.optional(),
})

/** Writes a prompt file, atomically. Factors are stored as float32. */
export async function writePromptFile(
  path: string,
  { config, factors, task }: StoredPrompt,
): Promise<void> {
  const entries = {
    format: 'lopt',
    version: VERSION,
    method: config.method,
    length: String(config.length),
    rank: String(config.rank),
    hidden_size: String(config.hiddenSize),
    placement: config.placement,
    activation: config.activation,
    activation_threshold: String(config.activationThreshold),
    bottleneck: config.bottleneck?.toString(),
    text_tokens: config.textTokens?.toString(),
    alpha: config.alpha?.toString(),
    layers: config.layers?.toString(),
    heads: config.heads?.toString(),
    head_size: config.headSize?.toString(),
    backbone: config.backbone,
    template: task?.template,
    labels: task && JSON.stringify(task.labels),
    target: task?.target && JSON.stringify(task.target),
    objective: task?.objective,
    max_length: task?.maxLength && String(task.maxLength),
    created_with: `lopt ${packageVersion()}`,
  }
  const known = Object.entries(entries).filter((entry) => entry[1] !== undefined)
  await tidy(async () => {
    const tensors = Object.entries(factors).map(([name, tensor]) => [
      name,
      tensor.detach().to({ dtype: 'float32', device: 'cpu' }),
    ])
    await writeSafetensors(path, Object.fromEntries(tensors) as Record<string, Tensor>, {
      metadata: Object.fromEntries(known) as Record<string, string>,
    })
  })
}

/**
 * Reads a prompt file and checks it against its own metadata.
 *
 * @throws LoptError `ERR_PROMPT_FILE` naming the file and what is wrong with it.
 */
export function readPromptFile(path: string): StoredPrompt {
  const file = openTensors(path)
  try {
    return storedPrompt(path, file)
  } finally {
    file.dispose()
  }
}

function storedPrompt(path: string, file: SafetensorsFile): StoredPrompt {
  const fail = (what: string): never => {
    throw new LoptError('ERR_PROMPT_FILE', `${path}: ${what}`)
  }
  const read = metadata.safeParse(file.metadata)
  if (!read.success) {
    return fail(
      read.error.issues
        .map(({ path: [field], message }) => `metadata ${String(field)}: ${message}`)
        .join('; '),
    )
  }
  const { data } = read
  const method = METHODS[data.method]
  const config: PromptConfig = {
    method: data.method,
    length: data.length,
    rank: data.rank,
    hiddenSize: data.hidden_size,
    placement: data.placement,
    activation: data.activation,
    activationThreshold: data.activation_threshold,
    bottleneck: data.bottleneck,
    textTokens: data.text_tokens,
    alpha: data.alpha,
    layers: data.layers,
    heads: data.heads,
    headSize: data.head_size,
    backbone: data.backbone,
  }
  const sizes = sizesOf(config)
  if (method.uses.includes('rank')) {
    const highest = maxRank(data.method, sizes)
    if (data.rank < 1 || data.rank > highest) {
      fail(`metadata rank: expected 1..${highest} but found ${data.rank}`)
    }
  }
  const shapes = { ...method.trainable(sizes), ...method.fixed(sizes) }
  const names = Object.keys(shapes).sort().join(', ')
  if ([...file.names].sort().join(', ') !== names) {
    fail(
      `expected the tensors ${names} of ${data.method} but found ${file.names.join(', ')}`,
    )
  }
  const factors: Record<string, Tensor> = {}
  for (const [name, shape] of Object.entries(shapes)) {
    const info = file.info(name)
    if (info.dtype !== 'float32' || info.shape.join() !== shape.join()) {
      fail(
        `tensor ${name}: expected float32 [${shape.join(', ')}] but found ${info.dtype} [${info.shape.join(', ')}]`,
      )
    }
    // A copy: the file may be replaced while the prompt is in use.
    factors[name] = tidy(() => file.tensor(name).clone())
    if (tidy(() => factors[name]?.isfinite().all().item()) !== 1) {
      fail(`tensor ${name}: holds values that are not finite`)
    }
  }
  const { template, labels, target, objective, max_length: maxLength } = data
  if ((template === undefined) !== (labels === undefined)) {
    fail('metadata: template and labels go together, but only one of them is there')
  }
  return {
    config,
    factors,
    task:
      template !== undefined && labels !== undefined
        ? { template, labels, target, objective, maxLength }
        : undefined,
  }
}
