// Which cells of a sweep share a pass, and what one of them means for the others.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { LoptError } from '../../lib/errors.js'
import { readState } from '../../lib/run/checkpoint.js'
import { checkpointPathOf } from '../../lib/run/folder.js'
import type { TrainEvent } from '../../lib/run/index.js'
import { maySpeakOfFolder } from '../../lib/study/cell-folder.js'
import { type SweepEvent, type SweepOptions, sweep } from '../../lib/study/index.js'
import type { TrainOptions } from '../../lib/train/index.js'
import { folder, outcomes, run, small } from './small-sweep.js'

/** What training of several prompts throws in place of what it does. */
const broken: { error: Error | undefined } = vi.hoisted(() => ({ error: undefined }))
vi.mock('../../lib/train/index.js', async (importOriginal) => {
  const real = await importOriginal<typeof import('../../lib/train/index.js')>()
  const train = (options: TrainOptions) => {
    if (options.prompts && broken.error) throw broken.error
    return real.train(options)
  }
  return { ...real, train }
})

const config = {
  ...small,
  steps: 6,
  checkpointEvery: 2,
  grid: { seed: [0, 1, 2] },
}
const names = [0, 1, 2].map((seed) => `rows/lopt-1/P4-seed${seed}`) as [
  string,
  string,
  string,
]

/** How many shared the pass of each cell, by its last character; a cell that was run alone has 1. */
function passes(events: readonly SweepEvent[]): Record<string, number> {
  return Object.fromEntries(
    events.flatMap((event) =>
      event.type === 'cell' && event.status === 'done' && !event.kept
        ? [[event.cell.slice(-1), event.result?.together ?? 1]]
        : [],
    ),
  )
}

function trainEvents<T extends TrainEvent['type']>(
  events: readonly SweepEvent[],
  type: T,
): (Extract<TrainEvent, { type: T }> & { cell: string })[] {
  return events.flatMap((event) =>
    event.type === 'train' && event.event.type === type
      ? [{ ...(event.event as Extract<TrainEvent, { type: T }>), cell: event.cell }]
      : [],
  )
}

