// The routes that tell of run folders, and what they take for a run.

import {
  appendFile,
  mkdir,
  mkdtemp,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { RunCurves } from '../../lib/serve/runs/run-curves.js'
import { fakeEngine } from './fake-engine.js'
import { closeLater, listening } from './listening.js'

let top: string
/** The folder of runs; beside it lies what is nobody's to see. */
let folder: string
beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'lopt-runs-'))
  folder = join(top, 'runs')
  closeLater(() => rm(top, { recursive: true }))
})

const config = {
  backbone: { source: '/secret/place' },
  prompt: { method: 'lopt-1', length: 20, rank: 4 },
  task: { name: '/secret/reviews.jsonl', metric: 'macro-f1' },
  training: { steps: 100 },
}

const stepLine = (step: number, loss: number | null = 1 / step) =>
  `${JSON.stringify({ type: 'step', step, loss, seconds: step / 10 })}\n`
const evalLine = (step: number, macroF1: number, best = false) =>
  `${JSON.stringify({ type: 'eval', step, split: 'dev', accuracy: 1, macroF1, loss: 1, best })}\n`

async function makeRun(name: string, log = '', inside = folder): Promise<string> {
  const path = join(inside, name)
  await mkdir(path, { recursive: true })
  await writeFile(join(path, 'config.json'), JSON.stringify(config))
  await writeFile(join(path, 'metrics.jsonl'), log)
  return join(path, 'metrics.jsonl')
}

async function asking() {
  const { ask } = await listening(fakeEngine(), { runs: folder })
  return ask
}

test('without a folder there is no such route', async () => {
  const { ask } = await listening(fakeEngine())
  expect((await ask('/v1/runs')).status).toBe(404)
  expect((await ask('/v1/runs/a')).status).toBe(404)
})

test('a folder that is not there yet has no runs', async () => {
  const ask = await asking()
  expect((await ask('/v1/runs')).json).toEqual({ object: 'list', data: [] })
  await makeRun('first')
  expect((await ask('/v1/runs')).json.data).toHaveLength(1)
})

test('they ask for a key as other routes do', async () => {
  const { ask, url } = await listening(fakeEngine(), { runs: folder, apiKeys: ['k'] })
  expect((await fetch(`${url}/v1/runs`)).status).toBe(401)
  expect((await ask('/v1/runs')).status).toBe(200)
})

test('a run is told with its settings, and not with where anything lies', async () => {
  await makeRun('a run, lr=0.1', stepLine(1))
  const ask = await asking()
  const list = await ask('/v1/runs')
  expect(list.text).not.toContain('secret')
  expect(list.json.data).toEqual([
    {
      id: 'a run, lr=0.1',
      object: 'run',
      task: 'reviews.jsonl',
      method: 'lopt-1',
      length: 20,
      rank: 4,
      metric: 'macro-f1',
      steps: 100,
      modified: expect.any(Number),
      bytes: stepLine(1).length,
    },
  ])
  const { json, text } = await ask(`/v1/runs/${encodeURIComponent('a run, lr=0.1')}`)
  expect(text).not.toContain('secret')
  expect(json).toMatchObject({ step: 1, steps: 100, loss: [[1, 1]], complete: true })
})

describe('a name', () => {
  test.each([
    'nobody',
    '..',
    '%2e%2e',
    '../outside',
    '..%2Foutside',
    'inner%2Fdeep',
    'inner/deep',
    '.hidden',
    'link-out',
    'log-out',
    'file',
    'a%00b',
    'x'.repeat(300),
    '',
  ])('%s that is no run inside the folder is not found', async (name) => {
    await makeRun('outside', stepLine(1), top)
    await makeRun('.hidden', stepLine(1))
    await makeRun('inner/deep', stepLine(1))
    await writeFile(join(folder, 'file'), '')
    await symlink(join(top, 'outside'), join(folder, 'link-out'))
    await mkdir(join(folder, 'log-out'))
    await symlink(
      join(top, 'outside/metrics.jsonl'),
      join(folder, 'log-out/metrics.jsonl'),
    )
    const ask = await asking()
    expect((await ask('/v1/runs')).json.data).toEqual([])
    const answer = await ask(`/v1/runs/${name}`)
    expect(answer.status).toBe(404)
    expect(answer.text).not.toContain(top)
  })

  test('of a link to a run inside the folder is one', async () => {
    await makeRun('inner/deep', stepLine(1))
    await symlink(join(folder, 'inner/deep'), join(folder, 'near'))
    const ask = await asking()
    expect((await ask('/v1/runs/near')).json.loss).toEqual([[1, 1]])
  })
})

