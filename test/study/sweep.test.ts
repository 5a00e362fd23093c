import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tryLock } from '../../lib/hub/index.js'
import { sweep } from '../../lib/study/index.js'
import { readRuns } from '../../lib/study/read-runs.js'
import { folder, outcomes, run, small } from './small-sweep.js'

const grid = { method: ['majority', 'hard', 'lopt-1', 'full'], rank: [2, 5] } as const
const config = { ...small, grid }

test('every cell is a run folder with figures on test; what cannot be is listed with its reason', async () => {
  const out = join(folder, 'whole')
  const events = await run({ config, out })
  expect(outcomes(events)).toEqual([
    'rows/lopt-1/P4-R5-seed0: impossible',
    'rows/majority/once: done',
    'rows/hard/once: done',
    'rows/lopt-1/P4-R2-seed0: done',
    'rows/full/P4-seed0: done', // in one pass with the one before
  ])
  expect(events).toContainEqual(
    expect.objectContaining({
      status: 'impossible',
      reason: 'Expected rank in 1..4 but received 5',
    }),
  )
  const cell = join(out, 'rows/lopt-1/P4-R2-seed0')
  for (const file of ['config.json', 'metrics.jsonl', 'prompt.lopt.safetensors']) {
    expect(existsSync(join(cell, file))).toBe(true)
  }
  const result = JSON.parse(readFileSync(join(cell, 'result.json'), 'utf8'))
  expect(result).toMatchObject({ status: 'done', trainableParameters: 2 * (4 + 32) })
  const right = [...result.right].filter((one) => one === '1').length
  expect(result.test.accuracy).toBe(right / 24)
})

test('finished cells are kept, byte for byte, and one without a result is finished', async () => {
  const out = join(folder, 'again')
  await run({ config, out })
  const kept = join(out, 'rows/full/P4-seed0/result.json')
  const before = readFileSync(kept)
  // what a killed process leaves: a run folder without a result
  rmSync(join(out, 'rows/lopt-1/P4-R2-seed0/result.json'))
  expect(outcomes(await run({ config, out }))).toEqual([
    'rows/majority/once: done (kept)',
    'rows/hard/once: done (kept)',
    'rows/lopt-1/P4-R5-seed0: impossible',
    'rows/full/P4-seed0: done (kept)',
    'rows/lopt-1/P4-R2-seed0: done',
  ])
  expect(readFileSync(kept)).toEqual(before)
})

test('a task that is judged by the F1 of its answers has it in the choice, the results and a report', async () => {
  const out = join(folder, 'answers')
  const events = await run({
    config: {
      backbone: 'builtin:nano-gpt2',
      task: 'record',
      dataDir: 'test/fixtures/datasets/original',
      splits: 'official',
      ...{ length: 2, steps: 1, batchSize: 2 },
      grid: { method: ['full'], learningRate: [0.01, 0.1], seed: [0, 1] },
      select: { over: 'learningRate' },
    },
    out,
  })
  expect(events.filter(({ type }) => type === 'select')).toHaveLength(1)
  const runs = await readRuns([out])
  expect(runs).toHaveLength(3)
  for (const { metric, dev, evaluations } of runs) {
    expect([metric, dev?.f1, evaluations.length > 0]).toEqual([
      'f1',
      expect.any(Number),
      true,
    ])
  }
  // one that `lopt train` wrote has no result
  rmSync(join(out, runs[0]?.name as string, 'result.json'))
  const [trained] = await readRuns([join(out, runs[0]?.name as string)])
  expect(trained).toMatchObject({
    metric: 'f1',
    dev: runs[0]?.dev && { f1: runs[0].dev.f1 },
  })
})

test('an aborted sweep stops at once and goes on in the next call', async () => {
  const out = join(folder, 'aborted')
  const controller = new AbortController()
  const events: string[] = []
  const aborted = async () => {
    for await (const event of sweep({ config, out, signal: controller.signal })) {
      events.push(...outcomes([event]))
      if (event.type === 'train' && event.event.type === 'step') controller.abort()
    }
  }
  await expect(aborted()).rejects.toThrow(
    expect.objectContaining({ code: 'ERR_ABORTED' }),
  )
  const impossible = 'rows/lopt-1/P4-R5-seed0: impossible'
  expect(events).toEqual([impossible, 'rows/majority/once: done', 'rows/hard/once: done'])
  const again = await run({ config, out })
  expect(outcomes(again).slice(0, 4)).toEqual([
    'rows/majority/once: done (kept)',
    'rows/hard/once: done (kept)',
    impossible,
    'rows/lopt-1/P4-R2-seed0: done',
  ])
  const start = again.find((event) => event.type === 'train')
  expect(start).toMatchObject({
    event: { type: 'start', resumedFrom: expect.any(Number) },
  })
})

