// What is left when a run ends, and when it ends early: the run folder, aborts, losses that are not
// finite.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { loadPrompt } from '../../lib/prompt/index.js'
import { createTask } from '../../lib/task/index.js'
import { type TrainOptions, train } from '../../lib/train/index.js'
import { bytesOf, loadSmall, rows, run, small, task } from './small-runs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-train-'))
let backbone: Backbone
beforeAll(async () => {
  backbone = await loadSmall()
})
afterAll(() => {
  backbone.dispose()
  rmSync(folder, { recursive: true })
})

describe('a run folder', () => {
  test('holds the configuration, the events, and the best prompt', async () => {
    const out = join(folder, 'run')
    const { events, prompt } = await run({ backbone, out })
    expect(readdirSync(out).sort()).toEqual([
      'checkpoint',
      'config.json',
      expect.stringMatching(/^events\.out\.tfevents\./),
      'metrics.jsonl',
      'prompt.lopt.safetensors',
    ])
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))
    expect(config.training).toMatchObject({
      steps: 6,
      batchSize: 4,
      seed: 0,
      shuffle: true,
    })
    expect(config.prompt).toMatchObject({ method: 'lopt-1', length: 4, rank: 2 })
    expect(config.backbone.fingerprint).toBe(backbone.fingerprint)
    const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n')
    const logged = events.filter(({ type }) => type !== 'checkpoint')
    expect(lines.map((line) => JSON.parse(line))).toEqual(logged)
    expect(events.length).toBeGreaterThan(logged.length)
    const saved = loadPrompt(join(out, 'prompt.lopt.safetensors'), backbone)
    expect(saved.task).toEqual(prompt.task)
    expect(saved.task).toMatchObject({ template: '{text}', objective: 'lm' })
    saved.dispose()
    prompt.dispose()
  })

  test('that holds something is refused, and stays as it is', async () => {
    const out = join(folder, 'taken')
    mkdirSync(out)
    writeFileSync(join(out, 'thesis.txt'), 'years')
    const prompt = small(backbone)
    await expect(run({ backbone, out, prompt })).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringMatching(/taken.*not empty.*thesis/),
    })
    expect(readdirSync(out)).toEqual(['thesis.txt'])
    prompt.dispose()
  })

  test('where none can be is refused', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const prompt = small(backbone)
    await expect(run({ backbone, out: join(file, 'run'), prompt })).rejects.toMatchObject(
      {
        code: 'ERR_IO',
        message: expect.stringContaining(file),
      },
    )
    // where the system refuses every folder
    await expect(run({ backbone, out: '/proc/lopt', prompt })).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringContaining('/proc/lopt'),
    })
    prompt.dispose()
  })

  test('is made with the folders above it', async () => {
    const out = join(folder, 'some', 'where', 'run')
    const prompt = small(backbone)
    await run({ backbone, out, prompt })
    expect(existsSync(join(out, 'config.json'))).toBe(true)
    prompt.dispose()
  })
})

describe('an abort', () => {
  test('saves the prompt, says where, and throws ERR_ABORTED', async () => {
    const out = join(folder, 'aborted')
    const controller = new AbortController()
    const prompt = small(backbone)
    const steps: number[] = []
    const leave = async () => {
      const { signal } = controller
      for await (const event of train({
        backbone,
        prompt,
        task,
        steps: 50,
        out,
        signal,
      })) {
        if (event.type === 'step') steps.push(event.step)
        if (steps.length === 3) controller.abort('enough')
      }
    }
    await expect(leave()).rejects.toMatchObject({
      name: 'LoptError',
      code: 'ERR_ABORTED',
      message: expect.stringContaining(join(out, 'prompt.lopt.safetensors')),
      cause: 'enough',
    })
    expect(steps).toEqual([1, 2, 3])
    const saved = loadPrompt(join(out, 'prompt.lopt.safetensors'), backbone)
    expect(bytesOf(saved)).toEqual(bytesOf(prompt))
    saved.dispose()
    prompt.dispose()
  })

  test('while dev rows are evaluated does not wait for their end', async () => {
    const many = createTask({
      train: rows,
      dev: Array.from({ length: 4000 }, (_, i) => rows[i % 24] as (typeof rows)[number]),
    })
    const controller = new AbortController()
    const prompt = small(backbone)
    const started = performance.now()
    let stepped = 0
    const leave = async () => {
      for await (const event of train({
        backbone,
        prompt,
        task: many,
        steps: 3,
        batchSize: 1,
        evalEvery: 1,
        signal: controller.signal,
      })) {
        if (event.type === 'step') {
          stepped = performance.now() - started
          setTimeout(() => controller.abort(), 50)
        }
        expect(event.type).not.toBe('eval')
      }
    }
    await expect(leave()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    expect(stepped).toBeGreaterThan(0)
    prompt.dispose()
  })
})

describe('a loss that is not finite', () => {
  test('at the first evaluation stops the run too; the broken prompt is not kept', async () => {
    const prompt = small(backbone)
    const start = bytesOf(prompt)
    await expect(
      run({ backbone, prompt, learningRate: 1e30, evalEvery: 1 }),
    ).rejects.toMatchObject({ code: 'ERR_NON_FINITE_LOSS' })
    expect(bytesOf(prompt)).toEqual(start)
    prompt.dispose()
  })

  test('stops the run with its step named; the last good prompt stays', async () => {
    const out = join(folder, 'not-finite')
    const prompt = small(backbone)
    const start = bytesOf(prompt)
    await expect(
      run({ backbone, prompt, out, learningRate: 1e30, evalEvery: 0 }),
    ).rejects.toMatchObject({
      code: 'ERR_NON_FINITE_LOSS',
      message: expect.stringMatching(/step 2 is not finite/),
    })
    // the step that gave it was taken back
    expect(bytesOf(prompt)).toEqual(start)
    const saved = loadPrompt(join(out, 'prompt.lopt.safetensors'), backbone)
    expect(bytesOf(saved)).toEqual(start)
    for (const parameter of Object.values(prompt.parameters)) {
      expect(await parameter.grad()).toBeNull()
    }
    saved.dispose()
    prompt.dispose()
  })
})

describe('train refuses', () => {
  const cases: [string, Partial<TrainOptions>, RegExp][] = [
    ['no steps', { steps: 0 }, /steps/],
    ['half a batch', { batchSize: 1.5 }, /batchSize/],
    ['more parts than rows', { batchSize: 2, accumulate: 3 }, /accumulate in 1\.\.2.*3/],
    ['a learning rate of 0', { learningRate: 0 }, /learningRate/],
    ['a NaN learning rate', { learningRate: Number.NaN }, /learningRate/],
    ['a negative clip', { clip: -1 }, /clip/],
    ['another objective', { objective: 'mse' as 'lm' }, /objective/],
    ['another optimizer', { optimizer: 'lion' as 'adam' }, /optimizer/],
    ['another schedule', { schedule: 'step' as 'linear' }, /schedule/],
    ['a negative seed', { seed: -1 }, /seed/],
    ['a maxLength above what is left', { maxLength: 60 }, /maxLength in 1\.\.59.*60/],
  ]
  test.each(cases)('%s', async (_, options, message) => {
    const prompt = small(backbone)
    const out = join(folder, 'never')
    await expect(run({ backbone, ...options, out, prompt })).rejects.toThrow(RangeError)
    await expect(run({ backbone, ...options, out, prompt })).rejects.toThrow(message)
    expect(existsSync(out)).toBe(false)
    prompt.dispose()
  })
})
