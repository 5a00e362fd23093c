// Reads run folders and sweeps for a report, finished or not. Draws nothing.

import { readdir, readFile } from 'node:fs/promises'
import { basename, join, relative, resolve } from 'node:path'
import { z } from 'zod'
import { cannotRead, LoptError, onOneLine } from '../errors.js'
import { wrongFields } from '../fields.js'
import { FIGURE_OF, type Sample } from '../run/index.js'
import { METRICS } from '../task/index.js'
import { RESULT_FILE, readResult } from './result-file.js'
import type { RunSettings } from './settings.js'
import { SWEEP_FILE } from './study.js'

export type RunStatus = 'done' | 'diverged' | 'failed' | 'unfinished' | 'impossible'

export interface Run {
  /** Of its folder, as a reader tells it from others. */
  readonly name: string
  readonly status: RunStatus
  /** Its name, or its data file's without the folders. */
  readonly task: string
  /** The figure that the task is judged by. */
  readonly metric: string
  readonly method: string
  readonly settings: RunSettings
  readonly parameters: number | undefined
  readonly dev: Readonly<Record<string, number>> | undefined
  readonly test: Readonly<Record<string, number>> | undefined
  readonly testRows: number | undefined
  readonly seconds: number | undefined
  /** Why there are no figures. */
  readonly reason: string | undefined
  readonly losses: readonly Point[]
  /** The metric on dev. */
  readonly evaluations: readonly Point[]
  /** Where texts answer rows: what was said to some dev rows at the best step so far. */
  readonly samples: readonly Sample[]
  /** All that is known of how it was made. */
  readonly configuration: unknown
}

export type Point = { readonly step: number; readonly value: number }

// Folders in folders: task, method, cell, and some above them.
const MAX_DEPTH = 8
const CONFIG_FILE = 'config.json'
const METRICS_FILE = 'metrics.jsonl'

/**
 * The runs in folders and below them, in the order of their names.
 *
 * @throws LoptError `ERR_DATA` for a folder without runs and for a file that is something else;
 *   `ERR_IO` for what cannot be read.
 */
export async function readRuns(folders: readonly string[]): Promise<Run[]> {
  const runs = new Map<string, Run>()
  for (const folder of folders) {
    const found = await runsBelow(resolve(folder), folders.length > 1)
    if (found.size === 0) {
      throw new LoptError(
        'ERR_DATA',
        `${folder} holds no run: give a folder that \`lopt train\` or \`lopt sweep\` wrote`,
      )
    }
    for (const [path, run] of found) if (!runs.has(path)) runs.set(path, run)
  }
  return [...runs.values()]
}

async function runsBelow(root: string, several: boolean): Promise<Map<string, Run>> {
  // Cells of a sweep in its own order; those without a folder count if they cannot be run.
  const planned = new Map<string, Run>()
  const runs = new Map<string, Run>()
  const visit = async (folder: string, depth: number) => {
    const { files, folders } = await namesIn(folder)
    if (files.includes(RESULT_FILE) || files.includes(CONFIG_FILE)) {
      const inside = relative(root, folder)
      const nested = several ? join(basename(root), inside) : inside
      const name = inside === '' ? basename(root) : nested
      const run = await readRun(folder, name, files)
      const { settings } = planned.get(folder) ?? run
      // A run without a result knows less of its settings than the plan does.
      const isEnded = files.includes(RESULT_FILE) || run.status === 'done'
      runs.set(folder, isEnded ? run : { ...run, settings })
      return
    }
    if (files.includes(SWEEP_FILE)) {
      for (const [path, run] of await plannedRuns(folder, several)) planned.set(path, run)
    }
    if (depth === MAX_DEPTH) return
    for (const below of folders) await visit(join(folder, below), depth + 1)
  }
  await visit(root, 0)
  const ordered = new Map<string, Run>()
  for (const [path, run] of planned) {
    const found = runs.get(path) ?? (run.status === 'impossible' ? run : undefined)
    if (found) ordered.set(path, found)
  }
  return new Map([...ordered, ...runs])
}

async function namesIn(folder: string): Promise<{ files: string[]; folders: string[] }> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    const byName = entries.sort((a, b) =>
      a.name.localeCompare(b.name, 'en', { numeric: true }),
    )
    return {
      files: byName.filter((entry) => entry.isFile()).map(({ name }) => name),
      folders: byName.filter((entry) => entry.isDirectory()).map(({ name }) => name),
    }
  } catch (cause) {
    throw cannotRead(folder, cause)
  }
}

const sweepFile = z.object({
  version: z.literal(1),
  cells: z.array(
    z.object({
      name: z.string(),
      settings: z.record(z.string(), z.unknown()),
      impossible: z.string().optional(),
    }),
  ),
})

/** A sweep's cells as planned, by their folders. */
async function plannedRuns(folder: string, several: boolean): Promise<[string, Run][]> {
  const { cells } = await readJson(join(folder, SWEEP_FILE), sweepFile, 'no sweep')
  return cells.map(({ name, settings, impossible }) => {
    const { task, data, method } = settings as RunSettings
    const run: Run = {
      ...NOTHING_YET,
      name: several ? join(basename(folder), name) : name,
      status: impossible === undefined ? 'unfinished' : 'impossible',
      task: task ?? basename(data ?? ''),
      method: method ?? 'lopt-1',
      settings: settings as RunSettings,
      reason: impossible,
      configuration: { settings },
    }
    return [join(folder, name), run]
  })
}

const NOTHING_YET = {
  metric: 'accuracy',
  parameters: undefined,
  dev: undefined,
  test: undefined,
  testRows: undefined,
  seconds: undefined,
  losses: [],
  evaluations: [],
  samples: [],
} as const

