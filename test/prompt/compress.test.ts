// Expected values are computed here from the definition: the singular values that are cut off.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  compressionError,
  compressPrompt,
  createPrompt,
  METHOD_NAMES,
  Prompt,
} from '../../lib/prompt/index.js'
import { memory, svd, tidy } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
})
afterAll(() => backbone.dispose())

const byVectors = METHOD_NAMES.filter((name) => name !== 'dept' && name !== 'prefix')
const task = { template: '{text}', labels: { good: 'good', bad: 'bad' } }

describe.each(byVectors)('a %s prompt', (method) => {
  test('is as far from its compression as its other singular values say', async () => {
    const prompt = createPrompt(backbone, { method, length: 8, rank: 6, init: 'random' })
    const { S } = await svd(prompt.inputs().detach())
    const spectrum = S.toArray() as number[]
    for (const rank of [1, 2, 4, 8]) {
      const compressed = compressPrompt(prompt, { rank })
      const wanted = Math.hypot(...spectrum.slice(rank)) / Math.hypot(...spectrum)
      expect(compressionError(prompt, compressed)).toBeCloseTo(wanted, 9)
      expect(compressed.trainableParameters).toBe(rank * (8 + 32))
      compressed.dispose()
    }
    prompt.dispose()
  })
})

test('placement, task, backbone and dtype stay; the rest is a LoPT-1 prompt', () => {
  const prompt = createPrompt(backbone, {
    method: 'full',
    length: 8,
    placement: 'suffix',
  })
  prompt.task = task
  const compressed = compressPrompt(prompt, { rank: 3 })
  expect(compressed.config).toEqual({
    method: 'lopt-1',
    length: 8,
    rank: 3,
    hiddenSize: 32,
    placement: 'suffix',
    activation: 'relu',
    activationThreshold: 0.1,
    backbone: backbone.fingerprint,
  })
  expect(compressed.task).toEqual(task)
  expect(compressed.parameters.U?.dtype).toBe('float64')
  expect(compressed.parameters.V?.requiresGrad).toBe(true)
  prompt.dispose()
  compressed.dispose()
})

test('a prompt that is allowed on another backbone stays allowed', () => {
  const { config, parameters } = createPrompt(backbone, { method: 'full', length: 8 })
  const other = { ...config, backbone: 'abc123' }
  for (const allowOtherBackbone of [false, true]) {
    const prompt = new Prompt(other, parameters, { allowOtherBackbone })
    const compressed = compressPrompt(prompt, { rank: 3 })
    expect(compressed.config.backbone).toBe('abc123')
    expect(compressed.allowsOtherBackbone).toBe(allowOtherBackbone)
    compressed.dispose()
  }
})

test('a prompt is no way from itself', () => {
  const prompt = createPrompt(backbone, { length: 8, rank: 2 })
  expect(compressionError(prompt, prompt)).toBe(0)
  prompt.dispose()
})

test.each([0, 9, 1.5, Number.NaN])('rank %d of a prompt [8, 32] is refused', (rank) => {
  const prompt = createPrompt(backbone, { method: 'full', length: 8 })
  expect(() => compressPrompt(prompt, { rank })).toThrow(
    new RangeError(`Expected rank in 1..8 but received ${rank}`),
  )
  prompt.dispose()
})

test.each(['dept', 'prefix'] as const)('a %s prompt is refused', (method) => {
  const prompt = createPrompt(backbone, { method, length: 8 })
  expect(() => compressPrompt(prompt, { rank: 1 })).toThrow(
    expect.objectContaining({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('only those can be compressed'),
    }),
  )
  prompt.dispose()
})

test('compression leaves no tensor behind', async () => {
  const prompt = createPrompt(backbone, { method: 'full', length: 8 })
  const { tensors: before } = await settledMemory()
  for (let i = 0; i < 3; i++) {
    const compressed = compressPrompt(prompt, { rank: 2 })
    tidy(() => compressionError(prompt, compressed))
    compressed.dispose()
  }
  expect(memory().tensors).toBeLessThanOrEqual(before)
  prompt.dispose()
})
