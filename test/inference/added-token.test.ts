// A token that the tokenizer has and the model has no row for: what uses it is refused by name, the rest
// is as without it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { encodeLabels, encodeTexts } from '../../lib/inference/encode.js'
import { generate, score } from '../../lib/inference/index.js'
import { createPrompt } from '../../lib/prompt/index.js'
import { fixture } from '../backbone/golden.js'
import { editJson, withAddedToken } from '../backbone/temporary.js'

const task = {
  template: '{text}',
  labels: ['good', 'bad'],
  verbalizer: { good: 'good', bad: 'bad' },
}

async function generated(backbone: Backbone, text: string) {
  for await (const event of generate({ backbone, text, maxNewTokens: 5 })) {
    if (event.type === 'done') return event
  }
  throw new Error('no done event')
}

describe.each(['gpt2-plain', 't5-plain'])('%s', (name) => {
  const { folder, id } = withAddedToken(name)
  const wrong = `the token "[PAD]" with the id ${id}, but the model's vocab_size is ${id}`
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await loadBackbone(folder)
  })
  afterAll(() => backbone.dispose())

  test('scores and generates other texts as without it', async () => {
    const plain = await loadBackbone(fixture(name))
    const texts = ['the film was', 'a dog']
    const of = (backbone: Backbone) => score({ backbone, prompt: null, task, texts })
    expect(await of(backbone)).toEqual(await of(plain))
    expect(await generated(backbone, 'a dog')).toEqual(await generated(plain, 'a dog'))
    plain.dispose()
  })

  test('refuses a row with it, by file and line or number', async () => {
    const fields = { text: 'the film [PAD] was' }
    const source = { file: 'rows.jsonl', line: 3 }
    const encode = (template: string, rows: Parameters<typeof encodeTexts>[2]) =>
      encodeTexts(backbone, template, rows, 30)
    await expect(encode('{text}', [{ fields, source }])).rejects.toMatchObject({
      code: 'ERR_DATA',
      message: `rows.jsonl:3: the text has ${wrong}`,
    })
    const fine = { fields: { text: 'a dog' } }
    await expect(encode('{text}', [fine, { fields }])).rejects.toMatchObject({
      code: 'ERR_DATA',
      message: `example 1: the text has ${wrong}`,
    })
    await expect(encode('{text}[PAD]', [fine])).rejects.toMatchObject({
      message: `example 0: the text has ${wrong}`,
    })
    const scores = score({ backbone, prompt: null, task, texts: [fields] })
    await expect(scores).rejects.toThrow(wrong)
  })

  test('takes a row from which it is cut off', async () => {
    const fields = { text: `${'the film was good. '.repeat(9)}[PAD]` }
    const [row] = await encodeTexts(backbone, '{text}', [{ fields }], 10)
    expect(row?.ids).not.toContain(id)
  })

  test('refuses labels and candidates with it', async () => {
    const words = { good: 'good [PAD]', bad: 'bad' }
    expect(() => encodeLabels(backbone, { ...task, verbalizer: words })).toThrow(
      new RangeError(
        `Expected the words of a label, "good [PAD]", to be of tokens that the model knows but received ${wrong}`,
      ),
    )
    const candidates = [
      [
        { label: 'a', words: 'a' },
        { label: 'b', words: '[PAD]' },
      ],
    ]
    const texts = ['the dog']
    const scores = score({ backbone, prompt: null, task, texts, candidates })
    await expect(scores).rejects.toMatchObject({
      code: 'ERR_DATA',
      message: `example 0: the candidate "${name === 'gpt2-plain' ? ' ' : ''}[PAD]" has ${wrong}`,
    })
  })

  test('refuses to continue a text with it', async () => {
    await expect(generated(backbone, 'a [PAD]')).rejects.toThrow(
      new RangeError(
        `Expected text to be of tokens that the model knows but received ${wrong}`,
      ),
    )
  })

  test('refuses to start a prompt from it', () => {
    const start = (init: string, labels?: string[]) =>
      createPrompt(backbone, { length: 4, method: 'full', init, labels })
    expect(() => start('text:the [PAD]')).toThrow(
      new RangeError(
        `Expected the words after 'text:' in init to be of tokens that the model knows but received ${wrong}`,
      ),
    )
    expect(() => start('labels', ['good', '[PAD]'])).toThrow(
      new RangeError(
        `Expected the words of the labels to be of tokens that the model knows but received ${wrong}`,
      ),
    )
  })
})

test('a T5 whose end token has no row is refused where a text is to be ended', async () => {
  const { folder, id } = withAddedToken('t5-plain')
  editJson(folder, 'tokenizer_config.json', { eos_token: '[PAD]' })
  const backbone = await loadBackbone(folder)
  const message =
    `${folder}: what ends a text is the token "[PAD]" with the id ${id}, ` +
    `but the model's vocab_size is ${id}`
  const refused = { code: 'ERR_MODEL_FILE', message }
  await expect(generated(backbone, 'a dog')).rejects.toMatchObject(refused)
  expect(() => encodeLabels(backbone, task)).toThrow(expect.objectContaining(refused))
  backbone.dispose()
})

test('a GPT-2 whose end token has no row goes on, and cannot start from nothing', async () => {
  const { folder } = withAddedToken('gpt2-plain')
  editJson(folder, 'tokenizer_config.json', { eos_token: '[PAD]' })
  const backbone = await loadBackbone(folder)
  for (const numBeams of [1, 2]) {
    const options = {
      backbone,
      text: 'a dog',
      maxNewTokens: 5,
      minNewTokens: 3,
      numBeams,
    }
    let last: unknown
    for await (const event of generate(options)) last = event
    expect(last).toMatchObject({ type: 'done', finishReason: 'length' })
  }
  await expect(generated(backbone, '')).rejects.toThrow('"[PAD]"')
  backbone.dispose()
})
