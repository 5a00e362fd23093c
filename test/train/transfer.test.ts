// Transfer: a prompt that starts from another task's prompt file.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import {
  createPrompt,
  loadPrompt,
  METHOD_NAMES,
  type MethodName,
  savePrompt,
} from '../../lib/prompt/index.js'
import { createTask } from '../../lib/task/index.js'
import { bytesOf, loadSmall, rows, run } from './small-runs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-transfer-'))
const file = (method: MethodName) => join(folder, `${method}.lopt.safetensors`)
/** The same texts with other labels. */
const target = createTask({
  train: rows.map(({ text }, i) => ({ text, label: i % 3 === 0 ? 'plant' : 'film' })),
  dev: [{ text: 'the dog was', label: 'film' }],
})
const options = (method: MethodName) => ({
  method,
  length: 4,
  ...(method === 'dept' ? { textTokens: 8 } : {}),
  ...(method === 'residual' ? { bottleneck: 6 } : {}),
  ...(['lopt-1', 'lopt-2', 'dpt', 'ulpt', 'dept'].includes(method) ? { rank: 2 } : {}),
})
const lossesOf = async (given: Parameters<typeof run>[0]) => {
  const { events } = await run({ steps: 3, ...given })
  return events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))
}

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadSmall()
  for (const method of METHOD_NAMES) {
    const { prompt } = await run({
      backbone,
      steps: 2,
      prompt: createPrompt(backbone, { ...options(method), init: 'random' }),
    })
    await savePrompt(file(method), prompt)
    prompt.dispose()
  }
})
afterAll(() => {
  backbone.dispose()
  rmSync(folder, { recursive: true })
})

test.each(METHOD_NAMES)(
  'a %s prompt starts from the very numbers of one trained on another task, and trains on',
  async (method) => {
    const prompt = createPrompt(backbone, { ...options(method), init: file(method) })
    const source = loadPrompt(file(method), backbone)
    expect(bytesOf(prompt)).toEqual(bytesOf(source))
    expect(prompt.task).toBeUndefined() // its labels are not the new task's
    expect(prompt.start).toEqual({ init: file(method), seed: 0 })
    const first = await lossesOf({ backbone, prompt, task: target })
    expect(first).toEqual(await lossesOf({ backbone, prompt: source, task: target }))
    expect(first.every(Number.isFinite)).toBe(true)
    expect(Object.keys(prompt.task?.labels ?? {})).toEqual(['plant', 'film'])
    prompt.dispose()
    source.dispose()
  },
)

const byVectors = METHOD_NAMES.filter((name) => name !== 'dept' && name !== 'prefix')

test.each(METHOD_NAMES.filter((name) => name !== 'prefix'))(
  'a %s prompt starts from the vectors of every method that gives nothing else',
  async (method) => {
    for (const source of byVectors) {
      const init = file(source)
      const prompt = createPrompt(backbone, { ...options(method), init })
      const losses = await lossesOf({ backbone, prompt, task: target, steps: 1 })
      expect(losses.every(Number.isFinite), source).toBe(true)
      prompt.dispose()
    }
  },
)

test.each([
  ['lopt-1', 'prefix', /method prefix, which is more than vectors/],
  ['full', 'dept', /method dept, which is more than vectors/],
  ['prefix', 'full', /has no vectors among the tokens that could be given/],
] as const)('a %s prompt cannot start from a %s prompt', (method, source, message) => {
  expect(() =>
    createPrompt(backbone, { ...options(method), init: file(source) }),
  ).toThrow(message)
})