test('an interrupted run of other settings is no part of this one', async () => {
  const out = join(folder, 'other-settings')
  const one = { ...small, grid: { seed: [0] } }
  await run({ config: one, out })
  rmSync(join(out, 'rows/lopt-1/P4-seed0/result.json'))
  const events = await run({ config: { ...one, steps: 3 }, out })
  expect(outcomes(events)).toEqual(['rows/lopt-1/P4-seed0: done'])
  const steps = events
    .filter(({ type }) => type === 'train')
    .map((one) => JSON.stringify(one))
  expect(steps.filter((text) => text.includes('"type":"step"')).length).toBe(3)
})

test('a cell whose loss diverges is a result, and the others go on', async () => {
  const out = join(folder, 'diverged')
  const options = {
    config: {
      ...small,
      clip: 0,
      optimizer: 'sgd',
      steps: 4,
      grid: { method: ['full'], learningRate: [1e38, 0.1] },
    },
    out,
  } as const
  const expected = [
    'rows/full/P4-lr1e+38-seed0: diverged',
    'rows/full/P4-lr0.1-seed0: done',
  ]
  expect(outcomes(await run(options))).toEqual(expected)
  expect(outcomes(await run(options))).toEqual(expected.map((one) => `${one} (kept)`))
})

test('a cell that fails is recorded with its error, stops no other, and is tried again', async () => {
  const out = join(folder, 'failed')
  const init = join(folder, 'start.lopt.safetensors')
  writeFileSync(init, 'no prompt')
  const options = { config: { ...small, grid: { init: [init, 'vocab'] } }, out }
  const events = await run(options)
  const [failed, done] = outcomes(events)
  expect(failed).toMatch(/^rows\/lopt-1\/P4-init_.*: failed$/)
  expect(done).toBe('rows/lopt-1/P4-init_vocab-seed0: done')
  expect(events).toContainEqual(
    expect.objectContaining({ reason: expect.stringMatching(/^ERR_PROMPT_FILE: /) }),
  )
  expect(outcomes(await run(options))).toEqual([`${done} (kept)`, failed])
})

test('a finished cell with other settings is not taken for this one, nor overwritten', async () => {
  const out = join(folder, 'changed')
  const one = { ...small, grid: { seed: [0] } }
  await run({ config: one, out })
  const events = await run({ config: { ...one, steps: 3 }, out })
  expect(outcomes(events)).toEqual(['rows/lopt-1/P4-seed0: changed (kept)'])
  expect(events).toContainEqual(
    expect.objectContaining({ reason: expect.stringContaining('steps 2 → 3') }),
  )
})

test('other seeds run with the learning rate that was best on dev with the first', async () => {
  const out = join(folder, 'selected')
  const selecting = {
    ...small,
    grid: { learningRate: [1e-6, 1], seed: [0, 1, 2] },
    select: { over: 'learningRate', by: 'accuracy' },
  } as const
  const events = await run({ config: selecting, out })
  const choice = events.find((event) => event.type === 'select')
  if (choice?.type !== 'select') throw new Error('Expected a choice')
  const best = choice.compared.reduce((a, b) => (b.figure > a.figure ? b : a))
  expect(best.cell).toContain(`lr${choice.value}-`)
  expect(outcomes(events).map((one) => one.replace(/:.*/, ''))).toEqual([
    'rows/lopt-1/P4-lr0.000001-seed0',
    'rows/lopt-1/P4-lr1-seed0',
    `rows/lopt-1/P4-lr${choice.value}-seed1`,
    `rows/lopt-1/P4-lr${choice.value}-seed2`,
  ])
})

