// Steps whose rows become tensors before their turn.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { encodeLabels, promptLayouts } from '../../lib/inference/index.js'
import type { Prompt } from '../../lib/prompt/index.js'
import { memory } from '../../lib/torch/index.js'
import { promptLearner } from '../../lib/train/learner.js'
import type { TrainingRow } from '../../lib/train/loss.js'
import { Profiler } from '../../lib/train/profile.js'
import { beginStep, type StepResult } from '../../lib/train/step.js'
import { settledMemory } from '../live.js'
import { loadSmall, rows, small, task } from './small-runs.js'

let backbone: Backbone
let prompt: Prompt
beforeAll(async () => {
  backbone = await loadSmall('float64')
  prompt = small(backbone)
})
afterAll(() => {
  prompt.dispose()
  backbone.dispose()
})

const batch: TrainingRow[] = rows.slice(0, 6).map(({ text, label }) => ({
  text: Array.from(text, (_, i) => 1 + i),
  length: text.length,
  target: label === 'good' ? [7] : [8, 9],
  label: label === 'good' ? 0 : 1,
}))

function begun(given: readonly TrainingRow[], accumulate = 1) {
  const [layout] = promptLayouts(backbone, [prompt], { once: true })
  const learner = promptLearner(prompt)
  const settings = { objective: 'lm', meanOver: 'rows', clip: 1 } as const
  return beginStep(
    [
      {
        ...{ learner, settings, batch: given },
        layout: layout as NonNullable<typeof layout>,
        update: async () => {},
      },
    ],
    {
      backbone,
      labels: encodeLabels(backbone, task),
      run: {},
      accumulate,
      profiler: new Profiler(undefined, 1),
      graphs: null,
    },
  )
}

async function resultsOf(step: ReturnType<typeof begun>) {
  const results = await step.run()
  return (await results()) as [StepResult]
}

async function gradientsOf(step: ReturnType<typeof begun>) {
  const [found] = await resultsOf(step)
  const gradients: number[][] = []
  for (const parameter of Object.values(prompt.parameters)) {
    const gradient = await parameter.grad()
    gradients.push(Array.from(gradient?.data() ?? [], Number))
    gradient?.dispose()
    await parameter.zeroGrad()
  }
  return { ...found, gradients }
}

describe('a step that has begun', () => {
  test('holds its rows as tensors, and says when its gradients are being computed', async () => {
    const { tensors } = await settledMemory()
    const step = begun(batch)
    expect(memory().tensors).toBeGreaterThan(tensors)
    let isAsked = false
    const asked = step.backwardAsked.then(() => {
      isAsked = true
    })
    expect(isAsked).toBe(false)
    const [{ loss, gradNorm }] = await resultsOf(step)
    expect(isAsked).toBe(true)
    await asked
    expect([loss > 0, gradNorm > 0]).toEqual([true, true])
    expect(memory().tensors).toBe(tensors)
    for (const parameter of Object.values(prompt.parameters)) await parameter.zeroGrad()
  })

  test('gives the same beside another that waits, in parts or at once', async () => {
    const alone = await gradientsOf(begun(batch))
    const step = begun(batch, 3)
    const other = begun(batch.slice(0, 2))
    const found = await gradientsOf(step)
    await other.cancel()
    expect(found.loss).toBeCloseTo(alone.loss, 12)
    expect(found.gradNorm).toBeCloseTo(alone.gradNorm, 12)
    for (const [i, values] of alone.gradients.entries()) {
      for (const [j, value] of values.entries()) {
        expect(found.gradients[i]?.[j]).toBeCloseTo(value, 12)
      }
    }
  })

  test.each([1, 3])(
    'frees its tensors when it is cancelled, of %i parts',
    async (parts) => {
      const { tensors } = await settledMemory()
      const step = begun(batch, parts)
      expect(memory().tensors).toBeGreaterThan(tensors)
      await step.cancel()
      expect(memory().tensors).toBe(tensors)
      await expect(step.run()).rejects.toThrow(/cancelled/)
    },
  )

  test('tells of rows that no batch can be made of when it is run', async () => {
    const { tensors } = await settledMemory()
    const wrong = [{ text: [1, 2], length: 2, target: undefined as never, label: 7 }]
    await begun(wrong).cancel()
    const step = begun(wrong)
    await new Promise((resolve) => setTimeout(resolve, 10))
    await expect(step.run()).rejects.toThrow(TypeError)
    expect(memory().tensors).toBe(tensors)
  })
})
