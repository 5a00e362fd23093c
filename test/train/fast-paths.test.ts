// Every way to skip work gives what the plain path gives, over random rows, paddings and placements.

import { describe, expect, test } from 'vitest'
import {
  type Backbone,
  type BackboneDType,
  loadBackbone,
} from '../../lib/backbone/index.js'
import { TextStore } from '../../lib/inference/index.js'
import { createPrompt, type Placement } from '../../lib/prompt/index.js'
import { memory } from '../../lib/torch/index.js'
import type { TrainOptions } from '../../lib/train/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'
import { difference, lossAndGradients, randomCase } from './random-cases.js'
import { loadSmall, loadSmallT5, run } from './small-runs.js'

const TOLERANCES = [
  ['float64', 1e-10],
  ['float32', 1e-5],
] as const
const CASES = 20

const MODELS: [string, (dtype: BackboneDType) => Promise<Backbone>][] = [
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
]

async function worst(
  load: (dtype: BackboneDType) => Promise<Backbone>,
  dtype: BackboneDType,
  placement: Placement,
  budgetBytes?: number,
): Promise<number> {
  const backbone = await load(dtype)
  let largest = 0
  for (let seed = 1; seed <= CASES; seed += 1) {
    const one = randomCase(backbone, seed, placement)
    const plain = await lossAndGradients(backbone, one, { fastPaths: false })
    const isKept = backbone.kind === 'causal' && placement === 'suffix'
    const textStore = isKept ? new TextStore(backbone, { budgetBytes }) : undefined
    textStore?.plan(one.rows.map(({ text }) => text))
    // Twice: the second time the texts that fit the budget are read, not computed, and a prefix runs with
    // its rows and not before them.
    for (const once of [false, true]) {
      const options = { fastPaths: true, textStore, once }
      const fast = await lossAndGradients(backbone, one, options)
      largest = Math.max(largest, difference(fast, plain))
    }
    textStore?.dispose()
    one.prompt.dispose()
  }
  backbone.dispose()
  return largest
}

describe.each(MODELS)('the fast paths of %s give the plain numbers', (_, load) => {
  describe.each(TOLERANCES)('in %s', (dtype, tolerance) => {
    test.each(['prefix', 'suffix'] as const)('for a %s', async (placement) => {
      expect(await worst(load, dtype, placement)).toBeLessThan(tolerance)
    })
  })
})

describe.each(MODELS)('%s with few layers held at a time', (_, load) => {
  test.each([
    ['prefix', true],
    ['prefix', false],
    ['suffix', true],
  ] as const)(
    'gives the plain numbers, as %s, fast paths: %s',
    async (placement, fast) => {
      const backbone = await load('float64')
      for (let seed = 1; seed <= 10; seed += 1) {
        const one = randomCase(backbone, seed, placement)
        const textStore = backbone.kind === 'causal' ? new TextStore(backbone) : undefined
        const plain = await lossAndGradients(backbone, one, { fastPaths: false })
        for (const checkpointLayers of [1, 2, 100]) {
          const options = { fastPaths: fast, textStore, once: true, checkpointLayers }
          const found = await lossAndGradients(backbone, one, options)
          expect(difference(found, plain)).toBeLessThan(1e-10)
        }
        textStore?.dispose()
        one.prompt.dispose()
      }
      backbone.dispose()
    },
  )
})

describe('texts that a budget keeps in part', () => {
  // A token takes 2 * layers * H * 8 bytes of float64: 1 kB of gpt2-plain.
  test.each([0, 8_000, 30_000])('give the plain numbers at %i bytes', async (budget) => {
    expect(await worst(loadSmall, 'float64', 'suffix', budget)).toBeLessThan(1e-10)
  })
})

