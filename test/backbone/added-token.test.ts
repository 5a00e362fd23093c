// Tokens that were added to a tokenizer behind the model's vocabulary, without rows for them.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  type Backbone,
  createBackbone,
  exportBackbone,
  loadBackbone,
  loadTokenizer,
  saveBackbone,
} from '../../lib/backbone/index.js'
import { fixture } from './golden.js'
import {
  copyOf,
  editJson,
  refusal,
  temporaryFolder,
  withAddedToken,
} from './temporary.js'

describe.each(['gpt2-plain', 't5-plain'])(
  '%s with a token added behind its rows',
  (name) => {
    const { folder, id } = withAddedToken(name)

    function check({ tokenizer, config, tokenEmbedding }: Backbone) {
      expect(config.vocabSize).toBe(id)
      expect(tokenEmbedding.shape[0]).toBe(id)
      expect(tokenizer.vocabSize).toBe(id + 1)
      expect(tokenizer.padTokenId).toBe(id)
      expect(tokenizer.encode('[PAD]')).toEqual([id])
    }

    test('opens', async () => {
      const backbone = await loadBackbone(folder)
      const plain = await loadBackbone(fixture(name))
      check(backbone)
      expect(backbone.fingerprint).toBe(plain.fingerprint)
      for (const one of [backbone, plain]) one.dispose()
    })

    test('is saved and exported with it, and opens again', async () => {
      const backbone = await loadBackbone(folder)
      const saved = temporaryFolder()
      await saveBackbone(saved, backbone)
      const file = join(saved, 'backbone.pt')
      await exportBackbone(file, backbone)
      for (const source of [saved, file]) {
        const again = await loadBackbone(source)
        check(again)
        expect(again.fingerprint).toBe(backbone.fingerprint)
        again.dispose()
      }
      backbone.dispose()
    })
  },
)

test('a fresh backbone has rows for added tokens unless it is told how many', async () => {
  const { folder, id } = withAddedToken('gpt2-plain')
  const tokenizer = await loadTokenizer(folder)
  expect([tokenizer.vocabSize, tokenizer.baseVocabSize]).toEqual([id + 1, id])
  const sizes = { hiddenSize: 16, heads: 2, layers: 1, positions: 32 }
  const whole = await createBackbone(sizes, { seed: 0, tokenizer })
  expect(whole.tokenEmbedding.shape).toEqual([id + 1, 16])
  const without = await createBackbone(
    { ...sizes, vocabSize: id },
    { seed: 0, tokenizer },
  )
  expect(without.tokenEmbedding.shape).toEqual([id, 16])
  for (const one of [whole, without]) one.dispose()
  await expect(
    createBackbone({ ...sizes, vocabSize: id - 1 }, { seed: 0, tokenizer }),
  ).rejects.toThrow(
    new RangeError(
      `Expected config.vocabSize to be at least the tokenizer's ${id} but received ${id - 1}`,
    ),
  )
})

test('a decoder that starts from a token without a row is refused', async () => {
  const folder = copyOf('t5-plain')
  editJson(folder, 'config.json', { decoder_start_token_id: 178 })
  expect(await refusal(folder)).toMatchObject({
    code: 'ERR_MODEL_FILE',
    message: expect.stringContaining(
      'decoder_start_token_id: expected a token id below 178 but received 178',
    ),
  })
  const tokenizer = await loadTokenizer(fixture('t5-plain'))
  const config = { modelType: 't5', layers: 1, decoderStartTokenId: 178 } as const
  await expect(createBackbone(config, { seed: 0, tokenizer })).rejects.toThrow(
    new RangeError(
      'Expected config.decoderStartTokenId to be below config.vocabSize 178 but received 178',
    ),
  )
})
