// One pass: cells that begin, or go on, from one step, and their results. Knows no grid, and no folder of other runs.

import { LoptError } from '../errors.js'
import { encodeForPrompts, passGraphsOf } from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import type { TrainEvent } from '../run/index.js'
import { evaluationOf, type Judged, judgeExamples } from '../train/evaluate.js'
import { type TrainOptions, train } from '../train/index.js'
import { OWN_OPTIONS } from '../train/options.js'
import { beginShare, shareOf } from './cell-folder.js'
import type { CellResult } from './result-file.js'
import {
  aboutCell,
  type Done,
  failedCell,
  figuresOn,
  type Opened,
  type SplitFigures,
  trainedFigures,
  trainingOf,
} from './run-cell.js'
import type { RunSettings } from './settings.js'

/** A cell of a pass. */
export interface TogetherCell {
  readonly settings: RunSettings
  /** Its run folder; a run that was interrupted there goes on with the others. */
  readonly out: string
  readonly hash: string
}

/** A cell that has a prompt. */
export interface PassCell extends TogetherCell {
  readonly prompt: Prompt
}

/**
 * Trains cells in one pass, and evaluates the best prompts on test.
 *
 * @returns a result a cell; whose loss or scores are not finite diverged, and the others did not
 * @throws as `train` and `evaluate`
 */
export async function* resultsOf(
  cells: readonly PassCell[],
  opened: Opened,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ prompt: number; event: TrainEvent }, CellResult[]> {
  const done = new Map<PassCell, Done>()
  const failed = new Map<PassCell, LoptError>()
  const rates = new Map<PassCell, number>()
  for await (const event of trainAll(cells, opened, signal)) {
    const { prompt = 0, ...own } = event
    const cell = cells[prompt] as PassCell
    if (own.type === 'failed') failed.set(cell, own.error)
    if (own.type === 'done') done.set(cell, own)
    if (own.type === 'start') {
      rates.set(cell, own.learningRate)
      await beginShare(cell.out, cells.length)
    }
    if (own.type !== 'failed') yield { prompt, event: own }
  }
  const tests = await evaluateAll([...done.keys()], opened, signal)
  return await Promise.all(
    cells.map(async (cell): Promise<CellResult> => {
      const { settings, hash, out, prompt } = cell
      const test = tests.get(cell) ?? failed.get(cell) ?? { seconds: 0 }
      if (test instanceof LoptError) return failedCell(settings, opened, hash, test)
      const seconds = await shareOf(out, done.get(cell)?.seconds ?? 0)
      return {
        ...aboutCell(settings, opened, hash),
        status: 'done',
        trainableParameters: prompt.trainableParameters,
        learningRate: rates.get(cell),
        together: cells.length,
        ...trainedFigures(done.get(cell), seconds, test),
      }
    }),
  )
}

/** Options of `train` for cells of a pass. */
export function optionsOf(
  cells: readonly PassCell[],
  { backbone, task }: Opened,
  signal?: AbortSignal,
): TrainOptions {
  const names: readonly string[] = OWN_OPTIONS
  const pick = (settings: object, isOwn: boolean) =>
    Object.fromEntries(
      Object.entries(settings).filter(([name]) => names.includes(name) === isOwn),
    )
  const prompts = cells.map(({ settings, prompt, out }) => {
    return { prompt, ...pick(trainingOf(settings), true), out }
  })
  const shared = pick(trainingOf(cells[0]?.settings ?? {}), false)
  return { ...shared, backbone, task, prompts, resume: true, ...(signal && { signal }) }
}

/** Events of `train`; ends without an error where all have failed, which was said of each. */
async function* trainAll(
  cells: readonly PassCell[],
  opened: Opened,
  signal: AbortSignal | undefined,
): AsyncGenerator<TrainEvent> {
  let failed = 0
  try {
    for await (const event of train(optionsOf(cells, opened, signal))) {
      if (event.type === 'failed') failed += 1
      yield event
    }
  } catch (error) {
    if (failed < cells.length) throw error
  }
}

/** In one pass; of a prompt whose scores are not finite, an error. */
async function evaluateAll(
  cells: readonly PassCell[],
  { backbone, task }: Opened,
  signal: AbortSignal | undefined,
): Promise<Map<PassCell, SplitFigures | LoptError>> {
  const { test } = task
  if (test.length === 0 || cells.length === 0) return new Map()
  const started = performance.now()
  const { maxLength, batchSize, fastPaths, ...more } = cells[0]?.settings ?? {}
  const graphs = passGraphsOf(backbone, more.graphs)
  const { maxTargetLength, longTargets } = more
  const prompts = cells.map(({ prompt }) => prompt)
  const rows = [test] as const
  const limits = { maxLength, maxTargetLength, longTargets, trained: true }
  const { labels, of } = await encodeForPrompts(backbone, prompts, task, rows, limits)
  const lists = of.map(({ encoded: [list] }) => list)
  const options = { backbone, labels, batchSize, fastPaths, graphs, signal }
  const judged = await judgeExamples(task, prompts, lists, { ...options, rows: 'all' })
  const seconds = (performance.now() - started) / 1000 / cells.length
  const found = new Map<PassCell, SplitFigures | LoptError>()
  for (const [i, cell] of cells.entries()) {
    try {
      const evaluation = evaluationOf(task, test, lists[i] ?? [], judged[i] as Judged)
      found.set(cell, figuresOn(evaluation, test, seconds))
    } catch (error) {
      const isLost = error instanceof LoptError && error.code === 'ERR_NON_FINITE_LOSS'
      if (!isLost) throw error
      found.set(cell, error)
    }
  }
  return found
}
