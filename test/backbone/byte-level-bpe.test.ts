// Golden values: test/fixtures/make_gpt2_tokenizer.py (transformers 5.18).

import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  loadBackbone,
  loadTokenizer,
  saveBackbone,
  type Tokenizer,
} from '../../lib/backbone/index.js'
import { fixture } from './golden.js'
import { copyOf, refusal, temporaryFolder } from './temporary.js'

interface Variant {
  name: string
  files: Record<string, Record<string, unknown>>
  tokenizer: Record<string, unknown>
  size: number
  special: { bos: number | null; eos: number; pad: number | null }
  rows: { text: string; ids: number[]; decoded: string; withoutSpecial: string }[]
}

const source = fixture('gpt2-tokenizer')
const read = (name: string) => readFileSync(join(source, name), 'utf8')
const { variants } = JSON.parse(read('expected.json')) as { variants: Variant[] }
const config = JSON.parse(read('config.json')) as Record<string, unknown>

/** The two files, and what else a folder has. */
function folderWith(files: Record<string, unknown>, into = temporaryFolder()): string {
  for (const name of ['vocab.json', 'merges.txt']) {
    copyFileSync(join(source, name), join(into, name))
  }
  for (const [name, content] of Object.entries(files)) {
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    writeFileSync(join(into, name), text)
  }
  return into
}

describe.each(variants)('vocab.json and merges.txt, $name,', (variant) => {
  let tokenizer: Tokenizer
  let saved: Tokenizer
  beforeAll(async () => {
    tokenizer = await loadTokenizer(folderWith(variant.files), { config })
    // As saveBackbone writes it, and as it is then read.
    const copy = temporaryFolder()
    for (const [name, text] of Object.entries(tokenizer.files)) {
      writeFileSync(join(copy, name), text)
    }
    saved = await loadTokenizer(copy, { config })
  })

  test('become the tokenizer.json that transformers makes of them', () => {
    const made = JSON.parse(tokenizer.files['tokenizer.json'] as string)
    const { vocab, merges, ...model } = made.model
    expect({ ...made, model }).toEqual(variant.tokenizer)
    expect(vocab).toEqual(JSON.parse(read('vocab.json')))
    const lines = merges.map((pair: string[]) => `${pair.join(' ')}\n`)
    expect(`#version: 0.2\n${lines.join('')}`).toBe(read('merges.txt'))
  })

  test('give the ids and texts of Python for hard strings', () => {
    expect(variant.rows.length).toBeGreaterThan(30)
    for (const one of [tokenizer, saved]) {
      for (const { text, ids, decoded, withoutSpecial } of variant.rows) {
        expect(one.encode(text), JSON.stringify(text.slice(0, 60))).toEqual(ids)
        expect(one.decode(ids, { skipSpecialTokens: false })).toBe(decoded)
        expect(one.decode(ids)).toBe(withoutSpecial)
      }
    }
  })

  test('name the special tokens', () => {
    const { bos, eos, pad } = variant.special
    for (const one of [tokenizer, saved]) {
      expect(one.vocabSize).toBe(variant.size)
      expect(one.baseVocabSize).toBe(512)
      expect(one.eosTokenId).toBe(eos)
      expect(one.padTokenId).toBe(pad ?? undefined)
      // Where tokenizer_config.json has none, config.json's counts here.
      expect(one.bosTokenId).toBe(bos ?? config.bos_token_id)
      const isBegun = variant.files['tokenizer_config.json']?.add_bos_token === true
      expect(one.firstTokenId).toBe(isBegun ? bos : undefined)
    }
  })
})

