// Runs one cell: trains, evaluates the best prompt on test, and gives its result. Knows no grid and no
// other cell.

import { type Backbone, loadBackbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { encodeLabels, textLimit } from '../inference/index.js'
import { native, packageVersion } from '../native.js'
import { createPrompt, type Prompt } from '../prompt/index.js'
import {
  FIGURE_OF,
  type Figures,
  figuresOf,
  selectWeights,
  type TrainEvent,
  trainFields,
} from '../run/index.js'
import { bundledTaskNames, loadTask, type Task } from '../task/index.js'
import {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evaluateMajority,
  type TrainOptions,
  train,
} from '../train/index.js'
import {
  beginShare,
  clearFolder,
  maySpeakOfFolder,
  shareOf,
  takeFolder,
} from './cell-folder.js'
import type { CellResult } from './result-file.js'
import type { RunSettings } from './settings.js'

/** What a run works on, open already. */
export interface Opened {
  readonly backbone: Backbone
  readonly task: Task
}

type Outcome = Pick<
  CellResult,
  | 'dev'
  | 'test'
  | 'right'
  | 'seconds'
  | 'learningRate'
  | 'bestStep'
  | 'trainableParameters'
>

/**
 * Opens a task for a backbone, whose kind chooses the texts of a task of the literature; all runs of a
 * sweep have the same rows held out, whatever their seed.
 */
export async function openTask(
  settings: RunSettings,
  backbone: Backbone,
  signal: AbortSignal | undefined,
): Promise<Task> {
  const { task, data, evalData, testData, template } = settings
  const { dataDir: folder, templates, splits } = settings
  const { targetTemplate, targetEnd, metric } = settings
  const name = (task ?? data) as string
  // Of other tasks it would change nothing, and is refused.
  const kind = task !== undefined && !bundledTaskNames.includes(task) ? { backbone } : {}
  return await loadTask(name, {
    evalData,
    testData,
    template,
    targetTemplate,
    ...(targetEnd !== undefined && { targetEnd }),
    ...(metric && { metric }),
    folder,
    templates,
    splits,
    signal,
    ...kind,
  })
}

export async function openBackbone(
  { backbone, device, dtype, revision }: RunSettings,
  signal: AbortSignal | undefined,
): Promise<Backbone> {
  return await loadBackbone(backbone as string, { device, dtype, revision, signal })
}

/** Why a run cannot be; undefined where nothing speaks against it. */
export function whyImpossible(settings: RunSettings, opened: Opened): string | undefined {
  const { method } = settings
  if (method === 'majority') {
    return opened.task.labels.length > 0
      ? undefined
      : 'Each row of the task has labels of its own: none is the most frequent'
  }
  let prompt: Prompt | undefined
  try {
    const { backbone, task } = opened
    if (method === 'fine-tune') selectWeights(backbone, pattern(settings))
    else if (method !== 'hard') prompt = promptOf(settings, opened)
    const labels = encodeLabels(backbone, task)
    textLimit(backbone, prompt ?? null, labels, { maxLength: settings.maxLength })
  } catch (error) {
    if (error instanceof RangeError) return error.message
    if (!(error instanceof LoptError)) throw error
    // Anything else than what is not there at all, such as a damaged file, fails when it is run.
    return error.code === 'ERR_UNSUPPORTED' ? error.message : undefined
  } finally {
    prompt?.dispose()
  }
  return undefined
}

/**
 * @param out the run folder of the cell; a run that was interrupted there goes on
 * @throws LoptError `ERR_ABORTED`, `ERR_LOCKED`; what else goes wrong is the result's `error`.
 */
export async function* runCell(
  settings: RunSettings,
  opened: Opened,
  { out, hash, signal }: { out: string; hash: string; signal?: AbortSignal | undefined },
): AsyncGenerator<TrainEvent, CellResult> {
  let isLeft = await takeFolder(out)
  for (;;) {
    const where = { out, signal, begun: false }
    try {
      const found = yield* outcomeOf(settings, opened, where)
      return { ...aboutCell(settings, opened, hash), status: 'done', ...found }
    } catch (error) {
      const code = error instanceof LoptError ? error.code : 'ERR_UNEXPECTED'
      if (code === 'ERR_ABORTED' || code === 'ERR_LOCKED') throw error
      if (isLeft && !where.begun && maySpeakOfFolder(error)) {
        // It is not this run that was interrupted: its settings, rows or versions were others.
        await clearFolder(out)
        isLeft = false
        continue
      }
      return failedCell(settings, opened, hash, error)
    }
  }
}

/** What a result says of any cell that has just ended. */
export function aboutCell(
  settings: RunSettings,
  { backbone, task }: Opened,
  hash: string,
): Pick<
  CellResult,
  'version' | 'hash' | 'settings' | 'backbone' | 'task' | 'versions' | 'finishedAt'
> {
  const { dev, test, train: trainRows } = task
  return {
    version: 1,
    hash,
    settings,
    backbone: { source: backbone.source, fingerprint: backbone.fingerprint },
    task: {
      name: task.name,
      metric: FIGURE_OF[task.metric],
      rows: { train: trainRows.length, dev: dev.length, test: test.length },
    },
    versions: {
      lopt: packageVersion(),
      torch: native().torchVersion,
      node: process.versions.node,
    },
    finishedAt: new Date().toISOString(),
  }
}

/** The result of a cell that ended with an error: one whose loss was not finite diverged. */
export function failedCell(
  settings: RunSettings,
  opened: Opened,
  hash: string,
  error: unknown,
): CellResult {
  const code = error instanceof LoptError ? error.code : 'ERR_UNEXPECTED'
  const message = error instanceof Error ? error.message : String(error)
  return {
    ...aboutCell(settings, opened, hash),
    status: code === 'ERR_NON_FINITE_LOSS' ? 'diverged' : 'failed',
    trainableParameters: 0,
    seconds: { train: 0, test: 0 },
    error: { code, message },
  }
}

/** Where a run is, and whether it has begun. */
interface Where {
  readonly out: string
  readonly signal: AbortSignal | undefined
  begun: boolean
}

async function* outcomeOf(
  settings: RunSettings,
  opened: Opened,
  where: Where,
): AsyncGenerator<TrainEvent, Outcome> {
  const { task } = opened
  switch (settings.method) {
    case 'majority': {
      const of = (split: 'dev' | 'test') =>
        task[split].length > 0
          ? { [split]: numbersOf(evaluateMajority(task, split) as object) }
          : {}
      return { ...of('dev'), ...of('test'), ...untrained(0) }
    }
    case 'hard': {
      const dev = await splitFigures('dev', settings, { ...opened, prompt: null }, where)
      const test = await splitFigures(
        'test',
        settings,
        { ...opened, prompt: null },
        where,
      )
      return {
        dev: dev.figures,
        test: test.figures,
        right: test.right,
        ...untrained(test.seconds),
      }
    }
    case 'fine-tune': {
      // Training changes the model: it is opened once more, for this run alone.
      const backbone = await openBackbone(settings, where.signal)
      try {
        const weights = selectWeights(backbone, pattern(settings))
        const options = { backbone, task, weights }
        return yield* trained(
          settings,
          options,
          { ...opened, backbone, prompt: null },
          where,
        )
      } finally {
        backbone.dispose()
      }
    }
    default: {
      const prompt = promptOf(settings, opened)
      try {
        return yield* trained(
          settings,
          { ...opened, prompt },
          { ...opened, prompt },
          where,
        )
      } finally {
        prompt.dispose()
      }
    }
  }
}

async function* trained(
  settings: RunSettings,
  what: Pick<TrainOptions, 'backbone' | 'task' | 'prompt' | 'weights'>,
  evaluated: Opened & { prompt: Prompt | null },
  where: Where,
): AsyncGenerator<TrainEvent, Outcome> {
  const { out, signal } = where
  let trainableParameters = 0
  let learningRate: number | undefined
  let done: Done | undefined
  const options = { ...trainingOf(settings), ...what, out, resume: true, signal }
  for await (const event of train(options as TrainOptions)) {
    where.begun = true
    yield event
    if (event.type === 'start') {
      ;({ trainableParameters, learningRate } = event)
      await beginShare(out, 1)
    }
    if (event.type === 'done') done = event
  }
  const test = await splitFigures('test', settings, evaluated, { signal })
  const rate = learningRate === undefined ? {} : { learningRate }
  const seconds = await shareOf(out, done?.seconds ?? 0)
  return { trainableParameters, ...rate, ...trainedFigures(done, seconds, test) }
}

export type Done = Extract<TrainEvent, { type: 'done' }>

/**
 * What training ended with, and the evaluation on test behind it.
 *
 * @param seconds the cell's share of what training took
 */
export function trainedFigures(
  done: Done | undefined,
  seconds: number,
  test: SplitFigures,
): Pick<CellResult, 'bestStep' | 'dev' | 'test' | 'right' | 'seconds'> {
  const dev = { ...(done && figuresOf(done as Figures)) }
  return {
    bestStep: done?.bestStep ?? 0,
    ...(Object.keys(dev).length > 0 ? { dev } : {}),
    ...(test.figures ? { test: test.figures, right: test.right } : {}),
    seconds: { train: seconds, test: test.seconds },
  }
}

/** Of the rows of a split; no figures where there are none. */
export interface SplitFigures {
  readonly figures?: Record<string, number> | undefined
  readonly right?: string | undefined
  readonly seconds: number
}

const untrained = (seconds: number) => ({
  trainableParameters: 0,
  seconds: { train: 0, test: seconds },
})

async function splitFigures(
  split: 'dev' | 'test',
  settings: RunSettings,
  { backbone, task, prompt }: Opened & { prompt: Prompt | null },
  { signal }: { signal: AbortSignal | undefined },
): Promise<SplitFigures> {
  if (task[split].length === 0) return { seconds: 0 }
  const started = performance.now()
  const { maxLength, batchSize, fastPaths, graphs, ...more } = settings
  const { maxTargetLength, longTargets } = more
  const options = {
    backbone,
    prompt,
    task,
    split,
    maxLength,
    batchSize,
    fastPaths,
    graphs,
    maxTargetLength,
    longTargets,
    signal,
  }
  const found = await evaluate(options as EvaluateOptions)
  const seconds = (performance.now() - started) / 1000
  return figuresOn(found, task[split], seconds)
}

export function figuresOn(
  found: Evaluation,
  rows: Task['test'],
  seconds: number,
): SplitFigures {
  const counts = ['examples', 'truncated', 'truncatedTargets']
  const figures = Object.fromEntries(
    Object.entries(numbersOf(found)).filter(([name]) => !counts.includes(name)),
  )
  const right = found.predictions.map((label, i) =>
    label === rows[i]?.label ? '1' : '0',
  )
  return { figures, right: right.join(''), seconds }
}

export function promptOf(settings: RunSettings, { backbone, task }: Opened): Prompt {
  const trainOnly = new Set(Object.keys(trainFields.shape).filter((n) => n !== 'seed'))
  const none = new Set(
    'backbone revision device dtype task data evalData testData template dataDir templates splits trainable targetTemplate targetEnd metric'.split(
      ' ',
    ),
  )
  const own = Object.entries(settings).filter(
    ([name]) => !trainOnly.has(name) && !none.has(name),
  )
  return createPrompt(backbone, {
    ...Object.fromEntries(own),
    labels: Object.values(task.verbalizer),
  })
}

export function trainingOf(settings: RunSettings): Record<string, unknown> {
  const names = new Set(Object.keys(trainFields.shape))
  return Object.fromEntries(Object.entries(settings).filter(([name]) => names.has(name)))
}

function pattern({ trainable = '.' }: RunSettings): RegExp {
  return new RegExp(trainable)
}

/** The figures of an evaluation or an event, whatever the task has. */
function numbersOf(found: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(found).filter((entry) => typeof entry[1] === 'number'),
  )
}
