// Whose turn it is.

import { expect, test } from 'vitest'
import { FairQueue } from '../../lib/engine/fair-queue.js'

const work = (line: string, tokens: number) => ({ line, tokens })
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
  queue.push(work('b', 50))
  queue.push(work('c', 10))
  let sum = 0
  const taken = queue.take(({ tokens }) => {
    sum += tokens
    return sum <= 30
  })
  expect(taken.map(({ line }) => line)).toEqual(['a'])
  queue.remove(({ line }) => line === 'b')
  expect(orderOf(queue, 9)).toBe('c')
  expect(queue.isEmpty).toBe(true)
})
