// Training and evaluation on `meta`, of every backbone, method and placement: no op reads a tensor on
// the CPU, and nothing is read back but the figures that a step reports.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { encodeLabels } from '../../lib/inference/index.js'
import { createPrompt, METHOD_NAMES, PLACEMENTS } from '../../lib/prompt/index.js'
import type { TrainEvent } from '../../lib/run/index.js'
import { createTask, type Task } from '../../lib/task/index.js'
import { type TrainOptions, train } from '../../lib/train/index.js'
import { fixture } from '../backbone/golden.js'
import { BACKBONE_NAMES, onMeta, promptFor } from './backbones.js'
import { watched } from './watch.js'

const texts = ['a dog', 'the film was long, they said', 'no', 'cats and dogs']

/** Rows of several lengths, so that batches are padded. */
function taskOf(labels: readonly [string, string]): Task {
  const rows = texts.map((text, i) => ({ text, label: labels[i % 2] as string }))
  return createTask({ train: rows, dev: rows, test: rows })
}
const letters = taskOf(['a', 'b'])
const words = taskOf(['rather good', 'bad'])

async function trained(options: Partial<TrainOptions> & { backbone: Backbone }) {
  return await watched(async () => {
    const events: TrainEvent[] = []
    // Rows are shuffled on the CPU, before a step.
    const fixed = { steps: 2, batchSize: 4, evalEvery: 0, shuffle: false }
    const settings = { task: letters, ...fixed, ...options }
    for await (const event of train(settings)) events.push(event)
    return events
  })
}

const ran = new Set<string>()

describe.each(BACKBONE_NAMES)('on meta, %s', (name) => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await onMeta(name)
  })
  afterAll(() => backbone.dispose())

  test('the labels have the lengths that lead to either way of comparing them', () => {
    const isSingle = (task: Task) => encodeLabels(backbone, task).singleToken
    expect(isSingle(letters)).toBe(backbone.kind === 'causal')
    expect(isSingle(words)).toBe(false)
  })

  const combinations = METHOD_NAMES.flatMap((method) =>
    PLACEMENTS.map((placement) => [method, placement] as const),
  )
  test.each(combinations)(
    'trains %s as %s with both objectives',
    async (method, placement) => {
      const prompt = promptFor(backbone, method, placement)
      if (prompt === null) return
      ran.add(method)
      for (const objective of ['lm', 'verbalizer'] as const) {
        for (const task of [letters, words]) {
          const found = await trained({ backbone, prompt, task, objective })
          expect(found.cpuInputs).toEqual([])
          expect(found.count).toBeGreaterThan(100)
          // Two steps, each with its loss and its gradients' norm: single numbers.
          expect(found.reads).toEqual([[], [], [], []])
          expect(found.value.filter(({ type }) => type === 'step')).toHaveLength(2)
        }
      }
      const factors = Object.values(prompt.parameters)
      expect(factors.every(({ device }) => device === 'meta')).toBe(true)
      prompt.dispose()
    },
  )

  test('trains with every way that fewer things are shared, and evaluates', async () => {
    for (const placement of PLACEMENTS) {
      const prompt = createPrompt(backbone, { placement, length: 4, rank: 2 })
      for (const optimizer of ['adam', 'adamw', 'sgd', 'adafactor'] as const) {
        const settings = {
          accumulate: 2,
          weightDecay: 0.1,
          fastPaths: false,
          evalEvery: 2,
        }
        const found = await trained({
          backbone,
          prompt,
          task: words,
          optimizer,
          ...settings,
        })
        expect(found.cpuInputs).toEqual([])
        const scores = found.reads.filter(({ length }) => length > 0)
        expect(scores).toEqual([[texts.length, 2]])
      }
      prompt.dispose()
    }
  })

  test('trains prompts of every method and placement in one pass, and evaluates them', async () => {
    const prompts = combinations.flatMap(
      ([method, placement]) => promptFor(backbone, method, placement) ?? [],
    )
    for (const task of [letters, words]) {
      for (const fastPaths of [true, false]) {
        const options = {
          backbone,
          prompts,
          task,
          fastPaths,
          evalEvery: 2,
          accumulate: 2,
        }
        const found = await trained(options)
        expect(found.cpuInputs).toEqual([])
        expect(found.value.filter(({ type }) => type === 'step')).toHaveLength(
          2 * prompts.length,
        )
        expect(found.value.filter(({ type }) => type === 'done')).toHaveLength(
          prompts.length,
        )
      }
    }
    for (const prompt of prompts) prompt.dispose()
  })

  test('trains in half precision', async () => {
    for (const dtype of ['bfloat16', 'float16'] as const) {
      const half = await onMeta(name, dtype)
      const prompt = createPrompt(half, { length: 4, rank: 2 })
      expect((await trained({ backbone: half, prompt })).cpuInputs).toEqual([])
      prompt.dispose()
      half.dispose()
    }
  })
})

test('every method was trained on meta', () => {
  expect([...ran].sort()).toEqual([...METHOD_NAMES].sort())
})

test.each([
  'gpt2-plain',
  't5-gated',
  'mt5',
  'torchscript/gpt2-plain.pt',
  'torchscript/t5-gated.pt',
])('a checkpoint opens on meta and trains there: %s', async (name) => {
  const onCpu = await loadBackbone(fixture(name))
  const backbone = await loadBackbone(fixture(name), { device: 'meta', dtype: 'float32' })
  const shapes = (one: Backbone) =>
    [...one.parameters()].map(([key, { shape }]) => [key, shape])
  expect(shapes(backbone)).toEqual(shapes(onCpu))
  const places = [...backbone.parameters().values()].map(({ device }) => device)
  expect([...new Set(places)]).toEqual(['meta'])
  expect(backbone.fingerprint).toBe(onCpu.fingerprint)
  expect(backbone.config.tiedHead).toBe(onCpu.config.tiedHead)
  for (const placement of ['prefix', 'suffix'] as const) {
    const prompt = createPrompt(backbone, { placement, length: 4, rank: 2 })
    for (const task of [letters, words])
      expect((await trained({ backbone, prompt, task })).cpuInputs).toEqual([])
    prompt.dispose()
  }
  for (const one of [backbone, onCpu]) one.dispose()
})