/** Runs a sweep up to a step of the cell that is trained first. */
async function interrupted(options: SweepOptions, step: number): Promise<void> {
  const controller = new AbortController()
  const aborted = async () => {
    for await (const event of sweep({ ...options, signal: controller.signal })) {
      const isStep = event.type === 'train' && event.event.type === 'step'
      if (isStep && event.event.step === step) controller.abort()
    }
  }
  await expect(aborted()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
}

test('a cell that was interrupted alone goes on by itself, and the others share a pass', async () => {
  const out = join(folder, 'alone-first')
  await interrupted({ config, out, together: 1 }, 4)
  const events = await run({ config, out })
  expect(passes(events)).toEqual({ 0: 1, 1: 2, 2: 2 })
  expect(events.some(({ type }) => type === 'apart')).toBe(false)
  const starts = trainEvents(events, 'start')
  const resumed = Object.fromEntries(starts.map((one) => [one.cell, one.resumedFrom]))
  expect(resumed).toEqual({ [names[0]]: 2 })
})

test('cells that were interrupted together go on alone, each with its share of the time', async () => {
  const out = join(folder, 'together-first')
  await interrupted({ config, out }, 5)
  const before = names.map(
    (name) => readState(checkpointPathOf(join(out, name)))?.seconds as number,
  )
  const events = await run({ config, out, together: 1 })
  expect(trainEvents(events, 'start').map((one) => one.resumedFrom)).toEqual([4, 4, 4])
  const whole = await run({ config, out: join(folder, 'together-whole') })
  for (const [i, cell] of names.entries()) {
    const result = resultOf(events, cell)
    expect(result?.together).toBe(undefined)
    const done = trainEvents(events, 'done').find((one) => one.cell === cell)
    const since = before[i] as number
    const share = since / 3 + (done?.seconds as number) - since
    expect(result?.seconds.train).toBeCloseTo(share, 9)
    const loss = resultOf(whole, cell)?.test?.loss as number
    expect(result?.test?.loss).toBeCloseTo(loss, 5)
    const { seconds } = trainEvents(whole, 'done').find((one) => one.cell === cell) ?? {}
    expect(resultOf(whole, cell)?.seconds.train).toBe((seconds as number) / 3)
  }
})

function resultOf(events: readonly SweepEvent[], cell: string) {
  const found = events.find((event) => event.type === 'cell' && event.cell === cell)
  return found?.type === 'cell' ? found.result : undefined
}

test('what other settings left in a folder is removed, and the cell shares the pass', async () => {
  const out = join(folder, 'stale')
  await interrupted({ config: { ...config, batchSize: 3 }, out, together: 1 }, 4)
  const events = await run({ config, out })
  expect(passes(events)).toEqual({ 0: 3, 1: 3, 2: 3 })
  expect(trainEvents(events, 'step')).toHaveLength(3 * 6)
  expect(trainEvents(events, 'start').some((one) => one.resumedFrom)).toBe(false)
})

test('finished cells take no place in a pass', async () => {
  const out = join(folder, 'places')
  const four = { ...config, grid: { seed: [0, 1, 2, 3] } }
  await run({ config: four, out, together: 2 })
  for (const seed of [0, 3]) {
    rmSync(join(out, `rows/lopt-1/P4-seed${seed}`), { recursive: true })
  }
  const events = await run({ config: four, out, together: 2 })
  expect(passes(events)).toEqual({ 0: 2, 3: 2 })
})

test('a cell whose prompt cannot be made fails alone', async () => {
  const out = join(folder, 'damaged')
  const init = join(folder, 'damaged.lopt.safetensors')
  writeFileSync(init, 'no prompt')
  const grid = { init: ['vocab', init, 'random'] }
  const events = await run({ config: { ...config, grid }, out })
  expect(outcomes(events).filter((one) => one.endsWith('failed'))).toHaveLength(1)
  expect(
    events.flatMap((event) => (event.type === 'cell' ? [event.result?.together] : [])),
  ).toEqual([2, 2, undefined])
  expect(events.some(({ type }) => type === 'apart')).toBe(false)
})

test('a cell whose run folder another process writes is waited for, and the others share a pass', async () => {
  const out = join(folder, 'locked')
  await interrupted({ config, out }, 3)
  const lock = join(out, names[1], 'lock-00000000-0000-4000-8000-000000000000.json')
  const holder = { host: 'another', pid: 1, processes: null, began: null, since: 'now' }
  writeFileSync(lock, JSON.stringify(holder))
  const events: SweepEvent[] = []
  for await (const event of sweep({ config, out })) {
    events.push(event)
    if (event.type === 'waiting') rmSync(lock)
  }
  expect(passes(events)).toEqual({ 0: 2, 1: 1, 2: 2 })
  expect(trainEvents(events, 'start').map((one) => one.resumedFrom)).toEqual([2, 2, 2])
})

test('a result that cannot be written ends the sweep, and those that were stay', async () => {
  const out = join(folder, 'unwritten')
  const inTheWay = join(out, names[1], 'result.json')
  const running = async () => {
    for await (const event of sweep({ config, out })) {
      if (event.type === 'train') mkdirSync(inTheWay, { recursive: true })
    }
  }
  await expect(running()).rejects.toMatchObject({ code: 'ERR_IO' })
  const kept = readFileSync(join(out, names[0], 'result.json'))
  rmSync(inTheWay, { recursive: true })
  const events = await run({ config, out })
  expect(outcomes(events)).toEqual([
    `${names[0]}: done (kept)`,
    `${names[1]}: done`,
    `${names[2]}: done`,
  ])
  expect(trainEvents(events, 'step')).toEqual([])
  expect(readFileSync(join(out, names[0], 'result.json'))).toEqual(kept)
  const end = events.at(-1)
  expect(end?.type === 'done' && end.counts.done).toBe(3)
})

test('a prompt whose scores on test are not finite diverges alone', async () => {
  const out = join(folder, 'lost-on-test')
  const events = await run({
    config: {
      ...small,
      ...{ clip: 0, optimizer: 'sgd', steps: 1, evalEvery: 0 },
      grid: { method: ['full'], learningRate: [0.1, 1e38, 0.2] },
    },
    out,
  })
  expect(outcomes(events)).toEqual([
    'rows/full/P4-lr0.1-seed0: done',
    'rows/full/P4-lr1e+38-seed0: diverged',
    'rows/full/P4-lr0.2-seed0: done',
  ])
  expect(trainEvents(events, 'done')).toHaveLength(3)
  expect(resultOf(events, 'rows/full/P4-lr0.1-seed0')?.together).toBe(3)
})

test('cells that are too many for the memory are run one by one, and it is said', async () => {
  broken.error = new LoptError('ERR_OUT_OF_MEMORY', 'No memory is left')
  const events = await run({ config, out: join(folder, 'too-many') })
  broken.error = undefined
  expect(passes(events)).toEqual({ 0: 1, 1: 1, 2: 1 })
  expect(events).toContainEqual({
    type: 'apart',
    cells: names,
    reason: 'No memory is left',
  })
})

test('a pass that fails for no cell of its own is a failure of all, and not hidden', async () => {
  broken.error = new TypeError('x is not a function')
  const out = join(folder, 'bug')
  const events = await run({ config, out })
  broken.error = undefined
  expect(outcomes(events)).toEqual(names.map((name) => `${name}: failed`))
  expect(events).toContainEqual(
    expect.objectContaining({ reason: 'ERR_UNEXPECTED: x is not a function' }),
  )
  expect(passes(await run({ config, out }))).toEqual({ 0: 3, 1: 3, 2: 3 })
  expect(existsSync(join(out, names[0], 'prompt.lopt.safetensors'))).toBe(true)
})

test('a full disk or memory is no reason to remove the run that a folder holds', () => {
  const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' })
  const errors = [
    new LoptError('ERR_IO', 'Cannot write lock.json', { cause: full }),
    new LoptError('ERR_OUT_OF_MEMORY', 'No memory is left'),
    new RangeError('training.steps was 6 and is 7'),
    new LoptError('ERR_IO', 'x is no run folder'),
  ]
  expect(errors.map(maySpeakOfFolder)).toEqual([false, false, true, true])
})
