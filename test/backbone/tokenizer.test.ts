import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { loadTokenizer, type Tokenizer } from '../../lib/backbone/index.js'
import { fixture, golden } from './golden.js'
import { copyOf, editJson } from './temporary.js'

// Ids and texts are Python's: make_gpt2.py in test/fixtures.
const { tokenization, endOfTextId } = golden('gpt2-plain')
const texts = tokenization.map(({ text }) => text)
const ids = tokenization.map(({ ids }) => ids)

let tokenizer: Tokenizer
beforeAll(async () => {
  tokenizer = await loadTokenizer(fixture('gpt2-plain'))
})

test('encode gives the ids of Python', () => {
  for (const row of tokenization) expect(tokenizer.encode(row.text)).toEqual(row.ids)
})

test('encodeBatch and tokenize give the ids of encode', async () => {
  expect(tokenizer.encodeBatch(texts)).toEqual(ids)
  expect(await tokenizer.tokenize(texts)).toEqual(ids)
  expect(tokenizer.encodeBatch([])).toEqual([])
  expect(tokenizer.encodeBatch(['a'])).toEqual([tokenizer.encode('a')])
})

test('encode answers while tokenize is at work', async () => {
  const many = Array.from(
    { length: 2000 },
    (_, i) => `The film was good, and number ${i} too.`,
  )
  const pending = tokenizer.tokenize(many)
  expect(tokenizer.encode(texts[0] as string)).toEqual(ids[0])
  expect((await pending).length).toBe(2000)
})

test('decode and short texts do not wait behind long ones', async () => {
  const words = Array.from({ length: 60_000 }, (_, i) => `${(i * 7919) % 10_007}`)
  let answered = 0
  const pending = Array.from({ length: 8 }, (_, i) =>
    tokenizer.tokenize([words.slice(i).join(' ')]).then(() => {
      answered += 1
    }),
  )
  const [row] = tokenization
  for (let i = 0; i < 20; i++) {
    expect(tokenizer.decode(row?.ids ?? [])).toBe(row?.decoded)
    expect(await tokenizer.tokenize([row?.text ?? ''])).toEqual([row?.ids])
  }
  expect(answered).toBeLessThan(8)
  await Promise.all(pending)
})

test('decode gives the text of Python', () => {
  for (const row of tokenization) {
    expect(tokenizer.decode(row.ids, { skipSpecialTokens: false })).toBe(row.decoded)
  }
})

test('decode leaves special tokens out unless asked', () => {
  const [a, b] = [tokenizer.encode('a')[0] as number, tokenizer.encode('b')[0] as number]
  expect(tokenizer.decode([a, endOfTextId, b])).toBe('ab')
  expect(tokenizer.decode([a, endOfTextId, b], { skipSpecialTokens: false })).toBe(
    'a<|endoftext|>b',
  )
})

// transformers' decode of these ids gives the same.
test('decode gives nothing for an id that has no token', () => {
  const [a, b] = [tokenizer.encode('a')[0] as number, tokenizer.encode('b')[0] as number]
  for (const id of [512, 600, 2 ** 31, 2 ** 32, 2 ** 40]) {
    for (const skipSpecialTokens of [true, false]) {
      expect(tokenizer.decode([id], { skipSpecialTokens })).toBe('')
      expect(tokenizer.decode([a, id, b], { skipSpecialTokens })).toBe('ab')
    }
  }
})

test('vocabSize is above every id', () => {
  expect(tokenizer.vocabSize).toBe(512)
  expect(tokenizer.vocabSize).toBeGreaterThan(Math.max(...ids.flat()))
})

describe('special tokens', () => {
  test('are those of GPT-2 when no file names any', () => {
    expect(tokenizer.eosTokenId).toBe(endOfTextId)
    expect(tokenizer.bosTokenId).toBe(endOfTextId)
    expect(tokenizer.padTokenId).toBeUndefined()
    expect(tokenizer.firstTokenId).toBeUndefined()
  })

  test('are those that tokenizer_config.json names, before those of config.json', async () => {
    const folder = copyOf('gpt2-plain')
    const config = { eos_token_id: 3, bos_token_id: 4, pad_token_id: 5000 }
    const byId = await loadTokenizer(folder, { config })
    expect([byId.eosTokenId, byId.bosTokenId, byId.padTokenId]).toEqual([3, 4, undefined])
    const settings = { eos_token: '!', bos_token: { content: '"' }, pad_token: null }
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(settings))
    const byName = await loadTokenizer(folder, { config })
    expect([byName.eosTokenId, byName.bosTokenId, byName.padTokenId]).toEqual([
      0,
      1,
      undefined,
    ])
  })

  test('that the tokenizer puts first are named, not added', async () => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'tokenizer.json', {
      post_processor: {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: '<|endoftext|>', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
        ],
        pair: [
          { Sequence: { id: 'A', type_id: 0 } },
          { Sequence: { id: 'B', type_id: 1 } },
        ],
        special_tokens: {
          '<|endoftext|>': {
            id: '<|endoftext|>',
            ids: [endOfTextId],
            tokens: ['<|endoftext|>'],
          },
        },
      },
    })
    const dressed = await loadTokenizer(folder)
    expect(dressed.firstTokenId).toBe(endOfTextId)
    expect(dressed.encode(texts[0] as string)).toEqual(ids[0])
  })
})

test('truncation and padding that a file asks for are left out', async () => {
  const folder = copyOf('gpt2-plain')
  editJson(folder, 'tokenizer.json', {
    truncation: {
      direction: 'Right',
      max_length: 2,
      strategy: 'LongestFirst',
      stride: 0,
    },
    padding: {
      strategy: { Fixed: 30 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: '!',
    },
  })
  expect((await loadTokenizer(folder)).encodeBatch(texts)).toEqual(ids)
})

test('what is no text or no id is refused', () => {
  expect(() => tokenizer.encode(5 as unknown as string)).toThrow(
    'Expected text to be a string but received number',
  )
  expect(() => tokenizer.encodeBatch(['a', null as unknown as string])).toThrow(
    'Expected texts[1] to be a string but received null',
  )
  for (const wrong of [-1, 0.5, Number.NaN, 2 ** 60, '1' as unknown as number]) {
    expect(() => tokenizer.decode([0, wrong])).toThrow(
      new RangeError(
        `Expected ids[1] to be an integer of 0 or more but received ${wrong}`,
      ),
    )
  }
})

test('a file that is no tokenizer is refused with the reason', async () => {
  const folder = copyOf('gpt2-plain')
  const path = join(folder, 'tokenizer.json')
  for (const text of ['{', '{}', '']) {
    writeFileSync(path, text)
    await expect(loadTokenizer(folder)).rejects.toMatchObject({
      code: 'ERR_MODEL_FILE',
      message: expect.stringContaining(`${path}: not a tokenizer: `),
    })
  }
})
