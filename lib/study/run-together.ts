// Cells that are trained and evaluated in one pass: which may be, how many at most, and their results. Knows no grid.

import { mkdir, rm } from 'node:fs/promises'
import { freemem } from 'node:os'
import { join } from 'node:path'
import type { Backbone } from '../backbone/index.js'
import type { LoptError } from '../errors.js'
import { METHOD_NAMES, type Prompt } from '../prompt/index.js'
import { promptFields } from '../prompt/prompt.js'
import type { TrainEvent } from '../run/index.js'
import {
  type EvaluateManyOptions,
  evaluate,
  type TrainOptions,
  train,
} from '../train/index.js'
import { OWN_OPTIONS } from '../train/options.js'
import { type CellResult, RESULT_FILE } from './result-file.js'
import {
  aboutCell,
  failedCell,
  figuresOn,
  type Opened,
  promptOf,
  trainedFigures,
  trainingOf,
} from './run-cell.js'
import type { RunSettings } from './settings.js'

/** What cells of one pass may differ in: what a prompt is, and what it has of its own beside others. */
const FREE: ReadonlySet<string> = new Set([
  ...Object.keys(promptFields.shape),
  ...OWN_OPTIONS,
])

/** Cells with the same key may share a pass; undefined: the cell is run alone. */
export function passKey(settings: RunSettings): string | undefined {
  const { method = 'lopt-1', profile } = settings
  // What trains no prompt has no pass to share; a trace shows one run.
  if (!METHOD_NAMES.some((name) => name === method) || profile) return undefined
  const shared = Object.entries(settings).filter(([name]) => !FREE.has(name))
  return JSON.stringify(shared.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** More gain nothing: a pass is as large as pays long before. */
const MOST_TOGETHER = 16

/** A quarter of the memory that is free is left to the prompts; a batch's own is bounded. */
const MEMORY_SHARE = 0.25

/**
 * How many cells of a pass the memory allows, in 1..16: of each prompt there are six copies (itself, gradients, an
 * optimizer's two, the best and the last good).
 */
export function mostTogether(
  cells: readonly RunSettings[],
  { config }: Backbone,
): number {
  const { hiddenSize: H, layers } = config
  const bytes = cells.map(({ method, length = 20, bottleneck = 400 }) => {
    const vectors = (method === 'prefix' ? 2 * layers : 1) * length * H
    const network =
      method === 'p-tuning' ? 3 * H * H : method === 'residual' ? 2 * H * bottleneck : 0
    return 6 * 4 * (vectors + network + 4 * H * H ** 0.5)
  })
  const most = Math.floor((MEMORY_SHARE * freemem()) / Math.max(1, ...bytes))
  return Math.min(MOST_TOGETHER, Math.max(1, most))
}

/** A cell of a pass. */
export interface TogetherCell {
  readonly settings: RunSettings
  /** Its run folder; a run that was interrupted there goes on with the others. */
  readonly out: string
  readonly hash: string
}

type Done = Extract<TrainEvent, { type: 'done' }>

/**
 * Trains cells that share a pass, and evaluates the best prompts on test, with the numbers and the files that each has
 * alone.
 *
 * @returns a result a cell
 * @throws whatever keeps one of them from it: each is then better run alone
 */
export async function* runTogether(
  cells: readonly TogetherCell[],
  opened: Opened,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ cell: number; event: TrainEvent }, CellResult[]> {
  const prompts: Prompt[] = []
  try {
    for (const { settings, out } of cells) {
      await mkdir(out, { recursive: true })
      await rm(join(out, RESULT_FILE), { force: true }) // of a run that failed
      prompts.push(promptOf(settings, opened))
    }
    const done = new Map<number, Done>()
    const failed = new Map<number, LoptError>()
    const rates = new Map<number, number>()
    for await (const event of trainAll(cells, prompts, opened, signal)) {
      const { prompt, ...own } = event
      const cell = prompt as number
      if (own.type === 'failed') failed.set(cell, own.error)
      if (own.type === 'done') done.set(cell, own)
      if (own.type === 'start') rates.set(cell, own.learningRate)
      if (own.type !== 'failed') yield { cell, event: own }
    }
    const tests = await evaluateAll(cells, prompts, [...done.keys()], opened, signal)
    return cells.map(({ settings, hash }, cell): CellResult => {
      const error = failed.get(cell)
      if (error !== undefined) return failedCell(settings, opened, hash, error)
      return {
        ...aboutCell(settings, opened, hash),
        status: 'done',
        trainableParameters: prompts[cell]?.trainableParameters as number,
        learningRate: rates.get(cell),
        together: cells.length,
        ...trainedFigures(done.get(cell), tests.get(cell) ?? { seconds: 0 }),
      }
    })
  } finally {
    for (const prompt of prompts) prompt.dispose()
  }
}

/** Events of `train`; ends without an error where all have failed, which was said of each. */
async function* trainAll(
  cells: readonly TogetherCell[],
  prompts: readonly Prompt[],
  { backbone, task }: Opened,
  signal: AbortSignal | undefined,
): AsyncGenerator<TrainEvent> {
  const names: readonly string[] = OWN_OPTIONS
  const pick = (settings: object, isOwn: boolean) =>
    Object.fromEntries(
      Object.entries(settings).filter(([name]) => names.includes(name) === isOwn),
    )
  const all = cells.map(({ settings }) => trainingOf(settings))
  const given = cells.map(({ out }, i) => {
    return { prompt: prompts[i] as Prompt, ...pick(all[i] ?? {}, true), out }
  })
  const shared = pick(all[0] ?? {}, false)
  const options = { ...shared, backbone, task, prompts: given, resume: true, signal }
  let failed = 0
  try {
    for await (const event of train(options as TrainOptions)) {
      if (event.type === 'failed') failed += 1
      yield event
    }
  } catch (error) {
    if (failed < cells.length) throw error
  }
}

/** Of the cells that are there, in one pass. */
async function evaluateAll(
  cells: readonly TogetherCell[],
  prompts: readonly Prompt[],
  chosen: readonly number[],
  { backbone, task }: Opened,
  signal: AbortSignal | undefined,
): Promise<Map<number, ReturnType<typeof figuresOn>>> {
  if (task.test.length === 0 || chosen.length === 0) return new Map()
  const started = performance.now()
  const { maxLength, batchSize, fastPaths } = cells[0]?.settings ?? {}
  const found = await evaluate({
    ...{ backbone, task, split: 'test', maxLength, batchSize, fastPaths, signal },
    prompts: chosen.map((cell) => prompts[cell] as Prompt),
  } as EvaluateManyOptions)
  const seconds = (performance.now() - started) / 1000
  return new Map(
    found.map((one, i) => [chosen[i] as number, figuresOn(one, task.test, seconds)]),
  )
}
