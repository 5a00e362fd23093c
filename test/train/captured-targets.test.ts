// Steps of rows that texts answer, captured: of few shapes though hardly two batches have as many tokens, and with the bits of
// those that are not captured.

import { describe, expect, test, vi } from 'vitest'
import { StepGraphs } from '../../lib/inference/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import type { TrainEvent } from '../../lib/run/index.js'
import { createTask } from '../../lib/task/index.js'
import { noGrad, type Tensor } from '../../lib/torch/index.js'
import type { TrainOptions } from '../../lib/train/index.js'
import {
  capturedBackbones,
  captureNothing,
  expectNear as expectAllNear,
  eventsOf as runEvents,
} from './captured-runs.js'
import { randomNumbers } from './random-cases.js'
import { bytesOf, small } from './small-runs.js'

// To the bit in float32, near in float64.
const made = capturedBackbones()

const words = ['the', 'dog', 'a', 'film', 'was', 'good', 'and', 'long', 'cat', 'plant']

/** Texts of 2 to 8 words that are answered by 1 to 8. */
function taskOf(count: number) {
  const next = randomNumbers(7)
  const some = (least: number, most: number) =>
    Array.from(
      { length: least + Math.floor(next() * (most - least + 1)) },
      () => words[Math.floor(next() * words.length)],
    ).join(' ')
  const rows = Array.from({ length: count }, () => {
    return { text: some(2, 8), target: some(1, 8) }
  })
  return createTask({ train: rows, dev: rows.slice(0, 2), test: rows.slice(0, 2) })
}
const task = taskOf(64)

const eventsOf = (options: Partial<TrainOptions>) =>
  runEvents({ task, batchSize: 8, evalEvery: 0, graphs: true, ...options })

const lossesOf = (events: readonly TrainEvent[]) =>
  events.flatMap((event) => (event.type === 'step' ? [[event.loss, event.gradNorm]] : []))

function expectNear(found: readonly number[][], expected: readonly number[][]) {
  expect(found.length).toBe(expected.length)
  expectAllNear(found.flat(), expected.flat())
}

describe.each(['gpt2', 't5'] as const)('captured steps of targets: %s', (model) => {
  const backboneOf = () => (model === 'gpt2' ? made.gpt2 : made.t5)

  test.each(['rows', 'tokens'] as const)(
    'give the same bits, over %s',
    async (meanOver) => {
      const found: unknown[] = []
      for (const isCaptured of [false, true]) {
        if (!isCaptured) captureNothing()
        const prompt = small(backboneOf())
        const options = { backbone: backboneOf(), prompt, meanOver, steps: 40 }
        found.push([lossesOf(await eventsOf(options)), bytesOf(prompt)])
        vi.restoreAllMocks()
        prompt.dispose()
      }
      expect(found[1]).toEqual(found[0])
    },
  )

  test.each(['prefix', 'suffix'] as const)(
    'give what steps without buckets give: %s',
    async (placement) => {
      const backbone = made.exact[model]
      for (const meanOver of ['rows', 'tokens'] as const) {
        const found: number[][][] = []
        for (const graphs of [false, true]) {
          const prompt = createPrompt(backbone, { length: 3, rank: 2, placement })
          const options = { backbone, prompt, meanOver, graphs, fastPaths: false }
          found.push(lossesOf(await eventsOf(options)))
          prompt.dispose()
        }
        expect(found[0]?.length).toBe(12)
        expectNear(found[1] as number[][], found[0] as number[][])
      }
    },
  )

  test('are of several prompts too, of which one that is not finite ends alone', async () => {
    const backbone = made.exact[model]
    const found: TrainEvent[][] = []
    for (const graphs of [false, true]) {
      // Of a causal model in two passes: a prompt's own keys and values do not run beside the rows.
      const prompts = (['lopt-1', 'prefix', 'lopt-1'] as const).map((method, seed) =>
        createPrompt(backbone, { length: 2 + seed, method, rank: 2, seed }),
      )
      await noGrad(() => ((prompts[0] as Prompt).parameters.U as Tensor).mul_(Number.NaN))
      const given = prompts.map((prompt, seed) => ({ prompt, seed }))
      found.push(await eventsOf({ backbone, prompts: given, graphs }))
      for (const prompt of prompts) prompt.dispose()
    }
    const [without, within] = found as [TrainEvent[], TrainEvent[]]
    expect(lossesOf(without).length).toBe(24)
    expectNear(lossesOf(within), lossesOf(without))
    const failed = within.filter(({ type }) => type === 'failed')
    expect(failed.map(({ prompt }) => prompt)).toEqual([0])
  })

  test('are of few shapes', async () => {
    const shapes: string[] = []
    const run = StepGraphs.prototype.run
    vi.spyOn(StepGraphs.prototype, 'run').mockImplementation(async function (
      this: StepGraphs,
      ...given
    ) {
      shapes.push(given[0].signature)
      return await run.apply(this, given)
    })
    const prompt = small(backboneOf())
    const options = { backbone: backboneOf(), prompt, task: taskOf(1200), steps: 150 }
    await eventsOf(options)
    prompt.dispose()
    expect(shapes.length).toBe(150)
    expect(new Set(shapes).size).toBeLessThan(60) // 141 of a GPT-2, 145 of a T5 by their own lengths
  })
})
