import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CausalBackbone } from '../../lib/backbone/index.js'
import { createPrompt } from '../../lib/prompt/index.js'
import { memory } from '../../lib/torch/index.js'
import { trainMany } from '../../lib/train/index.js'
import { settledMemory } from '../live.js'
import { loadSmall, run, task } from './small-runs.js'

let backbone: CausalBackbone
beforeAll(async () => {
  const loaded = await loadSmall('float64')
  if (loaded.kind !== 'causal') throw new Error('no GPT-2')
  backbone = loaded
})
afterAll(() => backbone.dispose())

const options = { steps: 8, batchSize: 4, clip: 0.5, schedule: 'linear' as const }
const learningRates = [0.05, 0.2, 0.1]
const prompts = () => [
  createPrompt(backbone, { length: 4, rank: 2, placement: 'suffix' }),
  createPrompt(backbone, { length: 4, rank: 3, placement: 'suffix', seed: 5 }),
  createPrompt(backbone, { length: 4, method: 'full', placement: 'suffix' }),
]

describe('prompts trained together', () => {
  test.each([0, 2 ** 20])(
    'have the losses of each alone, budget %i',
    async (budgetBytes) => {
      const reuse = { budgetBytes }
      const many = prompts()
      const { tensors: before } = await settledMemory()
      const found: (readonly number[])[] = []
      for await (const { losses } of trainMany({
        ...options,
        backbone,
        prompts: many,
        task,
        learningRates,
        reuse,
      })) {
        found.push(losses)
      }
      expect(memory().tensors).toBeLessThanOrEqual(before)
      for (const [i, prompt] of prompts().entries()) {
        const learningRate = learningRates[i] as number
        const fastPaths = true
        const { events } = await run({
          ...options,
          backbone,
          prompt,
          learningRate,
          fastPaths,
          evalEvery: 0,
        })
        const alone = events.flatMap((event) =>
          event.type === 'step' ? [event.loss] : [],
        )
        expect(alone).toHaveLength(8)
        alone.forEach((loss, step) => {
          expect(Math.abs((found[step]?.[i] as number) - loss)).toBeLessThan(1e-9)
        })
        prompt.dispose()
      }
      for (const prompt of many) prompt.dispose()
    },
  )

  test('must stand behind the text, in one length, each once', async () => {
    const prefix = createPrompt(backbone, { length: 4 })
    const [first, ...others] = prompts()
    const long = createPrompt(backbone, { length: 5, placement: 'suffix' })
    if (first === undefined) throw new Error('no prompt')
    const of = (given: (typeof first)[]) =>
      trainMany({ backbone, prompts: given, task }).next()
    await expect(of([first, prefix])).rejects.toThrow(/prompts\[1\].*suffix/)
    await expect(of([first, long])).rejects.toThrow(/one length, 4/)
    await expect(of([first, first])).rejects.toThrow(/each prompt once/)
    await expect(of([])).rejects.toThrow(/one prompt at least/)
    for (const prompt of [first, ...others, prefix, long]) prompt.dispose()
  })
})
