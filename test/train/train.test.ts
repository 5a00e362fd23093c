import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { generate } from '../../lib/inference/index.js'
import { createPrompt, loadPrompt } from '../../lib/prompt/index.js'
import type { TrainEvent } from '../../lib/run/index.js'
import { createTask } from '../../lib/task/index.js'
import { manualSeed, memory, rand } from '../../lib/torch/index.js'
import { evaluate, train } from '../../lib/train/index.js'
import { isBetter } from '../../lib/train/metrics.js'
import { loadT5 } from '../backbone/golden-t5.js'
import { settledMemory } from '../live.js'
import { bytes, bytesOf, loadSmall, rows, run, small, task } from './small-runs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-train-'))
let backbone: Backbone
beforeAll(async () => {
  backbone = await loadSmall()
})
afterAll(() => {
  backbone.dispose()
  rmSync(folder, { recursive: true })
})

const lossesOf = (events: readonly TrainEvent[]) =>
  events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))

describe('training', () => {
  test.each(['lm', 'verbalizer'] as const)('learns, by %s', async (objective) => {
    const { events, prompt } = await run({
      backbone,
      objective,
      steps: 60,
      batchSize: 8,
      learningRate: 0.05,
    })
    const losses = lossesOf(events)
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length
    expect(mean(losses.slice(-8))).toBeLessThan(0.8 * mean(losses.slice(0, 8)))
    prompt.dispose()
  })

  test.each(['lm', 'verbalizer'] as const)(
    'of a T5 on fewer rows than a batch has learns, by %s',
    async (objective) => {
      const t5 = await loadT5('t5-plain')
      const few = createTask({ train: rows.slice(0, 3) })
      const { events, prompt } = await run({
        backbone: t5,
        task: few,
        objective,
        steps: 30,
        batchSize: 8,
        evalEvery: 0,
        learningRate: 0.3,
      })
      const losses = lossesOf(events)
      expect(losses).toHaveLength(30)
      expect(Math.min(...losses.slice(-5))).toBeLessThan(0.8 * (losses[0] as number))
      prompt.dispose()
      t5.dispose()
    },
  )

  test('tells what happens, in order', async () => {
    const { events, prompt } = await run({ backbone })
    expect(events.map(({ type }) => type).join(' ')).toBe(
      'start step step step eval step step step eval done',
    )
    expect(events[0]).toMatchObject({
      steps: 6,
      trainableParameters: 2 * (4 + 32),
      trainRows: 24,
      devRows: 8,
      heldOut: 0,
      truncated: 0,
    })
    expect(events[1]).toMatchObject({ step: 1, learningRate: expect.any(Number) })
    for (const event of events) {
      if (event.type === 'step') {
        expect(event.gradNorm).toBeGreaterThan(0)
        expect(event.seconds).toBeGreaterThan(0)
      }
    }
    prompt.dispose()
  })

  test("changes the prompt's trained tensors and nothing else", async () => {
    for (const method of ['lopt-1', 'lopt-2', 'full'] as const) {
      const prompt = createPrompt(backbone, { method, length: 4, rank: 2 })
      const weights = [...backbone.parameters().values()].map(bytes)
      const before = bytesOf(prompt)
      const X0 = prompt.buffers.X0 && bytes(prompt.buffers.X0)
      await run({ backbone, prompt, steps: 1, evalEvery: 0 })
      bytesOf(prompt).forEach((now, i) => {
        expect(now).not.toBe(before[i])
      })
      expect(prompt.buffers.X0 && bytes(prompt.buffers.X0)).toBe(X0)
      expect([...backbone.parameters().values()].map(bytes)).toEqual(weights)
      for (const parameter of backbone.parameters().values()) {
        expect(await parameter.grad()).toBeNull()
      }
      prompt.dispose()
    }
  })

  test('of one seed gives the same losses to the bit, of another does not', async () => {
    const of = async (seed: number) => {
      const { events, prompt } = await run({ backbone, seed })
      const result = { losses: lossesOf(events), end: bytesOf(prompt) }
      prompt.dispose()
      return result
    }
    const [first, again, other] = [await of(1), await of(1), await of(2)]
    expect(again).toEqual(first)
    expect(other.losses).not.toEqual(first.losses)
  })

  test('two at a time do not meet', async () => {
    const alone = await run({ backbone, seed: 3 })
    const together = await Promise.all([
      run({ backbone, seed: 3 }),
      run({ backbone, seed: 4 }),
    ])
    expect(lossesOf(together[0].events)).toEqual(lossesOf(alone.events))
    for (const { prompt } of [alone, ...together]) prompt.dispose()
  })

  test('does not see gradients that were there before', async () => {
    const clean = await run({ backbone })
    const prompt = small(backbone)
    await prompt.inputs().mul(1000).sum().backward()
    const { events } = await run({ backbone, prompt })
    expect(lossesOf(events)).toEqual(lossesOf(clean.events))
    for (const it of [prompt, clean.prompt]) it.dispose()
  })

  test('leaves no gradient on the prompt', async () => {
    const { prompt } = await run({ backbone })
    for (const parameter of Object.values(prompt.parameters)) {
      expect(await parameter.grad()).toBeNull()
    }
    prompt.dispose()
  })

  test('keeps live tensors and their memory flat over 500 steps', {
    timeout: 120_000,
  }, async () => {
    const prompt = small(backbone)
    const seen: { tensors: number; bytes: number }[] = []
    for await (const event of train({
      backbone,
      prompt,
      task,
      steps: 500,
      batchSize: 2,
      evalEvery: 100,
    })) {
      if (event.type === 'step' && event.step % 50 === 10) seen.push(memory())
    }
    const [first, ...later] = seen
    for (const { tensors, bytes: held } of later) {
      expect(tensors).toBeLessThanOrEqual(first?.tensors as number)
      // The next batch is made by then, and its rows may be longer.
      expect(held).toBeLessThanOrEqual((first?.bytes as number) + 1024)
    }
    prompt.dispose()
  })

  test('leaves no tensor behind: to its end, left early, failed', async () => {
    const prompt = small(backbone)
    const once = async () => {
      await run({ backbone, prompt, steps: 2 })
      for await (const event of train({
        backbone,
        prompt,
        task,
        steps: 5,
        evalEvery: 1,
      })) {
        if (event.type === 'eval') break
      }
      const signal = AbortSignal.abort()
      await expect(run({ backbone, prompt, signal })).rejects.toThrow()
    }
    await once()
    const { tensors: before } = await settledMemory()
    for (let i = 0; i < 3; i++) await once()
    expect(memory().tensors).toBeLessThanOrEqual(before)
    prompt.dispose()
  })

  test('follows the schedule', async () => {
    const { events, prompt } = await run({
      backbone,
      schedule: 'linear',
      warmupSteps: 2,
      steps: 4,
      learningRate: 0.03,
    })
    const rates = events.flatMap((event) =>
      event.type === 'step' ? [event.learningRate] : [],
    )
    const expected = [0, 0.015, 0.03, 0.015]
    rates.forEach((rate, i) => {
      expect(rate).toBeCloseTo(expected[i] as number, 12)
    })
    prompt.dispose()
  })

  test("leaves the process's own random numbers alone", async () => {
    manualSeed(5)
    const first = rand([1]).item()
    manualSeed(5)
    for (const init of ['random', 'vocab']) {
      createPrompt(backbone, { length: 4, rank: 2, init, seed: 0 }).dispose()
    }
    const { prompt } = await run({ backbone, steps: 2 })
    const sampled = { maxNewTokens: 2, temperature: 1, seed: 0 }
    const events = generate({ backbone, prompt, text: 'the dog', ...sampled })
    for await (const event of events) expect(event.type).toMatch(/token|done/)
    expect(rand([1]).item()).toBe(first)
    prompt.dispose()
  })

  test('counts texts that were cut', async () => {
    const long = { text: 'dog '.repeat(80), label: 'good' }
    const cut = createTask({ train: [...rows, long], dev: [long] })
    const { events, prompt } = await run({ backbone, task: cut, steps: 1 })
    expect(events[0]).toMatchObject({ type: 'start', truncated: 1 })
    const { truncated } = await evaluate({ backbone, prompt, task: cut, split: 'dev' })
    expect(truncated).toBe(1)
    prompt.dispose()
  })

  test('keeps the prompt that was best on dev', async () => {
    // far too high a rate: the prompt gets worse and worse
    const out = join(folder, 'best')
    const { events, prompt } = await run({
      backbone,
      out,
      steps: 12,
      evalEvery: 2,
      learningRate: 3,
    })
    const evals = events.flatMap((event) => (event.type === 'eval' ? [event] : []))
    const done = events.at(-1)
    if (done?.type !== 'done') throw new Error('not done')
    const best = evals.reduce((a, b) => (isBetter(b, a, 'accuracy') ? b : a))
    expect(done).toMatchObject({ bestStep: best.step, accuracy: best.accuracy })
    const found = await evaluate({ backbone, prompt, task, split: 'dev' })
    expect(found.accuracy).toBe(best.accuracy)
    expect(found.loss).toBeCloseTo(best.loss, 5)
    const saved = loadPrompt(done.path as string, backbone)
    expect(bytesOf(saved)).toEqual(bytesOf(prompt))
    saved.dispose()
    prompt.dispose()
  })

  test('without dev rows keeps the last prompt', async () => {
    const { dev: _, ...rest } = task
    const { events, prompt } = await run({ backbone, task: { ...rest, dev: [] } })
    expect(events.some(({ type }) => type === 'eval')).toBe(false)
    expect(events.at(-1)).toMatchObject({ type: 'done', bestStep: 6 })
    prompt.dispose()
  })
})
