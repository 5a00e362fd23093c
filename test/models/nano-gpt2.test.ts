// The GPT-2 that ships: there, small, and a language model.

import { readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Backbone, generate, loadBackbone, score } from '../../lib/index.js'

const folder = fileURLToPath(new URL('../../models/nano-gpt2', import.meta.url))
const MOST_BYTES = 8e6 // a clone stays small

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone('builtin:nano-gpt2')
})
afterAll(() => backbone.dispose())

test('every file of the model is at most 8 MB', () => {
  const sizes = readdirSync(folder).map((file) => statSync(`${folder}/${file}`).size)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(MOST_BYTES)
})

test('builtin:nano-gpt2 opens, with a tokenizer that gives a text back', () => {
  const text = 'a small mammal, naïve 日本\n'
  expect(backbone.tokenizer.decode(backbone.tokenizer.encode(text))).toBe(text)
  expect(backbone.config.vocabSize).toBe(backbone.tokenizer.vocabSize)
})

test('English is likelier than the same words in no order', async () => {
  const task = {
    template: 'a member of the {text}',
    labels: ['order', 'disorder'],
    verbalizer: {
      order: 'family of small plants with yellow flowers',
      disorder: 'flowers yellow with of plants small family',
    },
  }
  const [found] = await score({ backbone, prompt: null, task, texts: [''] })
  expect(found?.prediction).toBe('order')
})

test('greedy continuation is the same with and without kept keys and values', async () => {
  const continued = async (cache: boolean) => {
    let text = ''
    const options = { backbone, text: 'The whale', maxNewTokens: 20, cache }
    for await (const event of generate(options))
      if (event.type === 'done') text = event.text
    return text
  }
  const cached = await continued(true)
  expect(cached).not.toBe('')
  expect(await continued(false)).toBe(cached)
})
