import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import type { Task } from '../../lib/task/index.js'
import { evaluate } from '../../lib/train/index.js'
import { loadSmall, small, task } from './small-runs.js'

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadSmall()
})
afterAll(() => {
  backbone.dispose()
})

describe('evaluate', () => {
  test('gives the figures of its own predictions', async () => {
    const prompt = small(backbone)
    for (const it of [prompt, null]) {
      const found = await evaluate({ backbone, prompt: it, task })
      const right = task.test.filter(({ label }, i) => label === found.predictions[i])
      expect(found.accuracy).toBe(right.length / 8)
      expect(found.examples).toBe(8)
      expect(found.labels).toEqual(['good', 'bad'])
      expect(found.confusion.flat().reduce((a, b) => a + b)).toBe(8)
    }
    prompt.dispose()
  })

  test('does not depend on the batch size', async () => {
    const prompt = small(backbone)
    const of = (batchSize: number) => evaluate({ backbone, prompt, task, batchSize })
    const [one, three, all] = [await of(1), await of(3), await of(100)]
    expect(three.predictions).toEqual(one.predictions)
    expect(three.loss).toBeCloseTo(one.loss, 4)
    expect(all.loss).toBeCloseTo(one.loss, 4)
    prompt.dispose()
  })

  test('takes only the first rows with a limit', async () => {
    const found = await evaluate({ backbone, prompt: null, task, limit: 3 })
    expect(found.examples).toBe(3)
  })

  test.each([
    [
      'an empty split',
      { task: { ...task, test: [] } as Task },
      /no rows in its test split/,
    ],
    ['a batch size of 0', { batchSize: 0 }, /batchSize/],
    ['a limit of 0', { limit: 0 }, /limit/],
    ['a negative limit', { limit: -1 }, /limit/],
  ])('refuses %s', { timeout: 5000 }, async (_, change, message) => {
    await expect(evaluate({ backbone, prompt: null, task, ...change })).rejects.toThrow(
      message,
    )
  })
})
