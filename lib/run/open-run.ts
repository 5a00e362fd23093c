// A run from its folder alone: what `train` needs to go on with it. Trains nothing.

import { z } from 'zod'
import {
  type Backbone,
  type LoadBackboneOptions,
  loadBackbone,
} from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { wrongFields } from '../fields.js'
import { METHOD_NAMES, type MethodName, type PromptConfig } from '../prompt/index.js'
import { Prompt, placed } from '../prompt/prompt.js'
import { loadTask, METRICS, type Task } from '../task/index.js'
import { checkString } from '../torch/check.js'
import { tidy } from '../torch/index.js'
import { readCheckpoint } from './checkpoint.js'
import type { RunSubjects } from './config.js'
import { trainFields } from './fields.js'
import { checkpointPathOf, readConfigFile } from './folder.js'
import { selectWeights } from './weights.js'

const stored = z.looseObject({
  backbone: z.object({
    source: z.string(),
    fingerprint: z.string(),
    dtype: z.enum(['float64', 'float32', 'float16', 'bfloat16']),
    device: z.string(),
  }),
  prompt: z
    .looseObject({
      method: z.enum(METHOD_NAMES as [MethodName, ...MethodName[]]),
      length: z.int().min(1),
      start: z.unknown(),
      trainableParameters: z.int(),
    })
    .nullable(),
  weights: z.object({ pattern: z.string(), flags: z.string() }).nullable(),
  task: z.object({
    name: z.string(),
    source: z
      .looseObject({ task: z.string().optional(), data: z.string().optional() })
      .nullable(),
    template: z.string(),
    labels: z.record(z.string(), z.string()),
    target: z.object({ template: z.string().optional(), end: z.boolean() }).optional(),
    metric: z.enum(METRICS),
  }),
  training: trainFields.partial(),
})

type Stored = z.infer<typeof stored>

/** What `train` goes on with: what the run works on, and what it was told. */
export type OpenedRun = RunSubjects &
  Stored['training'] & { readonly out: string; readonly resume: true }

/**
 * Opens the run in a folder: backbone, rows and what is learned, as its config.json says, with `resume`
 * set: `for await (const event of train(await openRun('runs/x')))`. The caller disposes of the
 * backbone and the prompt.
 *
 * @example
 * for await (const event of train(await openRun('runs/topics'))) console.log(event)
 *
 * @param options how to open the backbone where that differs: another `source` of the same
 *   model, and what `loadBackbone` takes
 * @throws LoptError `ERR_IO` for a folder that holds no run; `ERR_UNSUPPORTED` for a run on rows or a
 *   backbone that were only in memory: `train` itself goes on with it; as `loadBackbone` and `loadTask`.
 */
export async function openRun(
  folder: string,
  options: LoadBackboneOptions & { source?: string | undefined } = {},
): Promise<OpenedRun> {
  checkString(folder, 'folder')
  const config = await configOf(folder)
  const task = await taskOf(folder, config)
  const { source, ...loading } = options
  if (config.backbone.source === 'created' && source === undefined) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `The backbone of the run in ${folder} was never in a file: give it to train, with resume`,
    )
  }
  const backbone = await loadBackbone(source ?? config.backbone.source, {
    device: config.backbone.device,
    dtype: config.backbone.dtype,
    ...loading,
  })
  try {
    const learned = config.weights
      ? { weights: selectWeights(backbone, patternOf(config.weights)) }
      : { prompt: tidy(() => promptOf(folder, config, backbone)) }
    return { ...config.training, ...learned, backbone, task, out: folder, resume: true }
  } catch (error) {
    backbone.dispose()
    throw error
  }
}

function patternOf({ pattern, flags }: NonNullable<Stored['weights']>): RegExp {
  return new RegExp(pattern, flags)
}

async function configOf(folder: string): Promise<Stored> {
  const raw = await readConfigFile(folder)
  if (raw === undefined) {
    throw new LoptError('ERR_IO', `${folder} holds no run: there is no config.json`)
  }
  const read = stored.safeParse(raw, { reportInput: true })
  if (read.success) return read.data
  throw new LoptError(
    'ERR_IO',
    `${folder}: config.json is not that of a run: ${wrongFields(read.error, raw)}`,
  )
}

async function taskOf(folder: string, { task }: Stored): Promise<Task> {
  const { source, template, labels, target, metric } = task
  if (metric === 'own') {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `The metric of the run in ${folder} is a function: give the task to train, with resume`,
    )
  }
  const from = source?.task ?? source?.data
  if (from === undefined) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `The rows of the run in ${folder} were never in a file: give them to train, with resume`,
    )
  }
  const { task: _, data: __, ...how } = source ?? {}
  return await loadTask(from, {
    ...how,
    template,
    labels: Object.keys(labels),
    verbalizer: labels,
    ...(target && { targetTemplate: target.template, targetEnd: target.end }),
    metric,
  })
}

/** With the factors of the checkpoint: how they were drawn at the start plays no part. */
function promptOf(folder: string, stored: Stored, backbone: Backbone): Prompt {
  const { prompt } = stored
  if (prompt === null) {
    throw new LoptError('ERR_IO', `${folder}: config.json says not what is learned`)
  }
  const { start, trainableParameters, ...config } = prompt
  const { tensors } = readCheckpoint(checkpointPathOf(folder))
  const factors = placed({ ...tensors.now, ...tensors.fixed }, backbone)
  const from = start === null ? {} : { start: start as NonNullable<Prompt['start']> }
  // The run took a prompt of another backbone, so that it was allowed to.
  const allowOtherBackbone = config.backbone !== stored.backbone.fingerprint
  const about = { ...from, allowOtherBackbone }
  return new Prompt(config as unknown as PromptConfig, factors, about)
}
