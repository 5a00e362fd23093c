// What comes from JavaScript in the place of a backbone, a prompt or a task is refused by name at each
// public function that takes one.

import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Backbone,
  compressPrompt,
  createPrompt,
  createTask,
  evaluate,
  exportPeft,
  generate,
  importPeft,
  loadBackbone,
  loadPrompt,
  type Prompt,
  savePrompt,
  score,
  type Task,
  train,
  trainMany,
} from '../lib/index.js'

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
    trainMany: (wrong) => first(trainMany({ backbone: wrong, prompts: [prompt], task })),
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
