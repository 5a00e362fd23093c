// Which cells share a pass, how many at most, and what becomes of each where one of them does not fit. Knows no grid, and
// trains nothing itself.

import { availableMemory } from 'node:process'
import type { Backbone } from '../backbone/index.js'
import { type ErrorCode, LoptError } from '../errors.js'
import { METHOD_NAMES, type Prompt } from '../prompt/index.js'
import { promptFields } from '../prompt/prompt.js'
import { runConfig, type TrainEvent } from '../run/index.js'
import { OWN_OPTIONS, traineeOptions } from '../train/options.js'
import { encodeRows } from '../train/rows.js'
import { stepsLeft, takeFolder } from './cell-folder.js'
import { optionsOf, type PassCell, resultsOf, type TogetherCell } from './pass.js'
import type { CellResult } from './result-file.js'
import { failedCell, type Opened, promptOf } from './run-cell.js'
import type { RunSettings } from './settings.js'

/** What cells of one pass may differ in: what a prompt is, and what it has of its own beside others. */
const FREE: ReadonlySet<string> = new Set([
  ...Object.keys(promptFields.shape),
  ...OWN_OPTIONS,
])

/** Cells with the same key may share a pass; undefined: the cell is run alone. */
export function passKey(settings: RunSettings): string | undefined {
  const { method = 'lopt-1' } = settings
  // What trains no prompt has no pass to share.
  if (!METHOD_NAMES.some((name) => name === method)) return undefined
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
    const factors = length * (length + H) // a rank is no larger than the length
    return 6 * 4 * (vectors + network + factors)
  })
  const most = Math.floor((MEMORY_SHARE * availableMemory()) / Math.max(1, ...bytes))
  return Math.min(MOST_TOGETHER, Math.max(1, most))
}

/** What happens to cells of a pass, by their places. */
export type PassEvent =
  | { readonly cell: number; readonly event: TrainEvent }
  | { readonly cell: number; readonly result: CellResult }
  /** Cells that are to be run alone; why, where more than one of them was to be trained in the pass. */
  | { readonly alone: readonly number[]; readonly reason?: string }

/** A cell that has a prompt, and its place among those of the pass. */
interface Member extends PassCell {
  readonly cell: number
  /** Whether its folder holds something of a run. */
  readonly isLeft: boolean
}

/**
 * Trains cells that share a pass, and evaluates the best prompts on test, with the numbers and the files that each has
 * alone. Runs that were interrupted at different steps go on in a pass for each step.
 *
 * Yields for each cell a result in the end, or that it is to be run alone.
 *
 * @throws LoptError `ERR_ABORTED`; `ERR_IO` for a folder that cannot be made.
 */
export async function* runTogether(
  cells: readonly TogetherCell[],
  opened: Opened,
  signal: AbortSignal | undefined,
): AsyncGenerator<PassEvent> {
  const members: Member[] = []
  try {
    for (const [i, cell] of cells.entries()) {
      const isLeft = await takeFolder(cell.out)
      const prompt = promptOrNone(cell.settings, opened)
      if (prompt === undefined) yield { alone: [i] }
      else members.push({ ...cell, cell: i, prompt, isLeft })
    }
    let groups: Member[][]
    try {
      groups = await byStep(members, opened)
    } catch (error) {
      yield* afterFailure(error, members, opened)
      return
    }
    for (const group of groups) {
      if (group.length > 1) yield* runGroup(group, opened, signal)
      else yield { alone: group.map(({ cell }) => cell) }
    }
  } finally {
    for (const { prompt } of members) prompt.dispose()
  }
}

/** Undefined where it cannot be made, such as from a damaged file: alone, the cell fails and says why. */
function promptOrNone(settings: RunSettings, opened: Opened): Prompt | undefined {
  try {
    return promptOf(settings, opened)
  } catch {
    return undefined
  }
}

/** Cells that can go on from one step, new ones from 0; one whose folder another process writes is alone. */
async function byStep(members: readonly Member[], opened: Opened): Promise<Member[][]> {
  const left = members.filter(({ isLeft }) => isLeft)
  const known = await stepsOf(left, opened)
  const groups: { members: Member[]; steps: readonly number[] }[] = []
  for (const member of members) {
    const own = known.get(member) ?? [0]
    const group = groups.find(({ steps }) => steps.some((step) => own.includes(step)))
    if (group === undefined) {
      groups.push({ members: [member], steps: own })
      continue
    }
    group.members.push(member)
    group.steps = group.steps.filter((step) => own.includes(step))
  }
  return groups.map(({ members }) => members)
}

/** Steps that runs which were begun can go on from; `train` will look for the same configurations in their folders. */
async function stepsOf(
  members: readonly Member[],
  opened: Opened,
): Promise<Map<Member, readonly number[]>> {
  if (members.length === 0) return new Map()
  const { backbone, task } = opened
  const all = traineeOptions(optionsOf(members, opened))
  const { evalLimit, maxLength } = all[0]?.settings ?? {}
  const dev = task.dev.slice(0, evalLimit)
  const prompts = members.map(({ prompt }) => prompt)
  const { of } = await encodeRows(backbone, prompts, { task, dev, maxLength })
  const found = new Map<Member, readonly number[]>()
  for (const [i, { subjects, settings }] of all.entries()) {
    const member = members[i] as Member
    const config = runConfig(subjects, { ...settings, maxLength: of[i]?.limit })
    found.set(member, await stepsLeft(member.out, config))
  }
  return found
}

/** Trains and evaluates cells that begin, or go on, from one step. */
async function* runGroup(
  members: readonly Member[],
  opened: Opened,
  signal: AbortSignal | undefined,
): AsyncGenerator<PassEvent> {
  const running = resultsOf(members, opened, signal)
  let results: CellResult[]
  try {
    let next = await running.next()
    while (!next.done) {
      const { prompt, event } = next.value
      yield { cell: members[prompt]?.cell as number, event }
      next = await running.next()
    }
    results = next.value
  } catch (error) {
    yield* afterFailure(error, members, opened)
    return
  } finally {
    await running.return(undefined as never)
  }
  for (const [i, result] of results.entries()) {
    yield { cell: members[i]?.cell as number, result }
  }
}

// What one of several cells can be the reason of, or that they are too many: alone, each shows how it is with it.
const OF_SOME: readonly ErrorCode[] = [
  'ERR_OUT_OF_MEMORY',
  'ERR_IO',
  'ERR_LOCKED',
  'ERR_PROMPT_FILE',
  'ERR_UNSUPPORTED',
]

/** @throws the error, where it is no failure of the cells */
function* afterFailure(
  error: unknown,
  members: readonly Member[],
  opened: Opened,
): Generator<PassEvent> {
  const code = error instanceof LoptError ? error.code : undefined
  if (code === 'ERR_ABORTED') throw error
  if (error instanceof RangeError || (code !== undefined && OF_SOME.includes(code))) {
    yield { alone: members.map(({ cell }) => cell), reason: (error as Error).message }
    return
  }
  // As of one cell: recorded, and tried again by the next call. One by one it would only be hidden.
  for (const { cell, settings, hash } of members) {
    yield { cell, result: failedCell(settings, opened, hash, error) }
  }
}
