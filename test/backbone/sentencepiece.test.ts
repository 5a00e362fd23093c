// Golden values: test/fixtures/make_t5_tokenizer.py (transformers 5.18, sentencepiece).

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { loadTokenizer, type Tokenizer } from '../../lib/backbone/index.js'
import { tokenizerJson } from '../../lib/backbone/sentencepiece.js'
import { fixture } from './golden.js'
import { temporaryFolder } from './temporary.js'

const folder = fixture('t5-tokenizer')
const read = (name: string) => readFileSync(join(folder, name))
const golden = JSON.parse(read('expected.json').toString()) as {
  vocabSize: number
  rows: { text: string; ids: number[]; decoded: string }[]
}
const config = JSON.parse(read('config.json').toString()) as Record<string, unknown>
const model = read('spiece.model')

describe('a spiece.model', () => {
  let tokenizer: Tokenizer
  let saved: Tokenizer
  beforeAll(async () => {
    tokenizer = await loadTokenizer(folder, { config })
    // As saveBackbone writes it, and as it is then read.
    const copy = temporaryFolder()
    writeFileSync(
      join(copy, 'tokenizer.json'),
      tokenizer.files['tokenizer.json'] as string,
    )
    saved = await loadTokenizer(copy, { config })
  })

  test('becomes the tokenizer.json that transformers makes of it', () => {
    const made = JSON.parse(tokenizer.files['tokenizer.json'] as string)
    const expected = JSON.parse(read('tokenizer.expected.json').toString())
    made.normalizer = made.normalizer.type
    const scores = ({ model }: { model: { vocab: [string, number][] } }) =>
      model.vocab.map(([piece, score]) => [piece, Math.fround(score)])
    expect(scores(made)).toEqual(scores(expected))
    for (const one of [made, expected]) one.model.vocab = undefined
    expect(made).toEqual(expected)
  })

  test('gives the ids of Python for hard strings', () => {
    expect(golden.rows.length).toBeGreaterThan(80)
    for (const { text, ids } of golden.rows) {
      expect(tokenizer.encode(text), JSON.stringify(text.slice(0, 60))).toEqual(ids)
      expect(saved.encode(text)).toEqual(ids)
    }
  })

  test('gives the text of Python back', () => {
    for (const { ids, decoded } of golden.rows) {
      expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(decoded)
    }
  })

  test('has the special tokens of T5, and sentinels behind all pieces', () => {
    expect(tokenizer.vocabSize).toBe(golden.vocabSize)
    expect([tokenizer.padTokenId, tokenizer.eosTokenId]).toEqual([0, 1])
    expect(tokenizer.encode('<extra_id_0>')).toEqual([golden.vocabSize - 1])
    expect(tokenizer.encode('<extra_id_99>')).toEqual([golden.vocabSize - 100])
  })

  test('has as many sentinels as tokenizer_config.json says', async () => {
    const copy = temporaryFolder()
    writeFileSync(join(copy, 'spiece.model'), model)
    writeFileSync(join(copy, 'tokenizer_config.json'), '{"extra_ids": 0}')
    const { vocabSize } = await loadTokenizer(copy, { config })
    expect(vocabSize).toBe(golden.vocabSize - 100)
    writeFileSync(join(copy, 'tokenizer_config.json'), '{"extra_ids": -1}')
    await expect(loadTokenizer(copy, { config })).rejects.toThrow(/extra_ids/)
  })
})

describe('a spiece.model is refused', () => {
  const refusal = (bytes: Uint8Array) => {
    try {
      tokenizerJson(bytes, 'spiece.model')
    } catch (error) {
      return error
    }
    return new Error('converted')
  }
  /** A field of kind 0, a number, below 128. */
  const number = (field: number, value: number) =>
    field < 16 ? [field * 8, value] : [((field * 8) % 128) | 0x80, field >> 4, value]
  const nested = (field: number, bytes: number[]) => [
    field * 8 + 2,
    bytes.length,
    ...bytes,
  ]
  const piece = nested(1, nested(1, [97]))
  const rules = nested(3, [])

  test.each([
    ['empty', [], /holds no pieces/],
    ['text', [...Buffer.from('not a model at all')], /not a SentencePiece model/],
    ['a number without end', Array(20).fill(0xff), /number without end/],
    ['a field that is too long', [10, 100, 1, 2], /ends inside a field/],
    ['a piece that is no UTF-8', nested(1, nested(1, [0xff, 0xfe])), /not a Sentence/],
    [
      'an unknown piece that is not there',
      [...piece, ...nested(2, number(40, 9)), ...rules],
      /no unknown/,
    ],
    ['no settings', piece, /ends before its settings/],
    ['no end token', [...piece, ...nested(2, number(40, 0)), ...rules], /no piece <\/s>/],
  ])('%s', (_, bytes, message) => {
    const error = refusal(Uint8Array.from(bytes))
    expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
    expect(String(error)).toMatch(message)
  })

  test.each([
    ['BPE', number(3, 2), /not Unigram/],
    ['byte fallback', number(35, 1), /byte fallback/],
  ])('of the kind %s, with what to do', (_, spec, message) => {
    const error = refusal(Uint8Array.from([...piece, ...nested(2, spec), ...rules]))
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED' })
    expect(String(error)).toMatch(message)
    expect(String(error)).toContain('save_pretrained')
  })

  test('cut short anywhere, without a crash', () => {
    for (let length = 0; length < 2000; length += 7) {
      const error = refusal(model.subarray(0, length))
      expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
    }
  })
})
