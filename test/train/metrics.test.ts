// Worked by hand.

import { describe, expect, test } from 'vitest'
import { createTask } from '../../lib/task/index.js'
import { evaluateMajority } from '../../lib/train/index.js'
import { classificationMetrics } from '../../lib/train/metrics.js'

describe('metrics', () => {
  test('of three labels', () => {
    //                                      a  a  a  b  b  c
    const metrics = classificationMetrics([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2], 3)
    expect(metrics.confusion).toEqual([
      [2, 1, 0],
      [0, 1, 1],
      [0, 0, 1],
    ])
    expect(metrics.accuracy).toBeCloseTo(4 / 6, 15)
    // a: precision 2/2, recall 2/3, F1 4/5; b: 1/2, 1/2, 1/2; c: 1/2, 1/1, 2/3
    expect(metrics.macroF1).toBeCloseTo((4 / 5 + 1 / 2 + 2 / 3) / 3, 15)
  })

  test('all right are 1', () => {
    const { accuracy, macroF1 } = classificationMetrics([0, 1], [0, 1], 2)
    expect([accuracy, macroF1]).toEqual([1, 1])
  })

  test('one label for all: the others count 0', () => {
    const { accuracy, macroF1 } = classificationMetrics([0, 0, 0, 1], [0, 0, 0, 0], 2)
    expect(accuracy).toBe(0.75)
    // label 0: precision 3/4, recall 1, F1 6/7; label 1: 0
    expect(macroF1).toBeCloseTo(6 / 7 / 2, 15)
  })

  test('a label that is neither there nor predicted counts 0', () => {
    expect(classificationMetrics([0, 0], [0, 0], 2).macroF1).toBe(0.5)
  })
})

test("the majority baseline answers with the training rows' most frequent label", () => {
  const row = (label: string) => ({ text: 'x', label })
  const task = createTask({
    train: ['ham', 'spam', 'spam'].map(row),
    dev: ['ham'].map(row),
    test: ['ham', 'ham', 'ham', 'spam'].map(row),
  })
  expect(evaluateMajority(task)).toMatchObject({
    label: 'spam',
    accuracy: 0.25,
    confusion: [
      [0, 3],
      [0, 1],
    ],
  })
  expect(evaluateMajority(task)?.macroF1).toBeCloseTo(0.4 / 2, 15)
})
