// Golden values: test/fixtures/make_lopt.py (PyTorch 2.13, transformers 5.18, float64): 30 steps of
// Adam and AdamW on four rows.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { createTask } from '../../lib/task/index.js'
import { type Tensor, tidy } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { golden, goldenPrompt, value } from '../inference/golden-prompts.js'
import { loadSmall } from './small-runs.js'

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadSmall('float64')
})
afterAll(() => backbone.dispose())

const { words } = golden.verbalizer
const tasks = {
  lm: createTask({
    train: golden.rows.map(({ text, label }) => ({ text, label: label.trim() })),
    devFraction: 0,
  }),
  verbalizer: createTask({
    train: golden.rows.map(({ text, verbalizerTarget }) => ({
      text,
      label: (words[verbalizerTarget] as string).trim(),
    })),
    labels: words.map((word) => word.trim()),
    devFraction: 0,
  }),
}

describe('training gives the losses of PyTorch', () => {
  // `train` has no momentum: the optimizer's own tests have that trace's equal
  const traces = golden.traces.filter(({ optimizer }) => optimizer !== 'sgd')

  test.each(traces)('$key', async (trace) => {
    const { key, method, placement, objective, optimizer, steps, clipGradNorm } = trace
    const prompt = goldenPrompt(method, placement, backbone)
    const losses: number[] = []
    const norms: number[] = []
    const run = train({
      backbone,
      prompt,
      task: tasks[objective],
      objective,
      optimizer,
      steps,
      batchSize: 4,
      shuffle: false,
      learningRate: trace.options.lr as number,
      weightDecay: trace.options.weightDecay as number,
      clip: clipGradNorm ?? 0,
    })
    for await (const event of run) {
      if (event.type !== 'step') continue
      losses.push(event.loss)
      norms.push(event.gradNorm)
    }
    tidy(() => {
      const expected = value(`${key}.losses`).toArray() as number[]
      expect(losses.length).toBe(steps)
      losses.forEach((loss, i) => {
        expect(Math.abs(loss - (expected[i] as number)), `step ${i}`).toBeLessThan(1e-8)
      })
      for (const [name, parameter] of Object.entries(prompt.parameters)) {
        const final = value(`${key}.final.${name}`)
        const difference = (parameter as Tensor).detach().sub(final).abs().amax().item()
        expect(difference, name).toBeLessThan(1e-8)
      }
      if (clipGradNorm === null) return
      const before = value(`${key}.gradNorms`).toArray() as number[]
      norms.forEach((norm, i) => {
        expect(norm).toBeCloseTo(before[i] as number, 8)
      })
    })
    prompt.dispose()
  })

  test('in batches of a budget of tokens, in parts as in one', async () => {
    const of = async (accumulate: number) => {
      const prompt = goldenPrompt('lopt-1', 'prefix', backbone)
      const losses: number[] = []
      for await (const event of train({
        backbone,
        prompt,
        task: tasks.lm,
        steps: 6,
        batchTokens: 24,
        accumulate,
      })) {
        if (event.type === 'step') losses.push(event.loss)
      }
      prompt.dispose()
      return losses
    }
    const whole = await of(1)
    for (const parts of [2, 5]) {
      const found = await of(parts)
      found.forEach((loss, i) => {
        expect(loss).toBeCloseTo(whole[i] as number, 10)
      })
    }
  })

  test.each(['rows', 'tokens'] as const)(
    'in parts as in one, mean over %s',
    async (meanOver) => {
      const of = async (accumulate: number) => {
        const prompt = goldenPrompt('lopt-1', 'suffix', backbone)
        const losses: number[] = []
        for await (const event of train({
          backbone,
          prompt,
          task: tasks.lm,
          steps: 5,
          batchSize: 4,
          meanOver,
          accumulate,
        })) {
          if (event.type === 'step') losses.push(event.loss)
        }
        prompt.dispose()
        return losses
      }
      const whole = await of(1)
      for (const parts of [2, 3, 4]) {
        const found = await of(parts)
        found.forEach((loss, i) => {
          expect(loss).toBeCloseTo(whole[i] as number, 10)
        })
      }
    },
  )
})
