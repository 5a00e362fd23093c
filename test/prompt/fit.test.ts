// Prompts that cannot be run with a backbone are refused by name, wherever they are given.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { generate, score } from '../../lib/inference/index.js'
import { checkPrompt, createPrompt, Prompt } from '../../lib/prompt/index.js'
import { createTask } from '../../lib/task/index.js'
import { evaluate, train } from '../../lib/train/index.js'
import { fixture } from '../backbone/golden.js'

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'))
})
afterAll(() => backbone.dispose())

const task = createTask({
  train: ['good', 'bad'].map((label) => ({ text: `It is ${label}`, label })),
  devFraction: 0,
})

async function first(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events) return
}

const entries: [string, (prompt: Prompt) => Promise<unknown>][] = [
  ['score', (prompt) => score({ backbone, prompt, task, texts: ['a'] })],
  ['generate', (prompt) => first(generate({ backbone, prompt, text: 'a' }))],
  ['evaluate', (prompt) => evaluate({ backbone, prompt, task, split: 'train' })],
  ['train', (prompt) => first(train({ backbone, prompt, task, steps: 1 }))],
]

/** A prompt that says it was made for another backbone of the same sizes. */
function foreign(allowOtherBackbone: boolean): Prompt {
  const { config, parameters } = createPrompt(backbone, { length: 4, rank: 2 })
  return new Prompt({ ...config, backbone: 'abc123' }, parameters, { allowOtherBackbone })
}

describe.each(entries)('%s', (_, run) => {
  test('refuses a prompt of another backbone, and says how it could be had', async () => {
    const prompt = foreign(false)
    await expect(run(prompt)).rejects.toMatchObject({
      code: 'ERR_PROMPT_FILE',
      message:
        `The prompt was trained on the backbone abc123, but ${backbone.source} is ` +
        `${backbone.fingerprint}: load it with allowOtherBackbone if that is wanted`,
    })
    prompt.dispose()
    const allowed = foreign(true)
    await run(allowed)
    allowed.dispose()
  })
})

test('a prompt on another device than the backbone is refused with both named', async () => {
  const meta = await loadBackbone(fixture('gpt2-plain'), { device: 'meta' })
  const prompt = createPrompt(meta, { method: 'lopt-2', length: 4, rank: 2 })
  expect(() => checkPrompt(prompt, backbone, 'prompts[1]')).toThrow(
    new RangeError(
      'Expected prompts[1] on cpu, where the backbone is, but received meta',
    ),
  )
  for (const [, run] of entries) {
    await expect(run(prompt)).rejects.toThrow(
      /^Expected prompt on cpu, .* received meta$/,
    )
  }
  prompt.dispose()
  meta.dispose()
})
