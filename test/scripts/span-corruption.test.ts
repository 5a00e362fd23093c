import { describe, expect, test } from 'vitest'
import {
  corruptSpans,
  splitPrefix,
  windowFor,
} from '../../scripts/pretrain/span-corruption.mjs'

const END = 1
const sentinelId = (i: number) => 1000 - i

/** Numbers in [0, 1), always the same. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
}

const tokens = (length: number) => Array.from({ length }, (_, i) => 10 + i)

/** Puts what the target holds back into the input's gaps. */
function restored(input: number[], target: number[]): number[] {
  const spans = new Map<number, number[]>()
  let open: number[] = []
  for (const id of target.slice(0, -1)) {
    if (id > 900) {
      open = []
      spans.set(id, open)
    } else {
      open.push(id)
    }
  }
  return input.slice(0, -1).flatMap((id) => (id > 900 ? (spans.get(id) ?? []) : [id]))
}

describe('span corruption', () => {
  test.each([2, 7, 40, 151])('of %i tokens loses nothing', (length) => {
    for (let seed = 1; seed < 20; seed += 1) {
      const random = randomNumbers(seed)
      const { input, target } = corruptSpans(tokens(length), {
        random,
        sentinelId,
        end: END,
      })
      expect([input.at(-1), target.at(-1)]).toEqual([END, END])
      expect(restored(input, target)).toEqual(tokens(length))
    }
  })

  test('leaves half out, in spans of eight on average, each with the next sentinel', () => {
    const random = randomNumbers(3)
    const { input, target } = corruptSpans(tokens(160), { random, sentinelId, end: END })
    const sentinels = input.filter((id) => id > 900)
    expect(sentinels).toEqual(Array.from({ length: 10 }, (_, i) => sentinelId(i)))
    expect(target.filter((id) => id > 900)).toEqual(sentinels)
    expect(target.length).toBe(80 + 10 + 1)
    expect(input.length).toBe(80 + 10 + 1)
    expect(input[0]).toBe(10) // what is kept comes first
  })

  test('differs from draw to draw', () => {
    const random = randomNumbers(5)
    const draw = () =>
      corruptSpans(tokens(60), { random, sentinelId, end: END }).input.join()
    expect(draw()).not.toBe(draw())
  })

  test.each([32, 64, 128])('fills inputs of %i tokens and no more', (inputs) => {
    const lengthOf = (window: number) => {
      const random = randomNumbers(1)
      return corruptSpans(tokens(window), { random, sentinelId, end: END }).input.length
    }
    expect(lengthOf(windowFor(inputs))).toBeLessThanOrEqual(inputs)
    expect(lengthOf(windowFor(inputs) + 1)).toBeGreaterThan(inputs)
  })
})

test('a prefix and what follows it part where they are told to', () => {
  expect(splitPrefix([10, 11, 12], { at: 1, end: END })).toEqual({
    input: [10, END],
    target: [11, 12, END],
  })
})