test('a log is read on where it grew, without the line that is being written', async () => {
  const log = await makeRun('run')
  const ask = await asking()
  const read = async () => (await ask('/v1/runs/run')).json
  expect(await read()).toMatchObject({ state: 'waiting', step: 0, loss: [], dev: [] })
  await appendFile(log, `{"type":"start","steps":3}\n${stepLine(1)}`)
  await appendFile(log, stepLine(2).slice(0, 20))
  expect(await read()).toMatchObject({ state: 'running', step: 1, steps: 3, broken: 0 })
  await appendFile(log, stepLine(2).slice(20) + evalLine(2, 0.5, true))
  expect(await read()).toMatchObject({ step: 2, best: [2, 0.5], dev: [[2, 0.5]] })
  await appendFile(log, `${stepLine(3, null)}${evalLine(3, 0.25)}{"type":"done"}\n`)
  expect(await read()).toMatchObject({
    state: 'done',
    step: 3,
    best: [2, 0.5],
    // a loss that is not finite has no place on a curve
    loss: [
      [1, 1],
      [2, 0.5],
    ],
    dev: [
      [2, 0.5],
      [3, 0.25],
    ],
  })
})

test('a log that was cut and goes on is read anew, whether it is longer by then or not', async () => {
  const log = await makeRun('run', stepLine(1) + stepLine(2) + stepLine(3))
  const ask = await asking()
  const losses = async () => (await ask('/v1/runs/run')).json.loss
  expect(await losses()).toHaveLength(3)
  await truncate(log, stepLine(1).length)
  expect(await losses()).toEqual([[1, 1]])
  await appendFile(log, stepLine(2, 7))
  expect(await losses()).toHaveLength(2)
  await truncate(log, stepLine(1).length)
  const more = [2, 3, 4, 5].map((step) => stepLine(step, 8)).join('')
  await appendFile(log, more)
  expect(await losses()).toEqual(
    [1, 2, 3, 4, 5].map((step) => [step, step === 1 ? 1 : 8]),
  )
  await rm(join(folder, 'run'), { recursive: true })
  expect((await ask('/v1/runs/run')).status).toBe(404)
  await makeRun('run', stepLine(9))
  expect(await losses()).toEqual([[9, 1 / 9]])
})

test('lines and files that are broken are passed over', async () => {
  const lines = ['{', 'null', '[]', '{"type":3}', '\ufffd\u0000', 'x'.repeat(200_000), '']
  const log = await makeRun('run', `${lines.join('\n')}\n${stepLine(1)}`)
  await writeFile(join(folder, 'run/config.json'), '{"task": 3, "prompt": []')
  await mkdir(join(folder, 'odd/metrics.jsonl'), { recursive: true })
  const ask = await asking()
  const { json } = await ask('/v1/runs/run')
  expect(json).toMatchObject({ loss: [[1, 1]], task: null, method: null, complete: true })
  expect(json.broken).toBeGreaterThanOrEqual(5)
  expect((await ask('/v1/runs')).json.data).toHaveLength(1)
  await writeFile(log, Buffer.alloc(300_000, 0xff))
  expect((await ask('/v1/runs/run')).json).toMatchObject({ loss: [], complete: true })
})

test('a failed run says why', async () => {
  const failed = { type: 'failed', step: 4, code: 'ERR_NON_FINITE_LOSS', message: 'why' }
  await makeRun('run', `${stepLine(1)}${JSON.stringify(failed)}\n`)
  const ask = await asking()
  const { json } = await ask('/v1/runs/run')
  expect(json).toMatchObject({ state: 'failed', failure: 'why', step: 4 })
})

test('a long log comes over several calls, thinned to means', async () => {
  const pad = 'x'.repeat(150)
  const steps = Array.from({ length: 60_000 }, (_, i) => i + 1)
  const lines = steps.map((step) =>
    JSON.stringify({ type: 'step', step, loss: step % 2, pad }),
  )
  await makeRun('run', `${lines.join('\n')}\n`)
  const ask = await asking()
  const first = (await ask('/v1/runs/run')).json
  expect(first.complete).toBe(false)
  const [second, third] = await Promise.all([ask('/v1/runs/run'), ask('/v1/runs/run')])
  expect([second.json.complete, third.json.complete]).toEqual([true, true])
  const { step, loss } = third.json
  expect(step).toBe(60_000)
  expect(loss.length).toBeGreaterThan(200)
  expect(loss.length).toBeLessThanOrEqual(500)
  expect(loss.at(-1)[0]).toBe(60_000)
  expect(new Set(loss.map(([, value]: number[]) => value))).toEqual(new Set([0.5]))
})

test('curves have 500 points at most, however many there were', () => {
  const curves = new RunCurves('accuracy')
  for (let step = 1; step <= 12_345; step += 1) {
    curves.take(JSON.stringify({ type: 'step', step, loss: step }))
    const { loss } = curves.answer
    if (step % 499 < 2) expect(loss.length).toBeLessThanOrEqual(500)
  }
  const { loss } = curves.answer
  expect(loss.at(-1)?.[0]).toBe(12_345)
  expect(loss.every(([step], i) => i === 0 || step > (loss[i - 1]?.[0] ?? 0))).toBe(true)
})
