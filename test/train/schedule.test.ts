// Worked by hand from transformers' definitions (optimization.py, 5.18): with warm-up w and n steps in all, the factor
// of step i is i / w before w, then 1, (n - i) / (n - w), or (1 + cos(π (i - w) / (n - w))) / 2.

import { expect, test } from 'vitest'
import { scheduleFactor } from '../../lib/train/schedule.js'

const factors = (
  name: 'constant' | 'linear' | 'cosine',
  steps: number,
  warmupSteps: number,
) =>
  Array.from({ length: steps }, (_, step) =>
    scheduleFactor(name, step, { steps, warmupSteps }),
  )

test('constant is 1 from the first step', () => {
  expect(factors('constant', 3, 0)).toEqual([1, 1, 1])
})

test('linear falls in a line and never is 0', () => {
  expect(factors('linear', 4, 0)).toEqual([1, 0.75, 0.5, 0.25])
})

test('cosine falls along half a cosine', () => {
  const expected = [1, (1 + Math.SQRT1_2) / 2, 0.5, (1 - Math.SQRT1_2) / 2]
  factors('cosine', 4, 0).forEach((factor, i) => {
    expect(factor).toBeCloseTo(expected[i] as number, 12)
  })
})

test('warm-up rises to the whole rate, and the fall begins after it', () => {
  expect(factors('constant', 6, 4)).toEqual([0, 0.25, 0.5, 0.75, 1, 1])
  expect(factors('linear', 6, 4)).toEqual([0, 0.25, 0.5, 0.75, 1, 0.5])
  const expected = [0, 0.5, 1, (1 + Math.SQRT1_2) / 2, 0.5, (1 - Math.SQRT1_2) / 2]
  factors('cosine', 6, 2).forEach((factor, i) => {
    expect(factor).toBeCloseTo(expected[i] as number, 12)
  })
})

test('the first of several warm-up steps has learning rate 0, and so has the only one', () => {
  expect(factors('linear', 3, 1)).toEqual([0, 1, 0.5])
})

test('warm-up may be longer than the run', () => {
  expect(factors('linear', 2, 4)).toEqual([0, 0.25])
})