const runConfig = z.object({
  prompt: z
    .object({
      method: z.string(),
      length: z.number(),
      rank: z.number(),
      placement: z.string().optional(),
      trainableParameters: z.number().optional(),
    })
    .nullish(),
  weights: z.object({ trainableParameters: z.number() }).nullish(),
  task: z.object({ name: z.string(), metric: z.enum(METRICS) }),
  training: z.record(z.string(), z.unknown()),
})

async function readRun(
  folder: string,
  name: string,
  files: readonly string[],
): Promise<Run> {
  const result = await readResult(folder)
  const config = files.includes(CONFIG_FILE)
    ? await readJson(join(folder, CONFIG_FILE), z.unknown(), 'no configuration')
    : undefined
  const events = files.includes(METRICS_FILE)
    ? await readEvents(join(folder, METRICS_FILE))
    : []
  const metric = result?.task.metric
  if (result && metric) {
    const { test, dev, seconds, error, task, settings } = result
    return {
      name,
      status: result.status,
      task: basename(task.name),
      metric,
      method: settings.method ?? 'lopt-1',
      settings,
      parameters: result.status === 'done' ? result.trainableParameters : undefined,
      dev,
      test,
      testRows: test && task.rows.test,
      seconds: seconds.train,
      reason: error && `${error.code}: ${error.message}`,
      ...curves(events, metric),
      configuration: { ...result, right: undefined, config },
    }
  }
  const read = runConfig.safeParse(config, { reportInput: true })
  if (!read.success) {
    throw new LoptError(
      'ERR_DATA',
      `${join(folder, CONFIG_FILE)} is not the configuration of a run: ` +
        wrongFields(read.error, config),
    )
  }
  return unevaluatedRun(name, read.data, config, events)
}

/** A run of `lopt train` or `train`, which knows dev alone; or one that was not ended. */
function unevaluatedRun(
  name: string,
  { prompt, weights, task, training }: z.infer<typeof runConfig>,
  config: unknown,
  events: readonly Event[],
): Run {
  const metric = FIGURE_OF[task.metric]
  const done = events.find(({ type }) => type === 'done')
  const figure = done?.[metric]
  const { learningRate, seed, steps } = training
  const settings = {
    method: prompt?.method ?? 'fine-tune',
    ...(prompt ? { length: prompt.length } : {}),
    ...(prompt && prompt.rank > 0 ? { rank: prompt.rank } : {}),
    ...(prompt?.placement ? { placement: prompt.placement } : {}),
    learningRate,
    seed,
    steps,
  } as RunSettings
  return {
    ...NOTHING_YET,
    name,
    ...(done ? { status: 'done', reason: undefined } : endOf(events, steps)),
    task: basename(task.name),
    metric,
    method: settings.method as string,
    settings,
    parameters: prompt?.trainableParameters ?? weights?.trainableParameters,
    dev: typeof figure === 'number' ? { [metric]: figure } : undefined,
    seconds: typeof done?.seconds === 'number' ? done.seconds : undefined,
    ...curves(events, metric),
    configuration: config,
  }
}

type Event = Readonly<Record<string, unknown>>

const samplesOf = z.array(
  z.object({
    row: z.number(),
    text: z.string(),
    targets: z.array(z.string()),
    generated: z.string(),
    loss: z.number(),
  }),
)

/** Why a run that is not done has no figures. */
function endOf(
  events: readonly Event[],
  steps: unknown,
): { status: RunStatus; reason: string } {
  const failed = events.find(({ type }) => type === 'failed')
  if (failed !== undefined) {
    return { status: 'diverged', reason: `${failed.code}: ${failed.message}` }
  }
  const taken = events.filter(({ type }) => type === 'step').length
  return {
    status: 'unfinished',
    reason: `It was not ended: ${taken} of ${steps} steps`,
  }
}

function curves(
  events: readonly Event[],
  metric: string,
): Pick<Run, 'losses' | 'evaluations' | 'samples'> {
  const points = (type: string, name: string) =>
    events.flatMap((event) => {
      const { step, [name]: value } = event
      const isPoint = event.type === type && typeof step === 'number'
      return isPoint && typeof value === 'number' ? [{ step, value }] : []
    })
  const best = events.findLast(({ type, best }) => type === 'eval' && best === true)
  const { data: samples = [] } = samplesOf.safeParse(best?.samples ?? [])
  return {
    losses: points('step', 'loss'),
    evaluations: points('eval', metric),
    samples,
  }
}

/** The events of a run; the last line may be half, where the process was killed. */
async function readEvents(file: string): Promise<Event[]> {
  const text = await readText(file)
  const lines = text.split('\n')
  return lines.flatMap((line, i) => {
    if (line === '') return []
    try {
      return [z.record(z.string(), z.unknown()).parse(JSON.parse(line))]
    } catch (cause) {
      if (i === lines.length - 1) return []
      throw new LoptError('ERR_DATA', `${file}:${i + 1}: Expected an event as JSON`, {
        cause,
      })
    }
  })
}

async function readJson<T>(file: string, schema: z.ZodType<T>, what: string): Promise<T> {
  const text = await readText(file)
  try {
    return schema.parse(JSON.parse(text), { reportInput: true })
  } catch (cause) {
    const why =
      cause instanceof z.ZodError
        ? wrongFields(cause, undefined)
        : onOneLine((cause as Error).message)
    throw new LoptError('ERR_DATA', `${file} is ${what}: ${why}`, { cause })
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new LoptError('ERR_IO', `Cannot read ${file}: ${(cause as Error).message}`, {
      cause,
    })
  }
}
