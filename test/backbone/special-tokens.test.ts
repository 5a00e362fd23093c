// Which tokens end a text, as the files of a checkpoint say it. That `generate` of transformers 5.18 stops at one id
// as at a list of it, generation_config.json's before config.json's, was tried on gpt2-plain.

import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  createBackbone,
  exportBackbone,
  loadBackbone,
  loadTokenizer,
  saveBackbone,
} from '../../lib/backbone/index.js'
import { fixture } from './golden.js'
import { copyOf, editJson, refusal, temporaryFolder } from './temporary.js'

/** A gpt2-plain whose two files say so of `eos_token_id`; undefined: not there. */
function folderWith(generation: unknown, config: unknown): string {
  const folder = copyOf('gpt2-plain')
  editJson(folder, 'generation_config.json', { eos_token_id: generation })
  editJson(folder, 'config.json', { eos_token_id: config })
  return folder
}

async function endsOf(source: string): Promise<readonly number[]> {
  const backbone = await loadBackbone(source)
  backbone.dispose()
  return backbone.endTokenIds
}

test.each([
  ['generation_config.json lists', [5, 9], 511, [5, 9]],
  ['generation_config.json lists before config.json', [5, 9], [6, 7], [5, 9]],
  ['config.json lists where the other says nothing', undefined, [6, 7], [6, 7]],
  ['config.json lists where the other says null', null, [6, 7], [6, 7]],
  ['is listed, each once', [9, 5, 9], 511, [9, 5]],
  ['is listed and has a row', [5, 512, -1, 2 ** 40], 511, [5]],
  ['is listed, nothing where none has a row', [600], 511, []],
  ['generation_config.json says before config.json', 5, 511, [5]],
  ['generation_config.json says before a list', 5, [6, 7], [5]],
  ['config.json says where the other says nothing', undefined, 6, [6]],
])('what ends a text is what %s', async (_, generation, config, ends) => {
  expect(await endsOf(folderWith(generation, config))).toEqual(ends)
})

test.each([
  ['one id in each file', 511, 511],
  ["transformers' default, which has no row", 50256, [6, 7]],
  ['nothing', undefined, undefined],
])(
  "where no id counts it is the tokenizer's token: %s",
  async (_, generation, config) => {
    const folder = folderWith(generation, config)
    writeFileSync(join(folder, 'tokenizer_config.json'), '{"eos_token": "<|endoftext|>"}')
    expect(await endsOf(folder)).toEqual([511])
    if (generation !== undefined) return
    rmSync(join(folder, 'generation_config.json'))
    expect(await endsOf(folder)).toEqual([511])
  },
)

test('one id ends a text also where nothing names a token of the tokenizer', async () => {
  const folder = copyOf('t5-plain')
  editJson(folder, 'generation_config.json', { eos_token_id: 5 })
  editJson(folder, 'config.json', { eos_token_id: undefined })
  const backbone = await loadBackbone(folder)
  expect(backbone.tokenizer.eosTokenId).toBeUndefined()
  expect(backbone.endTokenIds).toEqual([5])
  backbone.dispose()
})

test.each([
  [
    [5, '9'],
    511,
    'generation_config.json: eos_token_id: expected token ids but received "9"',
  ],
  [undefined, [5.5], 'config.json: eos_token_id: expected token ids but received 5.5'],
  ['5', 511, 'generation_config.json: eos_token_id: expected token ids but received "5"'],
])('something else is refused: %j, %j', async (generation, config, message) => {
  const folder = folderWith(generation, config)
  expect(await refusal(folder)).toMatchObject({
    code: 'ERR_MODEL_FILE',
    message: `${folder}: ${message}`,
  })
})

describe('what is said is kept', () => {
  test.each([
    ['gpt2-plain', [9, 511, 5]],
    ['gpt2-plain', [7]],
    ['gpt2-plain', [600]],
    ['gpt2-plain', 5],
    ['t5-plain', [1, 9]],
    ['t5-plain', 1],
  ])('in a saved folder and a .pt of %s: %j', async (name, ends) => {
    const folder = copyOf(name)
    editJson(folder, 'generation_config.json', { eos_token_id: ends })
    const backbone = await loadBackbone(folder)
    const saved = temporaryFolder()
    await saveBackbone(saved, backbone)
    const file = join(saved, 'backbone.pt')
    await exportBackbone(file, backbone)
    for (const source of [saved, file]) {
      const again = await loadBackbone(source)
      expect(again.endTokenIds).toEqual(backbone.endTokenIds)
      expect(again.tokenizer.eosTokenId).toBe(backbone.tokenizer.eosTokenId)
      again.dispose()
    }
    backbone.dispose()
  })
})

describe('a fresh backbone', () => {
  const sizes = { hiddenSize: 16, heads: 2, layers: 1, positions: 32 }

  test("ends with the tokenizer's token, or what its raw fields list", async () => {
    const tokenizer = await loadTokenizer(fixture('gpt2-plain'))
    const plain = await createBackbone(sizes, { seed: 0, tokenizer })
    expect(plain.endTokenIds).toEqual([511])
    const raw = { eos_token_id: [4, 511] }
    const listing = await createBackbone({ ...sizes, raw }, { seed: 0, tokenizer })
    expect(listing.endTokenIds).toEqual([4, 511])
    for (const one of [plain, listing]) one.dispose()
    const wrong = { ...sizes, raw: { eos_token_id: [null] } }
    await expect(createBackbone(wrong, { seed: 0, tokenizer })).rejects.toThrow(
      new TypeError('config.raw: eos_token_id: expected token ids but received null'),
    )
  })
})
