// What comes from JavaScript in the place of a backbone, a prompt or a task is refused by name at each
// public function that takes one.

import { fileURLToPath } from 'node:url'
import { fastify } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Backbone,
  compressPrompt,
  createBackbone,
  createPrompt,
  createTask,
  evaluate,
  exportPeft,
  generate,
  importPeft,
  loadBackbone,
  loadPrompt,
  openRun,
  type Prompt,
  saveBackbone,
  savePrompt,
  score,
  type Task,
  train,
} from '../lib/index.js'
import {
  createServer,
  fetchHandler,
  nodeHandler,
  servePlugin,
} from '../lib/serve/index.js'

const folder = fileURLToPath(new URL('./fixtures/gpt2-plain', import.meta.url))
let backbone: Backbone
let prompt: Prompt
const task: Task = createTask({
  train: ['good', 'bad'].map((label) => ({ text: `It is ${label}`, label })),
  devFraction: 0,
})

beforeAll(async () => {
  backbone = await loadBackbone(folder)
  prompt = createPrompt(backbone, { length: 2, rank: 1 })
})
afterAll(() => {
  prompt.dispose()
  backbone.dispose()
})

/** What a caller without types may give. */
type Untyped = never

async function first(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events) return
}

const calls: Record<string, Record<string, (wrong: Untyped) => unknown>> = {
  backbone: {
    createPrompt: (wrong) => createPrompt(wrong),
    loadPrompt: (wrong) => loadPrompt('x', wrong),
    train: (wrong) => first(train({ backbone: wrong, prompt, task })),
    evaluate: (wrong) => evaluate({ backbone: wrong, prompt, task }),
    score: (wrong) => score({ backbone: wrong, prompt, task, texts: ['a'] }),
    generate: (wrong) => first(generate({ backbone: wrong, text: 'a' })),
    exportPeft: (wrong) => exportPeft('x', prompt, wrong),
    importPeft: (wrong) => importPeft('x', wrong),
  },
  prompt: {
    savePrompt: (wrong) => savePrompt('x', wrong),
    compressPrompt: (wrong) => compressPrompt(wrong, { rank: 1 }),
    exportPeft: (wrong) => exportPeft('x', wrong, backbone),
  },
  task: {
    train: (wrong) => first(train({ backbone, prompt, task: wrong })),
    evaluate: (wrong) => evaluate({ backbone, prompt, task: wrong }),
  },
  engine: {
    createServer: (wrong) => createServer(wrong),
    fetchHandler: (wrong) => fetchHandler(wrong),
    nodeHandler: (wrong) => nodeHandler(wrong),
    servePlugin: (wrong) => fastify().register(servePlugin, { engine: wrong }).ready(),
  },
}

const cases = Object.entries(calls).flatMap(([name, of]) =>
  Object.entries(of).map(([callee, call]) => ({ name, callee, call })),
)

describe.each(cases)('$callee', ({ name, call }) => {
  test.each([undefined, null, 'topics', {}])(
    `refuses %j as the ${name}`,
    async (wrong) => {
      const received = wrong === undefined || wrong === null ? wrong : typeof wrong
      const expected = new RegExp(
        `^Expected ${name} to be made by .* but received ${received}$`,
      )
      await expect(async () => await call(wrong as Untyped)).rejects.toThrow(expected)
      await expect(async () => await call(wrong as Untyped)).rejects.toThrow(TypeError)
    },
  )
})

test.each(['score', 'generate'])(
  '%s refuses another prompt than one that was made',
  async (name) => {
    const wrong = 'prompt.lopt.safetensors' as Untyped
    const call = {
      score: () => score({ backbone, prompt: wrong, task, texts: ['a'] }),
      generate: () => first(generate({ backbone, prompt: wrong, text: 'a' })),
    }[name] as () => Promise<unknown>
    await expect(call()).rejects.toThrow(
      /^Expected prompt to be made by .* received string$/,
    )
  },
)