test('a folder with vocab.json and merges.txt opens as with tokenizer.json, and is saved with one', async () => {
  const folder = folderWith({}, copyOf('gpt2-plain'))
  rmSync(join(folder, 'tokenizer.json'))
  const backbone = await loadBackbone(folder)
  const plain = await loadBackbone(fixture('gpt2-plain'))
  expect(backbone.fingerprint).toBe(plain.fingerprint)
  expect(backbone.endTokenIds).toEqual(plain.endTokenIds)
  const text = 'The film was good, naïve café 🙂'
  expect(backbone.tokenizer.encode(text)).toEqual(plain.tokenizer.encode(text))
  const saved = temporaryFolder()
  await saveBackbone(saved, backbone)
  const again = await loadBackbone(saved)
  expect(again.tokenizer.encode(text)).toEqual(plain.tokenizer.encode(text))
  expect(again.tokenizer.eosTokenId).toBe(511)
  for (const one of [backbone, plain, again]) one.dispose()
})

test('merges with Windows line ends, without a version and without a last line end are the same', async () => {
  const plain = await loadTokenizer(folderWith({}), { config })
  const [, ...lines] = read('merges.txt').trimEnd().split('\n')
  for (const merges of [
    lines.join('\r\n'),
    lines.join('\n'),
    `${lines.join('\r\n')}\r\n`,
  ]) {
    const { files } = await loadTokenizer(folderWith({ 'merges.txt': merges }), {
      config,
    })
    expect(files['tokenizer.json']).toBe(plain.files['tokenizer.json'])
  }
})

describe('vocab.json and merges.txt are refused', () => {
  const refused = async (files: Record<string, unknown>, content = config) => {
    const folder = folderWith(files)
    const error: Error = await loadTokenizer(folder, { config: content }).then(
      () => new Error('loaded'),
      (error: unknown) => error as Error,
    )
    return { folder, error }
  }

  test.each([
    ['vocab.json', '[]', 'expected a JSON object'],
    ['vocab.json', '{"a": "1"}', 'expected ids but received "1" for the token "a"'],
    ['vocab.json', '{"a": -1}', 'expected ids but received -1 for the token "a"'],
    [
      'merges.txt',
      '#version: 0.2\na b\nabc\n',
      '3: expected two tokens with a space between but received "abc"',
    ],
    [
      'merges.txt',
      'a b\n\nb c\n',
      '2: expected two tokens with a space between but received ""',
    ],
    ['merges.txt', 'a zzzz\n', 'not a tokenizer: '],
    [
      'added_tokens.json',
      '{"[PAD]": "last"}',
      'expected ids but received "last" for the token "[PAD]"',
    ],
    [
      'tokenizer_config.json',
      '{"added_tokens_decoder": {"512": "[PAD]"}}',
      'added_tokens_decoder: expected a token with its content for 512',
    ],
  ])('where %s is %s', async (name, text, message) => {
    const { folder, error } = await refused({ [name]: text })
    expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
    expect(error.message).toContain(`${join(folder, name)}:`)
    expect(error.message).toContain(message)
  })

  test.each([
    ['RobertaTokenizer', { tokenizer_class: 'RobertaTokenizer' }, config],
    ['CodeGenTokenizer', undefined, { ...config, tokenizer_class: 'CodeGenTokenizer' }],
    ["t5's tokenizer", undefined, { model_type: 't5' }],
  ])('where they are those of %s', async (kind, settings, content) => {
    const files = settings === undefined ? {} : { 'tokenizer_config.json': settings }
    const { folder, error } = await refused(files, content)
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED' })
    expect(error.message).toContain(
      `${folder}: vocab.json and merges.txt are read as GPT-2's, but this is ${kind}. Python's`,
    )
    expect(error.message).toContain('save_pretrained')
  })

  test('where one of them is missing', async () => {
    for (const name of ['vocab.json', 'merges.txt']) {
      const folder = folderWith({}, copyOf('gpt2-plain'))
      for (const file of ['tokenizer.json', name]) rmSync(join(folder, file))
      expect(await refusal(folder)).toMatchObject({
        code: 'ERR_MODEL_FILE',
        message: expect.stringContaining(
          'neither a spiece.model nor vocab.json with merges.txt',
        ),
      })
    }
  })
})
