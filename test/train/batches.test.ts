import { describe, expect, test } from 'vitest'
import { memory } from '../../lib/torch/index.js'
import { batches } from '../../lib/train/batches.js'
import { settledMemory } from '../live.js'

type Options = Omit<Parameters<typeof batches>[1], 'byLength'> & { lengths?: number[] }

function taken(count: number, rows: number, { lengths, ...options }: Options) {
  const of = lengths ?? Array.from({ length: rows }, () => 1)
  const order = batches(of, { ...options, byLength: lengths !== undefined })
  return Array.from({ length: count }, () => order.next().value as number[])
}

describe('batches', () => {
  test('in order go on over the end of an epoch', () => {
    const options = { batchSize: 3, shuffle: false, seed: 0 }
    expect(taken(4, 5, options)).toEqual([
      [0, 1, 2],
      [3, 4, 0],
      [1, 2, 3],
      [4, 0, 1],
    ])
  })

  test('shuffled take every row once an epoch, in another order each', () => {
    const rows = taken(6, 10, { batchSize: 5, shuffle: true, seed: 1 }).flat()
    const epochs = [rows.slice(0, 10), rows.slice(10, 20), rows.slice(20, 30)]
    for (const epoch of epochs) {
      expect([...epoch].sort((a, b) => a - b)).toEqual([...Array(10).keys()])
    }
    expect(new Set(epochs.map(String)).size).toBe(3)
  })

  test('of one seed are the same, of another are not', () => {
    const of = (seed: number) => taken(5, 20, { batchSize: 4, shuffle: true, seed })
    expect(of(7)).toEqual(of(7))
    expect(of(7)).not.toEqual(of(8))
  })

  test('may be larger than the epoch', () => {
    const [batch] = taken(1, 2, { batchSize: 5, shuffle: false, seed: 0 })
    expect(batch).toEqual([0, 1, 0, 1, 0])
  })

  describe('by length', () => {
    const rows = 1000 // more than one pool of 50 batches of 8
    const lengths = Array.from({ length: rows }, (_, i) => 1 + ((i * 7919) % 97))
    const options = { batchSize: 8, shuffle: true, seed: 3, lengths }

    test('take every row once an epoch', () => {
      const epoch = taken(125, rows, options).flat()
      expect([...epoch].sort((a, b) => a - b)).toEqual([...Array(rows).keys()])
    })

    test('pad little, and are not in the order of lengths', () => {
      const of = taken(125, rows, options).map((b) => b.map((i) => lengths[i] as number))
      const padded = of.reduce((sum, b) => sum + b.length * Math.max(...b), 0)
      const real = of.flat().reduce((a, b) => a + b)
      expect(padded / real).toBeLessThan(1.1)
      const longest = of.map((b) => Math.max(...b))
      expect(longest).not.toEqual([...longest].sort((a, b) => a - b))
    })

    test('carry what does not fill a batch into the next epoch', () => {
      const few = { ...options, lengths: lengths.slice(0, 10) }
      const seen = taken(5, 10, few).flat() // four epochs of 10 rows in batches of 8
      const counts = [...Array(10).keys()].map((i) => seen.filter((r) => r === i).length)
      expect(counts).toEqual(Array(10).fill(4))
    })
  })

  describe('within a budget of tokens', () => {
    const rows = 1000
    const lengths = Array.from({ length: rows }, (_, i) => 1 + ((i * 7919) % 97))
    const options = { batchSize: 8, batchTokens: 200, shuffle: true, seed: 3, lengths }
    const cost = (batch: number[]) =>
      batch.length * Math.max(...batch.map((i) => lengths[i] as number))

    test.each([true, false])(
      'take every row once an epoch, by length: %s',
      (byLength) => {
        const order = batches(lengths, { ...options, byLength })
        for (let epoch = 0; epoch < 3; epoch += 1) {
          const seen: number[] = []
          while (seen.length < rows) {
            const batch = order.next().value as number[]
            expect(cost(batch)).toBeLessThanOrEqual(200)
            seen.push(...batch)
          }
          expect(seen.sort((a, b) => a - b)).toEqual([...Array(rows).keys()])
        }
      },
    )

    test('fill it, and come in another order than that of lengths', () => {
      const found = taken(120, rows, options)
      const mean = found.reduce((sum, batch) => sum + cost(batch), 0) / found.length
      expect(mean).toBeGreaterThan(150)
      const sizes = found.map(({ length }) => length)
      expect(sizes).not.toEqual([...sizes].sort((a, b) => b - a))
    })

    test('leave a text that is longer than it alone', () => {
      const order = batches([3, 500, 3], {
        ...options,
        shuffle: false,
        byLength: false,
      })
      expect([order.next().value, order.next().value, order.next().value]).toEqual([
        [0],
        [1],
        [2],
      ])
    })
  })

  test('keep no tensor', async () => {
    const { tensors: before } = await settledMemory()
    taken(20, 5, { batchSize: 3, shuffle: true, seed: 0 })
    expect(memory().tensors).toBe(before)
  })
})