test('evaluate says which splits there are', async () => {
  const split = 'validation' as Untyped
  await expect(evaluate({ backbone, prompt, task, split })).rejects.toThrow(
    'Expected split to be one of train, dev, test but received "validation"',
  )
})

describe('nothing in the place of what is needed', () => {
  const nothing = undefined as Untyped
  test.each<[string, () => unknown, string]>([
    ['createTask', () => createTask(nothing), 'options to be an object'],
    ['createBackbone', () => createBackbone(nothing, nothing), 'config to be an object'],
    [
      'createBackbone',
      () => createBackbone({} as Untyped, nothing),
      'options to be an object',
    ],
    ['saveBackbone', () => saveBackbone(nothing, backbone), 'folder to be a string'],
    [
      'saveBackbone',
      () => saveBackbone('x', nothing),
      'backbone to be made by loadBackbone',
    ],
    ['openRun', () => openRun(nothing), 'folder to be a string'],
  ])('%s says what', async (_, call, expected) => {
    await expect(async () => await call()).rejects.toThrow(TypeError)
    await expect(async () => await call()).rejects.toThrow(`Expected ${expected}`)
  })
})

describe('options that do not fit are named, with what they are to be', () => {
  const trained = (wrong: object) => first(train({ backbone, prompt, task, ...wrong }))
  const made = (wrong: object) => createPrompt(backbone, wrong)
  const continued = (wrong: object) => first(generate({ backbone, text: 'a', ...wrong }))
  test.each<[() => unknown, ErrorConstructor, string]>([
    [
      () => trained({ steps: 0 }),
      RangeError,
      'Expected steps to be a number of 1 or more but received 0',
    ],
    [
      () => trained({ steps: 1.5, clip: 'x' }),
      TypeError,
      'Expected steps to be an integer but received 1.5; Expected clip to be a number but received "x"',
    ],
    [
      () => trained({ learningRate: Number.NaN }),
      RangeError,
      'Expected learningRate to be a number but received NaN',
    ],
    [
      () => trained({ reuse: { budgetBytes: -1 } }),
      RangeError,
      'Expected reuse.budgetBytes to be a number of 0 or more but received -1',
    ],
    [() => trained({ stepz: 3 }), RangeError, 'There is no option stepz'],
    [
      () => trained({ steps: 5n }),
      TypeError,
      'Expected steps to be a number but received 5n',
    ],
    [
      () => trained({ out: '' }),
      RangeError,
      'Expected out to be a string that is not empty but received ""',
    ],
    [
      () => trained({ learningRates: { '': 0.1 } }),
      RangeError,
      'learningRates.: Invalid key in record',
    ],
    [
      () => made({ init: backbone }),
      TypeError,
      'Expected init to be a string but received ScriptedCausalBackbone',
    ],
    [
      () => continued({ text: ['a'.repeat(200)] }),
      TypeError,
      `Expected text to be a string or token ids but received ["${'a'.repeat(78)}…`,
    ],
    [
      () => trained({ optimizer: 'lion' }),
      RangeError,
      'Expected optimizer to be one of adam, adamw, sgd, adafactor but received "lion"',
    ],
    [
      () => made({ method: 'lora' }),
      RangeError,
      'Expected method to be one of lopt-1, lopt-2, full, dpt, ulpt, residual, p-tuning, dept, prefix but received "lora"',
    ],
    [
      () => made({ labels: 'good' }),
      TypeError,
      'Expected labels to be an array but received "good"',
    ],
    [
      () => continued({ topP: 1.5 }),
      RangeError,
      'Expected topP to be a number of 1 or less but received 1.5',
    ],
    [
      () => continued({ text: 7 }),
      TypeError,
      'Expected text to be a string or token ids but received 7',
    ],
  ])('%#', async (call, kind, message) => {
    await expect(async () => await call()).rejects.toThrow(kind)
    await expect(async () => await call()).rejects.toThrow(
      new RegExp(`^${message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`),
    )
  })
})
