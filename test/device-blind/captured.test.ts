// What would be captured on a GPU, on `meta`: inside a captured step no op may meet a tensor on the CPU, bring one over,
// or read a value back, for every backbone, method, placement, objective and optimizer.

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import {
  backward,
  createPromptSet,
  type GenerateRow,
  generate,
  labelLogProbabilities,
  StepGraphs,
  score,
} from '../../lib/inference/index.js'
import { createPrompt, METHOD_NAMES, PLACEMENTS } from '../../lib/prompt/index.js'
import { createTask, type Task } from '../../lib/task/index.js'
import { type RecordedOp, recordOps, Tensor, tidy } from '../../lib/torch/index.js'
import { type TrainOptions, train } from '../../lib/train/index.js'
import { BACKBONE_NAMES, onMeta, promptFor } from './backbones.js'

const texts = ['a dog', 'the film was long, they said', 'no', 'cats and dogs']

/** Rows of several lengths, so that batches are padded. */
function taskOf(labels: readonly [string, string]): Task {
  const rows = texts.map((text, i) => ({ text, label: labels[i % 2] as string }))
  return createTask({ train: rows, dev: rows, test: rows })
}
const letters = taskOf(['a', 'b'])
const words = taskOf(['rather good', 'bad'])

/** Ops that meet a tensor on the CPU, or make one: a single number that libtorch wrapped is a constant of the kernel. */
function hostOps(ops: readonly RecordedOp[]): string[] {
  return ops.flatMap(({ name, inputs }) =>
    inputs
      .filter(({ device, shape }) => device === 'cpu' && shape.length > 0)
      .map(({ dtype, shape }) => `${name} meets ${dtype} [${shape.join(', ')}]`),
  )
}

const READS = ['aten::item', 'aten::_local_scalar_dense', 'aten::nonzero']

afterEach(() => vi.restoreAllMocks())

/**
 * What captured steps, all but the first, do of which a GPU knows nothing.
 *
 * @param run makes the steps
 */
async function strays(run: () => Promise<void>): Promise<string[]> {
  const ops: RecordedOp[] = []
  const insideReads: string[] = []
  let isInside = false
  vi.spyOn(Tensor.prototype, 'read').mockImplementation(async function (this: Tensor) {
    if (isInside) insideReads.push(`${this}`)
    const values = Array.from({ length: this.numel }, (_, i) => i)
    return Float32Array.from(values)
  })
  vi.spyOn(Tensor.prototype, 'startRead').mockImplementation(async function (
    this: Tensor,
  ) {
    const values = Float32Array.from({ length: this.numel }, (_, i) => i)
    return async () => values
  })
  let calls = 0
  vi.spyOn(StepGraphs.prototype, 'run').mockImplementation(async (_, work) => {
    calls += 1
    if (calls === 1) return await work() // while it runs, the rows of the second become tensors
    isInside = true
    const found = await recordOps(work, { inputs: true })
    isInside = false
    expect(found.dropped).toBe(0)
    ops.push(...found.ops)
    return found.value
  })
  await run()
  expect(ops.length).toBeGreaterThan(100)
  const reads = ops.filter(({ name }) => READS.includes(name)).map(({ name }) => name)
  return [...hostOps(ops), ...reads, ...insideReads]
}

async function captured(options: Partial<TrainOptions> & { backbone: Backbone }) {
  const fixed = { steps: 2, batchSize: 4, evalEvery: 0, shuffle: false, graphs: true }
  const settings = { task: letters, ...fixed, ...options }
  return await strays(async () => {
    let isCaptured: unknown
    for await (const event of train(settings)) {
      if (event.type === 'start') isCaptured = event.graphs?.captured
    }
    expect(isCaptured).toBe(true)
  })
}