describe('kept texts', () => {
  test('are never more than the budget, and are freed', async () => {
    const backbone = await loadSmall('float64')
    if (backbone.kind !== 'causal') throw new Error('no GPT-2')
    const { layers, hiddenSize } = backbone.config
    const tokenBytes = 2 * layers * hiddenSize * 8
    const texts = [7, 3, 9, 2].map((length) => Array.from({ length }, (_, i) => i + 1))
    const before = await settledMemory()
    const store = new TextStore(backbone, { budgetBytes: 13 * tokenBytes })
    expect(store.plan(texts)).toBe(3) // 7 + 3 + 2 tokens: 9 more do not fit
    expect(store.plannedBytes).toBe(12 * tokenBytes)
    for (const tensor of await store.past(texts)) tensor.dispose()
    expect(memory().bytes - before.bytes).toBe(12 * tokenBytes)
    store.dispose()
    expect(memory()).toEqual(before)
    backbone.dispose()
  })

  test('have the same bits whichever batch asked for them first', async () => {
    const backbone = await loadSmall()
    if (backbone.kind !== 'causal') throw new Error('no GPT-2')
    const texts = [5, 9, 5, 12].map((length, row) =>
      Array.from({ length }, (_, i) => row + i + 1),
    )
    const bitsOf = async (first: number[][]) => {
      const store = new TextStore(backbone)
      store.plan(texts)
      for (const tensor of await store.past(first)) tensor.dispose()
      const past = await store.past(texts)
      const bits = past.map((tensor) =>
        Buffer.from((tensor.data() as Float32Array).buffer),
      )
      for (const tensor of past) tensor.dispose()
      store.dispose()
      return bits
    }
    const [a, b, c, d] = texts as [number[], number[], number[], number[]]
    expect(await bitsOf([d])).toEqual(await bitsOf([b, a, c]))
    backbone.dispose()
  })

  test('in half precision take half the memory and stay near', async () => {
    const backbone = await loadSmall()
    if (backbone.kind !== 'causal') throw new Error('no GPT-2')
    const one = randomCase(backbone, 5, 'suffix')
    const texts = one.rows.map(({ text }) => text)
    const exact = new TextStore(backbone)
    const half = new TextStore(backbone, { halfPrecision: true })
    for (const store of [exact, half]) store.plan(texts)
    expect(half.plannedBytes).toBe(exact.plannedBytes / 2)
    const [near, plain] = [
      await lossAndGradients(backbone, one, { fastPaths: true, textStore: half }),
      await lossAndGradients(backbone, one, { fastPaths: true, textStore: exact }),
    ]
    expect(difference(near, plain)).toBeLessThan(1e-2)
    expect(difference(near, plain)).toBeGreaterThan(0) // it was not float32 that was kept
    for (const it of [exact, half, one.prompt, backbone]) it.dispose()
  })
})

describe('a training run with a suffix', () => {
  const start = async (options: Partial<TrainOptions>) => {
    const backbone = await loadSmall()
    const prompt = createPrompt(backbone, { length: 4, rank: 2, placement: 'suffix' })
    const { events } = await run({ backbone, prompt, ...options })
    for (const it of [prompt, backbone]) it.dispose()
    return events[0]
  }

  test('says at its start which share of the rows is computed once', async () => {
    expect(await start({ steps: 12 })).toMatchObject({ reuse: { hitRate: 1 } })
    const reuse = { budgetBytes: 20_000 } // half a kB a token
    const part = await start({ steps: 12, reuse })
    if (part?.type !== 'start' || part.reuse === undefined) throw new Error('no reuse')
    expect(part.reuse.hitRate).toBeGreaterThan(0)
    expect(part.reuse.hitRate).toBeLessThan(1)
    expect(part.reuse.bytes).toBeLessThanOrEqual(20_000)
  })

  test('keeps no training row that it sees once', async () => {
    // 24 rows: 6 steps of 4
    expect(await start({ steps: 6 })).toMatchObject({ reuse: { hitRate: 0 } })
  })

  test('keeps nothing without the fast paths', async () => {
    expect(await start({ steps: 12, fastPaths: false })).not.toHaveProperty('reuse')
  })

  test('refuses a budget below 0', async () => {
    await expect(start({ reuse: { budgetBytes: -1 } })).rejects.toThrow(/budgetBytes/)
  })
})

describe('a bfloat16 backbone', () => {
  test.each(['gpt2-plain', 't5-plain'])(
    '%s trains, with one layer held at a time',
    async (name) => {
      const backbone = await loadBackbone(fixture(name), { dtype: 'bfloat16' })
      const { events, prompt } = await run({
        backbone,
        steps: 40,
        batchSize: 8,
        evalEvery: 0,
        learningRate: 0.3,
        checkpointLayers: 1,
      })
      const steps = events.flatMap((event) => (event.type === 'step' ? [event] : []))
      const least = Math.min(...steps.slice(-8).map(({ loss }) => loss))
      expect(least).toBeLessThan(0.8 * (steps[0]?.loss as number))
      expect(steps[0]?.peakMemoryBytes).toBeGreaterThan(1e6)
      for (const it of [prompt, backbone]) it.dispose()
    },
  )
})