test('a cell that another process runs is waited for, not run twice', async () => {
  const out = join(folder, 'shared')
  const one = { ...small, grid: { seed: [0, 1] } }
  const cell = join(out, 'rows/lopt-1/P4-seed0')
  mkdirSync(join(cell, '..'), { recursive: true })
  const release = await tryLock(`${cell}.lock`)
  const order: string[] = []
  for await (const event of sweep({ config: one, out })) {
    order.push(...outcomes([event]))
    if (event.type !== 'waiting') continue
    expect(event.cells).toEqual(['rows/lopt-1/P4-seed0'])
    order.push('waiting')
    await release?.()
  }
  expect(order).toEqual([
    'rows/lopt-1/P4-seed1: done',
    'waiting',
    'rows/lopt-1/P4-seed0: done',
  ])
})

test('fine-tuning leaves the model of the other cells as it was', async () => {
  const hard = { ...small, grid: { method: ['hard'] } } as const
  await run({ config: hard, out: join(folder, 'hard') })
  const tuned = {
    ...small,
    grid: { method: ['fine-tune', 'hard'] },
    trainable: 'bias$',
  } as const
  expect(outcomes(await run({ config: tuned, out: join(folder, 'tuned') }))).toEqual([
    'rows/fine-tune/seed0: done',
    'rows/hard/once: done',
  ])
  const figures = (name: string) =>
    JSON.parse(readFileSync(join(folder, name, 'rows/hard/once/result.json'), 'utf8'))
      .test
  expect(figures('tuned')).toEqual(figures('hard'))
})

test('cells that share a pass have the results of each alone, and say how many they were', async () => {
  const grid = {
    method: ['hard', 'lopt-1', 'full', 'prefix', 'dept'],
    learningRate: [0.05, 0.2],
    seed: [0, 1],
  } as const
  const shared = { ...small, dtype: 'float64' as const, steps: 6, grid }
  const resultsOf = async (together: number) => {
    const out = join(folder, `together-${together}`)
    const events = await run({ config: shared, out, together })
    const results = events.flatMap((event) =>
      event.type === 'cell' && event.result ? [[event.cell, event.result] as const] : [],
    )
    const starts = events.flatMap((event) =>
      event.type === 'cell-start' ? [event.cell] : [],
    )
    expect(starts).toHaveLength(results.length)
    return new Map(results)
  }
  const [alone, together] = [await resultsOf(1), await resultsOf(8)]
  expect([...together.keys()].sort()).toEqual([...alone.keys()].sort())
  expect(together.size).toBe(1 + 4 * 4)
  const counts = [...together.values()].map((result) => result.together ?? 1)
  expect(counts.sort((a, b) => a - b)).toEqual([1, ...Array(16).fill(8)])
  for (const [cell, expected] of alone) {
    const {
      finishedAt,
      seconds,
      together: _,
      ...found
    } = together.get(cell) as never as {
      finishedAt: string
      seconds: object
      together?: number
      dev: Record<string, number>
      test: Record<string, number>
    }
    const { finishedAt: __, seconds: ___, ...wanted } = expected
    for (const split of ['dev', 'test'] as const) {
      const [own, other] = [found[split], wanted[split]]
      if (own?.loss === undefined || other?.loss === undefined) continue
      expect(own.loss).toBeCloseTo(other.loss, 9)
      own.loss = other.loss
    }
    expect(found).toEqual(wanted)
    expect(existsSync(join(folder, 'together-8', cell, 'result.json'))).toBe(true)
  }
})

test('cells of a pass that was interrupted go on together', async () => {
  const out = join(folder, 'together-aborted')
  const grid = { seed: [0, 1, 2] } as const
  const options = { config: { ...small, steps: 6, checkpointEvery: 2, grid }, out }
  const controller = new AbortController()
  const aborted = async () => {
    for await (const event of sweep({ ...options, signal: controller.signal })) {
      const isLate = event.type === 'train' && event.event.type === 'step'
      if (isLate && event.event.step === 4) controller.abort()
    }
  }
  await expect(aborted()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
  const events = await run(options)
  const starts = events.flatMap((event) =>
    event.type === 'train' && event.event.type === 'start' ? [event.event] : [],
  )
  // The evaluation of step 4 was under way.
  expect(starts.map(({ resumedFrom }) => resumedFrom)).toEqual([2, 2, 2])
  const whole = await run({ ...options, out: join(folder, 'together-whole') })
  const figures = (from: typeof events) =>
    from.flatMap((event) => (event.type === 'cell' ? [event.result?.test] : []))
  expect(figures(events)).toEqual(figures(whole))
})
