import { describe, expect, test } from 'vitest'
import { memory } from '../../lib/torch/index.js'
import { batches } from '../../lib/train/batches.js'

function taken(count: number, rows: number, options: Parameters<typeof batches>[1]) {
  const order = batches(rows, options)
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

  test('keep no tensor', () => {
    const before = memory().tensors
    taken(20, 5, { batchSize: 3, shuffle: true, seed: 0 })
    expect(memory().tensors).toBe(before)
  })
})
