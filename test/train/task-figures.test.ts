// The figures of each task on its miniature (test/fixtures/datasets/original, validation rows), worked out
// by hand for predictions chosen here.

import { expect, test } from 'vitest'
import { loadTask } from '../../lib/task/index.js'
import { taskMetrics } from '../../lib/train/metrics.js'

const folder = 'test/fixtures/datasets/original'

async function figures(name: string, predictions: string[]) {
  const task = await loadTask(name, { folder, splits: 'official' })
  const rows = name === 'agnews' ? task.test : task.dev
  expect(rows).toHaveLength(predictions.length)
  return taskMetrics(task, rows, predictions)
}

// Four rows of two labels, right 0 1 1 0 in some order; three of four predicted right: 3/4. The label
// predicted once too often has F1 2*2/(2+3) = 0.8, the other 2*1/(2+1) = 2/3; the mean is 11/15.
test.each([
  ['sst2', ['negative', 'positive', 'positive', 'positive']],
  ['boolq', ['False', 'True', 'True', 'True']],
  ['copa', ['choice1', 'choice2', 'choice2', 'choice2']],
  ['rte', ['entailment', 'not_entailment', 'not_entailment', 'not_entailment']],
  ['wic', ['True', 'False', 'False', 'False']],
  ['wsc', ['True', 'False', 'False', 'False']],
])('%s: accuracy 3/4', async (name, predictions) => {
  const { accuracy, macroF1 } = await figures(name, predictions)
  expect(accuracy).toBe(3 / 4)
  expect(macroF1).toBeCloseTo(11 / 15, 12)
})

test('agnews: accuracy 2/4', async () => {
  // right: Sci/Tech, World, Sports, Business
  const { accuracy } = await figures('agnews', ['Sci/Tech', 'World', 'World', 'World'])
  expect(accuracy).toBe(2 / 4)
})

test('cb: macro-F1 of three labels', async () => {
  // right: e c n e c e. Predicted: e e n e c c. entailment: 2 right of 3 rows and 3 guesses, 2*2/6 = 2/3;
  // contradiction: 1 of 2 and 2, 2/4 = 1/2; neutral: 1. Mean (2/3 + 1/2 + 1) / 3 = 13/18; accuracy 4/6.
  const [e, c, n] = ['entailment', 'contradiction', 'neutral']
  const found = await figures('cb', [e, e, n, e, c, c] as string[])
  expect(found.macroF1).toBeCloseTo(13 / 18, 12)
  expect(found.accuracy).toBeCloseTo(4 / 6, 12)
})

test('multirc: F1 over all answers, exact match over questions', async () => {
  // questions: T T F | T F | T F | T F. Predicted: T F F | T F | T T | T F. True: 4 right of 5 rows and 5
  // guesses, 2*4/10 = 0.8; questions all right: the second and the fourth, 2/4; accuracy 7/9.
  const [T, F] = ['True', 'False']
  const found = await figures('multirc', [T, F, F, T, F, T, T, T, F] as string[])
  expect(found.f1a).toBeCloseTo(0.8, 12)
  expect(found.exactMatch).toBe(2 / 4)
  expect(found.accuracy).toBeCloseTo(7 / 9, 12)
})

test('record: F1 and exact match over entities, the best of the right answers', async () => {
  // 1: right {Mara Quill, Quill}, found Quill: F1 1, exact. 2: right {Golden Heron}, found Cape Orla: 0.
  // 3: right {Piet Sand, Sand}, found Fell Race: 0. F1 1/3, exact match 1/3.
  const found = await figures('record', ['Quill', 'Cape Orla', 'Fell Race'])
  expect(found).toEqual({ accuracy: 1 / 3, f1: 1 / 3, exactMatch: 1 / 3, confusion: [] })
  // 2: found "the heron": "the" is dropped, 1 word of 1 and of 2 in common, F1 2/3; not exact.
  const partly = await figures('record', ['Quill', 'the heron', 'Sand!'])
  expect(partly.f1).toBeCloseTo((1 + 2 / 3 + 1) / 3, 12)
  expect(partly.exactMatch).toBeCloseTo(2 / 3, 12)
})
