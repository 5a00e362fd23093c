// The T5 that ships: there, small, a language model that reads its encoder, and transformers' as well.

import { readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Backbone, generate, loadBackbone, score } from '../../lib/index.js'

const folder = fileURLToPath(new URL('../../models/nano-t5', import.meta.url))
const MOST_BYTES = 8e6 // a clone stays small

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone('builtin:nano-t5')
})
afterAll(() => backbone.dispose())

test('every file of the model is at most 8 MB', () => {
  const sizes = readdirSync(folder).map((file) => statSync(`${folder}/${file}`).size)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(MOST_BYTES)
})

test('builtin:nano-t5 opens, with a tokenizer that gives a text back', () => {
  const text = 'a small mammal of the genus'
  expect(backbone.kind).toBe('encoder-decoder')
  expect(backbone.tokenizer.decode(backbone.tokenizer.encode(text))).toBe(text)
  expect(backbone.config.vocabSize).toBe(backbone.tokenizer.vocabSize)
})

async function predicted(texts: string[], labels: Record<string, string>) {
  const task = { template: '{text}', labels: Object.keys(labels), verbalizer: labels }
  const found = await score({ backbone, prompt: null, task, texts })
  return found.map(({ prediction }) => prediction)
}

test('English is likelier than the same words in no order', async () => {
  const labels = {
    order: 'family of small plants with yellow flowers',
    disorder: 'flowers yellow with of plants small family',
  }
  expect(await predicted(['a member of the'], labels)).toEqual(['order'])
})

test('what is likely depends on what the encoder reads', async () => {
  const labels = { plants: 'shrubs and herbs', mail: 'mailing list' }
  const texts = ['a large genus of tropical', 'to unsubscribe, send a message to the']
  expect(await predicted(texts, labels)).toEqual(['plants', 'mail'])
})

async function continued(cache: boolean): Promise<string> {
  const text = 'a small mammal of the genus'
  const events = generate({ backbone, text, maxNewTokens: 12, cache })
  for await (const event of events) if (event.type === 'done') return event.text
  return ''
}

test('its greedy text is that of transformers, with and without kept keys and values', async () => {
  // T5ForConditionalGeneration.from_pretrained('models/nano-t5', dtype=float32), max_new_tokens=12
  const text = 'Acranidae: a family of fungi belonging to the'
  expect([await continued(true), await continued(false)]).toEqual([text, text])
})
