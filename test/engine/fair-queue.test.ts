// Whose turn it is.

import { expect, test } from 'vitest'
import { FairQueue } from '../../lib/engine/fair-queue.js'

const work = (line: string, cost: number) => ({ line, cost, isGone: false })
type Work = ReturnType<typeof work>

function orderOf(queue: FairQueue<Work>, count: number): string {
  return queue
    .take((_, taken) => taken.length < count)
    .map(({ line }) => line)
    .join('')
}

test('lines take turns, whatever their length', () => {
  const queue = new FairQueue<Work>()
  for (let i = 0; i < 9; i += 1) queue.push(work('a', 10))
  for (let i = 0; i < 2; i += 1) queue.push(work('b', 10))
  expect(orderOf(queue, 6)).toBe('ababaa')
})

test('a line of longer texts has as many tokens as the others, not as many texts', () => {
  const queue = new FairQueue<Work>()
  for (let i = 0; i < 9; i += 1) queue.push(work('a', 30))
  for (let i = 0; i < 9; i += 1) queue.push(work('b', 10))
  expect(orderOf(queue, 8)).toBe('abbbabbb')
})

test('who comes late has no claim to what others had before, and does not wait for them either', () => {
  const queue = new FairQueue<Work>()
  for (let i = 0; i < 20; i += 1) queue.push(work('a', 10))
  expect(orderOf(queue, 10)).toBe('aaaaaaaaaa')
  for (let i = 0; i < 5; i += 1) queue.push(work('b', 10))
  expect(orderOf(queue, 6)).toMatch(/^b?ab/)
  const rest = orderOf(queue, 4)
  expect(rest).toContain('a')
})

test('what does not fit stays the next, and what is gone is forgotten', () => {
  const queue = new FairQueue<Work>()
  queue.push(work('a', 10))
  const gone = work('b', 50)
  queue.push(gone)
  queue.push(work('c', 10))
  let sum = 0
  const taken = queue.take(({ cost }) => {
    sum += cost
    return sum <= 30
  })
  expect(taken.map(({ line }) => line)).toEqual(['a'])
  gone.isGone = true
  expect(orderOf(queue, 9)).toBe('c')
  expect(queue.isEmpty).toBe(true)
})

test('a hundred thousand that are gone cost no more than those that are taken', () => {
  const queue = new FairQueue<Work>()
  const works = Array.from({ length: 100_000 }, (_, i) => work(`${i % 3}`, 1))
  for (const one of works) queue.push(one)
  for (const one of works) one.isGone = true
  queue.push(work('0', 7))
  expect(queue.take(() => true)).toEqual([work('0', 7)])
  expect(queue.isEmpty).toBe(true)
  for (const one of works) queue.push({ ...one, isGone: false })
  expect(queue.take(() => true)).toHaveLength(100_000)
})

test('what is of one group is taken together, and counts as all else', () => {
  const queue = new FairQueue<Work & { group?: object }>()
  const group = {}
  queue.push({ ...work('a', 10), group })
  for (let i = 0; i < 2; i += 1) queue.push({ ...work('a', 5), group })
  queue.push(work('a', 10))
  for (let i = 0; i < 4; i += 1) queue.push(work('b', 10))
  expect(orderOf(queue, 8)).toBe('aaabbabb')
})

test('a group whose others are gone, or do not fit, holds nobody up', () => {
  const queue = new FairQueue<Work & { group?: object }>()
  const group = {}
  queue.push({ ...work('a', 10), group })
  queue.push({ ...work('a', 10), group, isGone: true })
  queue.push({ ...work('a', 10), group })
  queue.push({ ...work('a', 10), group })
  queue.push(work('b', 10))
  expect(orderOf(queue, 2)).toBe('aa')
  expect(orderOf(queue, 2)).toBe('ba')
})
