// What tokens are drawn by depends on the seed and on how many were drawn before, and not on when.

import { expect, test, vi } from 'vitest'
import { Draws } from '../../lib/inference/draws.js'
import { generate } from '../../lib/inference/index.js'
import { releaseMemory, type Tensor, tidy } from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import { loadSmall } from '../train/small-runs.js'

const kind = { vocabSize: 7, dtype: 'float32' } as const
// What is this large is drawn off JavaScript's thread.
const large = { vocabSize: 40_000, dtype: 'float64' } as const

const valuesOf = async (made: Promise<Tensor>) =>
  Array.from(await (await made).read(), Number)

test.each([kind, large])(
  'draws made ahead are those that are made when asked for',
  async (of) => {
    const before = await settledMemory()
    const [a, b] = [new Draws(3), new Draws(3)]
    for (let i = 0; i < 5; i += 1) {
      await tidy(async () => {
        if (i !== 2) a.makeAhead(of)
        if (i === 3) a.makeAhead(of) // is there already
        expect(await valuesOf(a.next(of))).toEqual(await valuesOf(b.next(of)))
      })
    }
    await tidy(async () => a.makeAhead(of))
    a.dispose()
    expect(await settledMemory()).toEqual(before)
  },
)

test('a draw made ahead outlives the scope in which it was asked for, and is the next one’s', async () => {
  const draws = new Draws(1)
  const before = await settledMemory()
  tidy(() => draws.makeAhead(large))
  const made = await tidy(() => draws.next(large))
  expect(made.numel).toBe(large.vocabSize)
  made.dispose()
  await tidy(async () => void (await draws.next(large)))
  expect(await settledMemory()).toEqual(before)
})

test('draws are made ahead where steps are captured, and a text is the same', async () => {
  const backbone = await loadSmall('float64')
  const ahead = vi.spyOn(Draws.prototype, 'makeAhead')
  const before = await settledMemory()
  const found: unknown[] = []
  for (const graphs of [false, true]) {
    const rows = [0, 1, 2].map((seed) => ({ text: 'the dog', temperature: seed, seed }))
    const options = { backbone, rows, graphs, maxNewTokens: 9, minNewTokens: 9 }
    for await (const event of generate(options)) {
      if (event.type === 'done') found.push([event.row, event.tokens])
    }
    // Of the two that are drawn, at each step.
    expect(ahead.mock.calls.length).toBe(graphs ? 2 * 8 : 0)
  }
  expect(found.slice(3)).toEqual(found.slice(0, 3))
  releaseMemory()
  expect((await settledMemory()).tensors).toBe(before.tensors)
  backbone.dispose()
  vi.restoreAllMocks()
})
