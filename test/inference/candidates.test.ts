// Rows with candidates of their own: the same scores as candidates that are every row's labels.

import { afterAll, expect, test } from 'vitest'
import { loadBackbone, score } from '../../lib/index.js'
import { candidateBatches } from '../../lib/inference/candidates.js'
import { memory } from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

const texts = ['the cat sat', 'a dog ran far', 'the']
const words = [
  ['good', 'bad', 'the cat'],
  ['dog', 'the'],
  ['a', 'cat', 'the dog', 'ran', 'far the'],
]
const { tensors: before } = await settledMemory()

test.each(['gpt2-plain', 't5-plain'])('%s scores each row by its own', async (name) => {
  const backbone = await loadBackbone(`test/fixtures/${name}`, { dtype: 'float64' })
  const common = { backbone, prompt: null }
  const format = { template: '{text}', labels: [], verbalizer: {} }
  const candidates = words.map((own) =>
    own.map((one) => ({ label: `is ${one}`, words: one })),
  )
  for (const batchSize of [1, 4, 16]) {
    const own = await score({ ...common, task: format, texts, candidates, batchSize })
    for (const [i, text] of texts.entries()) {
      const labels = words[i] as string[]
      const verbalizer = Object.fromEntries(labels.map((label) => [label, label]))
      const task = { template: '{text}', labels, verbalizer }
      const [alone] = await score({ ...common, task, texts: [text] })
      for (const label of labels) {
        expect(own[i]?.scores[label]).toBeCloseTo(alone?.scores[label] as number, 9)
      }
      expect(own[i]?.prediction).toBe(`is ${alone?.prediction}`)
    }
  }
  backbone.dispose()
})

test('a batch has no more candidates than rows were asked for', () => {
  const rows = [5, 1, 2, 2].map((count) => ({
    text: [1],
    candidates: Array.from({ length: count }, (_, i) => [i]),
    prompt: 0,
    isOwn: true,
  }))
  const batches = candidateBatches(rows, 4)
  const shapes = batches.map((batch) =>
    batch.map((one) => [one.row, one.candidates.length]),
  )
  expect(shapes).toEqual([
    [[0, 4]],
    [
      [0, 1],
      [1, 1],
    ],
    [
      [2, 2],
      [3, 2],
    ],
  ])
})

afterAll(() => {
  expect(memory().tensors).toBe(before)
})
