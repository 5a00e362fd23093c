// What bounds the text that a token stands for.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { charactersPerToken } from '../../lib/backbone/token-length.js'
import { loadTokenizer } from '../../lib/backbone/tokenizer.js'
import { randomNumbers } from '../train/random-cases.js'
import { fixture } from './golden.js'

const path = `${fixture('gpt2-plain')}/tokenizer.json`
const json = readFileSync(path, 'utf8')

describe('of byte-level BPE', () => {
  test('it is the longest token', async () => {
    expect(charactersPerToken(json)).toBe(13)
    expect((await loadTokenizer(path)).charactersPerToken).toBe(13)
    const other = JSON.parse(json)
    other.added_tokens.push({ id: 512, content: '<|a longer one|>', special: true })
    expect(charactersPerToken(JSON.stringify(other))).toBe(16)
  })

  test('no text has fewer tokens than it says', async () => {
    const tokenizer = await loadTokenizer(path)
    const next = randomNumbers(4)
    const { vocab } = JSON.parse(json).model as { vocab: Record<string, number> }
    const longest = Object.values(vocab).map((id) => tokenizer.decode([id]))
    const pieces = [
      ...longest,
      '👋🏽',
      '世界',
      'ß',
      '\u0000',
      '\ud800',
      '   ',
      '\n\n',
      '\u200b',
    ]
    for (let i = 0; i < 300; i++) {
      const text = Array.from(
        { length: 1 + Math.floor(next() * 20) },
        () => pieces[Math.floor(next() * pieces.length)],
      ).join('')
      const { length } = tokenizer.encode(text)
      expect(text.length).toBeLessThanOrEqual(length * tokenizer.charactersPerToken!)
    }
  })
})

type Json = Record<string, unknown> & { model: { vocab: Record<string, number> } }
test.each([
  ['a normalizer', (json: Json) => Object.assign(json, { normalizer: { type: 'NFC' } })],
  [
    'a splitter that removes',
    (json: Json) =>
      Object.assign(json, {
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [{ type: 'Split', behavior: 'Removed' }, { type: 'ByteLevel' }],
        },
      }),
  ],
  [
    'words without bytes',
    (json: Json) => Object.assign(json, { pre_tokenizer: { type: 'Whitespace' } }),
  ],
  [
    'an added token that takes the white space before it',
    (json: Json) =>
      Object.assign(json, { added_tokens: [{ content: '<mask>', lstrip: true }] }),
  ],
  ['a byte without a token', ({ model }: Json) => delete model.vocab['!']],
])('nothing bounds it with %s', (_, change) => {
  const changed = JSON.parse(json) as Json
  change(changed)
  expect(charactersPerToken(JSON.stringify(changed))).toBe(Number.POSITIVE_INFINITY)
})

test('nothing bounds it in a SentencePiece vocabulary', async () => {
  const tokenizer = await loadTokenizer(fixture('t5-plain'))
  expect(tokenizer.charactersPerToken).toBe(Number.POSITIVE_INFINITY)
})
