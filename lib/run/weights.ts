// Weights of a backbone that are trained themselves (fine-tuning; biases alone: BitFit, Ben Zaken et
// al. 2022, arXiv:2106.10199), and the file that holds them. Knows no training.

import { z } from 'zod'
import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { wrongFields } from '../fields.js'
import { packageVersion } from '../native.js'
import type { PromptTask } from '../prompt/index.js'
import { targetFields } from '../prompt/prompt-file.js'
import { jsonText, openTensors } from '../prompt/tensor-file.js'
import {
  type SafetensorsFile,
  type Tensor,
  tidy,
  writeSafetensors,
} from '../torch/index.js'

const VERSION = '1'

/** Parameters of a backbone by a pattern of their names. They are the backbone's own tensors. */
export interface Weights {
  readonly backbone: Backbone
  readonly pattern: RegExp
  readonly parameters: Readonly<Record<string, Tensor>>
  readonly trainableParameters: number
  /** Of the backbone before they were trained. */
  readonly fingerprint: string
  /** Set by training. */
  task: PromptTask | undefined
}

/**
 * Chooses the parameters that fine-tuning changes: `/./` all of them, `/bias$/` the biases alone.
 * Training changes the backbone in memory, never the file that it was loaded from; to have it as it
 * was, load it again.
 *
 * @example
 * const weights = selectWeights(backbone, /bias$/) // BitFit
 * for await (const event of train({ backbone, weights, task })) console.log(event)
 *
 * @throws RangeError for a pattern that matches no parameter.
 */
export function selectWeights(backbone: Backbone, pattern: RegExp): Weights {
  const all = [...backbone.parameters()]
  const chosen = all.filter(([name]) => name.search(pattern) !== -1)
  if (chosen.length === 0) {
    throw new RangeError(
      `Expected a pattern that matches a parameter, such as ${all.at(-1)?.[0]}, but received ${pattern}`,
    )
  }
  return {
    backbone,
    pattern,
    parameters: Object.fromEntries(chosen),
    trainableParameters: chosen.reduce((sum, [, { numel }]) => sum + numel, 0),
    fingerprint: backbone.fingerprint,
    task: undefined,
  }
}

/**
 * Saves the chosen weights as one safetensors file, atomically, in the backbone's dtype:
 * docs/file-formats.md, "Weights file".
 *
 * @throws LoptError `ERR_IO` when the file cannot be written.
 */
export async function saveWeights(path: string, weights: Weights): Promise<void> {
  const { task } = weights
  const entries = {
    format: 'lopt-weights',
    version: VERSION,
    pattern: weights.pattern.source,
    backbone: weights.fingerprint,
    template: task?.template,
    labels: task && JSON.stringify(task.labels),
    target: task?.target && JSON.stringify(task.target),
    objective: task?.objective,
    max_length: task?.maxLength?.toString(),
    created_with: `lopt ${packageVersion()}`,
  }
  const known = Object.entries(entries).filter((entry) => entry[1] !== undefined)
  await tidy(async () => {
    const tensors = Object.entries(weights.parameters).map(([name, tensor]) => [
      name,
      tensor.detach().to('cpu'),
    ])
    await writeSafetensors(path, Object.fromEntries(tensors) as Record<string, Tensor>, {
      metadata: Object.fromEntries(known) as Record<string, string>,
    })
  })
}

const metadata = z.object({
  format: z.literal('lopt-weights'),
  version: z.literal(VERSION),
  pattern: z.string().min(1),
  backbone: z.string(),
  template: z.string().optional(),
  labels: jsonText.pipe(z.record(z.string(), z.string())).optional(),
  target: jsonText.pipe(targetFields).optional(),
  objective: z.enum(['lm', 'verbalizer']).optional(),
  max_length: z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .optional(),
})

/**
 * Puts a file's weights into the backbone that they were trained from. They replace its own, which
 * are gone until it is loaded again.
 *
 * @throws LoptError `ERR_PROMPT_FILE` for a damaged file, and for weights of another backbone; the
 *   backbone is then as it was.
 */
export async function loadWeights(path: string, backbone: Backbone): Promise<Weights> {
  const file = openTensors(path)
  try {
    return await tidy(() => putInto(path, file, backbone))
  } finally {
    file.dispose()
  }
}

async function putInto(
  path: string,
  file: SafetensorsFile,
  backbone: Backbone,
): Promise<Weights> {
  const refuse = (what: string) => new LoptError('ERR_PROMPT_FILE', `${path}: ${what}`)
  const read = metadata.safeParse(file.metadata, { reportInput: true })
  if (!read.success) throw refuse(wrongFields(read.error, file.metadata))
  const { data } = read
  if (data.backbone !== backbone.fingerprint) {
    throw refuse(
      `its weights were trained from the backbone ${data.backbone}, but ${backbone.source} is ` +
        backbone.fingerprint,
    )
  }
  const own = backbone.parameters()
  const found = file.names.map((name): [Tensor, Tensor] => {
    const parameter = own.get(name)
    const info = file.info(name)
    if (parameter === undefined || parameter.shape.join() !== info.shape.join()) {
      throw refuse(
        `${backbone.source} has no parameter ${name} of shape [${info.shape.join(', ')}]`,
      )
    }
    return [parameter, file.tensor(name)]
  })
  const exactly = (name: string) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const pattern = new RegExp(`^(?:${file.names.map(exactly).join('|')})$`)
  const weights = selectWeights(backbone, pattern)
  await backbone.setTrainable(pattern)
  for (const [parameter, stored] of found) await parameter.copy_(stored)
  await backbone.setTrainable(false)
  if (data.template !== undefined && data.labels !== undefined) {
    weights.task = {
      template: data.template,
      labels: data.labels,
      target: data.target,
      objective: data.objective,
      maxLength: data.max_length,
    }
  }
  return weights
}
