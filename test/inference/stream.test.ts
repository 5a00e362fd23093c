// Texts of tokens that no model would choose, piece by piece.

import { describe, expect, test } from 'vitest'
import {
  type Backbone,
  createBackbone,
  loadBackbone,
  loadTokenizer,
  type Tokenizer,
} from '../../lib/backbone/index.js'
import { type GenerateOptions, generate } from '../../lib/inference/index.js'
import { tensor } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { copyOf, editJson } from '../backbone/temporary.js'

async function collected(options: GenerateOptions) {
  const pieces: string[] = []
  const tokens: number[] = []
  for await (const event of generate(options)) {
    if (event.type === 'done') return { ...event, pieces, streamed: tokens }
    pieces.push(event.text)
    tokens.push(event.token)
  }
  throw new Error('no done event')
}

/** What a backbone says, greedily and by beam search, that chooses `wanted` whatever it reads. */
async function said(backbone: Backbone, wanted: readonly number[]) {
  const head = backbone.head.bind(backbone)
  const found = []
  for (const numBeams of [1, 2]) {
    let step = 0
    backbone.head = async (h, rows) => {
      const logits = (await head(h, rows)).mul(0)
      const next = wanted[step] as number
      step += 1
      const ids = Array.from({ length: logits.shape[0] as number }, () => [next])
      const index = tensor(ids, { dtype: 'int64' })
      return logits.scatter(1, index, tensor(ids.map(() => [99])))
    }
    const maxNewTokens = wanted.length
    found.push(await collected({ backbone, text: 'a', maxNewTokens, numBeams }))
  }
  backbone.head = head
  return found
}

const gpt2 = () => loadBackbone(fixture('gpt2-plain'))

/** Ids of the bytes, one each: the tokenizer's alphabet has them in the order of its characters. */
function byteIds(tokenizer: Tokenizer, bytes: readonly number[]): number[] {
  const { model } = JSON.parse(tokenizer.files['tokenizer.json'] as string)
  const shown = (byte: number) =>
    (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  const hidden = Array.from({ length: 256 }, (_, byte) => byte).filter((b) => !shown(b))
  return bytes.map((byte) => {
    const code = shown(byte) ? byte : 256 + hidden.indexOf(byte)
    return model.vocab[String.fromCharCode(code)] as number
  })
}

describe('the pieces add up to the text, which is the decoded tokens:', () => {
  const EURO = [0xe2, 0x82, 0xac]
  const cases: [string, number[], string[]][] = [
    ['whole characters', [0x61, ...EURO, 0x62], ['a', '', '', '€', 'b']],
    ['a last character cut short', [0x61, 0xe2, 0x82], ['a', '', '\uFFFD']],
    ['nothing but half a character', [0xe2], ['\uFFFD']],
    ['bytes of no character', [0x61, 0xff, 0xfe], ['a', '', '\uFFFD\uFFFD']],
    [
      'wrong bytes before and at the end',
      [0xac, 0x28, 0xff, 0xe2, 0x82, 0xe2],
      ['', '\uFFFD(', '', '', '', '\uFFFD\uFFFD\uFFFD'],
    ],
    ['a real U+FFFD at the end', [0x61, 0xef, 0xbf, 0xbd], ['a', '', '', '\uFFFD']],
  ]

  test.each(cases)('%s', async (_, bytes, pieces) => {
    const backbone = await gpt2()
    const wanted = byteIds(backbone.tokenizer, bytes)
    for (const found of await said(backbone, wanted)) {
      expect(found.streamed).toEqual(wanted)
      expect(found.pieces).toEqual(pieces)
      expect(found.text).toBe(pieces.join(''))
      expect(found.text).toBe(backbone.tokenizer.decode(wanted))
      expect(found.finishReason).toBe('length')
    }
    backbone.dispose()
  })

  test('a character cut short by the end of the text', async () => {
    const backbone = await gpt2()
    const { tokenizer } = backbone
    const wanted = byteIds(tokenizer, [0x61, 0xe2, 0x82])
    const end = tokenizer.eosTokenId as number
    for (const found of await said(backbone, [...wanted, end])) {
      expect(found.pieces).toEqual(['a', '', '\uFFFD'])
      expect(found).toMatchObject({
        text: 'a\uFFFD',
        tokens: wanted,
        finishReason: 'stop',
      })
    }
    backbone.dispose()
  })

  test('spaces and special tokens of a T5', async () => {
    const backbone = await loadBackbone(fixture('t5-plain'))
    const { tokenizer } = backbone
    const film = tokenizer.encode('the film was good')
    const [sentinel] = tokenizer.encode('<extra_id_0>') as [number]
    for (const wanted of [film, [sentinel, ...film], [...film, sentinel], [sentinel]]) {
      for (const found of await said(backbone, wanted)) {
        expect(found.pieces.join('')).toBe(found.text)
        expect(found.text).toBe(tokenizer.decode(wanted))
        expect(found.streamed).toEqual(wanted)
      }
    }
    backbone.dispose()
  })

  test('bytes that a tokenizer with byte fallback takes back stay as they were given', async () => {
    const folder = copyOf('gpt2-plain')
    const vocab = { '<unk>': 0, '<0x61>': 1, '<0xE2>': 2, b: 3 }
    editJson(folder, 'tokenizer.json', {
      added_tokens: [],
      pre_tokenizer: null,
      post_processor: null,
      decoder: {
        type: 'Sequence',
        decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }],
      },
      model: { type: 'BPE', vocab, merges: [], byte_fallback: true, unk_token: '<unk>' },
    })
    const backbone = await loadBackbone(folder)
    expect(backbone.tokenizer.decode([1, 2])).toBe('\uFFFD\uFFFD')
    for (const found of await said(backbone, [1, 2, 3])) {
      expect(found.pieces).toEqual(['a', '', '\uFFFDb'])
      expect(found.text).toBe('a\uFFFDb')
    }
    backbone.dispose()
  })
})

describe('a model with more rows than the tokenizer has tokens', () => {
  test.each([
    ['gpt2-plain', { hiddenSize: 16, heads: 2, layers: 1, positions: 32 }],
    ['t5-plain', { modelType: 't5', hiddenSize: 16, heads: 2, layers: 1 }],
  ])('generates ids that give no text: %s', async (folder, sizes) => {
    const config = { eos_token_id: 1 }
    const tokenizer = await loadTokenizer(fixture(folder), { config })
    const { vocabSize } = tokenizer
    const made = { ...sizes, vocabSize: vocabSize + 16 } as Parameters<
      typeof createBackbone
    >[0]
    const backbone: Backbone = await createBackbone(made as never, { seed: 0, tokenizer })
    const [a, b] = tokenizer.encode('a b').slice(-2) as [number, number]
    const wanted = [vocabSize, a, vocabSize + 15, b, vocabSize + 1]
    for (const found of await said(backbone, wanted)) {
      expect(found.streamed).toEqual(wanted)
      expect(found.pieces.join('')).toBe(found.text)
      expect(found.text).toBe(tokenizer.decode([a, b]))
    }
    backbone.dispose()
  })
})