describe.each(BACKBONE_NAMES)('a captured step stays on its device: %s', (name) => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await onMeta(name)
  })
  afterAll(() => backbone.dispose())

  const combinations = METHOD_NAMES.flatMap((method) =>
    PLACEMENTS.map((placement) => [method, placement] as const),
  )
  test.each(combinations)('%s as %s', async (method, placement) => {
    const prompt = promptFor(backbone, method, placement)
    if (prompt === null) return
    for (const objective of ['lm', 'verbalizer'] as const) {
      for (const task of [letters, words]) {
        // A suffix stands behind texts that are kept, or in its rows.
        for (const fastPaths of placement === 'suffix' ? [true, false] : [true]) {
          const given = { backbone, prompt, task, objective, fastPaths }
          expect(await captured(given)).toEqual([])
        }
      }
    }
    prompt.dispose()
  })

  test.each(['adam', 'adamw', 'sgd'] as const)('with %s', async (optimizer) => {
    const prompt = createPrompt(backbone, { length: 4, rank: 2 })
    const given = { backbone, prompt, optimizer, accumulate: 2, weightDecay: 0.1 }
    expect(await captured(given)).toEqual([])
    prompt.dispose()
  })

  test('of more positions than have their logits at once', async () => {
    const prompt = createPrompt(backbone, { length: 4, rank: 2 })
    const set = createPromptSet(backbone, [prompt], { once: true, positionsAtOnce: 2 })
    const rows = [{ text: [5, 6], labels: [[7, 8, 9, 10, 11]], prompt: 0 }]
    const each = labelLogProbabilities(backbone, set.layouts, rows)
    const step = async () => await backward(set, (await each(set)).sum())
    const { ops, dropped } = await recordOps(() => tidy(step), { inputs: true })
    expect(dropped).toBe(0)
    expect(ops.some(({ name }) => name === 'aten::cat')).toBe(true)
    expect(hostOps(ops)).toEqual([])
    prompt.dispose()
  })

  test('with prompts of every method and placement in one', async () => {
    const prompts = combinations.flatMap(
      ([method, placement]) => promptFor(backbone, method, placement) ?? [],
    )
    for (const task of [letters, words]) {
      expect(await captured({ backbone, prompts, task, fastPaths: false })).toEqual([])
    }
    for (const prompt of prompts) prompt.dispose()
  })
})

describe.each(BACKBONE_NAMES)('a captured token stays on its device: %s', (name) => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await onMeta(name)
  })
  afterAll(() => backbone.dispose())

  const plain = { text: 'the dog' }
  const rules: [string, GenerateRow[]][] = [
    ['the likeliest', [plain, plain, plain]],
    ['drawn', [{ ...plain, temperature: 0.7 }, plain]],
    [
      'by every rule',
      [
        { ...plain, temperature: 0.7, topK: 5, topP: 0.9, repetitionPenalty: 1.2 },
        { ...plain, temperature: 1.3, minNewTokens: 4, logProbabilities: 3 },
        { ...plain, topP: 0.5, logProbabilities: 0 },
      ],
    ],
  ]
  test.each(rules)('%s', async (_, rows) => {
    const found = await strays(async () => {
      const options = { backbone, rows, maxNewTokens: 4, minNewTokens: 4, graphs: true }
      for await (const _ of generate(options));
    })
    expect(found).toEqual([])
  })

  test('of beams', async () => {
    const found = await strays(async () => {
      const options = { backbone, text: 'the dog', numBeams: 3, maxNewTokens: 4 }
      for await (const _ of generate({ ...options, graphs: true }));
    })
    expect(found).toEqual([])
  })
})

describe.each(BACKBONE_NAMES)(
  'a captured pass of scores stays on its device: %s',
  (name) => {
    let backbone: Backbone
    beforeAll(async () => {
      backbone = await onMeta(name)
    })
    afterAll(() => backbone.dispose())

    test.each(METHOD_NAMES)('%s', async (method) => {
      for (const placement of PLACEMENTS) {
        const prompt = promptFor(backbone, method, placement)
        if (prompt === null) continue
        for (const task of [letters, words]) {
          const verbalizer = Object.fromEntries(
            task.labels.map((label) => [label, label]),
          )
          const format = { template: '{text}', labels: task.labels, verbalizer }
          const options = { backbone, prompt, task: format, texts, graphs: true }
          // What prompts give is prepared outside.
          const found = await strays(async () => {
            await score(options)
            await score(options)
          })
          expect(found).toEqual([])
        }
        prompt.dispose()
      }
    })
  },
)
