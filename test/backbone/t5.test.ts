import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createBackbone,
  type EncoderDecoderBackbone,
  loadBackbone,
  saveBackbone,
} from '../../lib/backbone/index.js'
import {
  Generator,
  parameter,
  randn,
  type Tensor,
  tensor,
  tidy,
} from '../../lib/torch/index.js'
import { distance, fixture } from './golden.js'
import { batchLogits, goldenT5, loadT5, T5_CHECKPOINTS } from './golden-t5.js'
import { copyOf, editJson, editWeights, temporaryFolder } from './temporary.js'

describe.each(T5_CHECKPOINTS)('%s gives the logits of transformers', (name) => {
  const golden = goldenT5(name)

  test.each([
    ['float32', 1e-4],
    ['float64', 1e-11],
  ] as const)('in %s', async (dtype, limit) => {
    const backbone = await loadT5(name, { dtype })
    await tidy(async () => {
      const expected = golden.value(`logits.${dtype}`)
      expect(distance(await batchLogits(backbone, golden), expected)).toBeLessThan(limit)
    })
    backbone.dispose()
  })

  test('in bfloat16, no further off than 1.5 times transformers', async () => {
    const backbone = await loadT5(name, { dtype: 'bfloat16' })
    await tidy(async () => {
      const logits = await batchLogits(backbone, golden)
      const error = logits.to('float32').sub(golden.value('logits.float32')).abs().mean()
      expect(error.item()).toBeLessThan(1.5 * golden.bfloat16Error)
    })
    backbone.dispose()
  })

  test('in float16, with what overflows there kept in float32', async () => {
    const backbone = await loadT5(name, { dtype: 'float16' })
    await tidy(async () => {
      const logits = await batchLogits(backbone, golden)
      const error = logits.to('float32').sub(golden.value('logits.float32')).abs().mean()
      expect(error.item()).toBeLessThan(golden.bfloat16Error)
      for (const [parameter, { dtype }] of backbone.parameters()) {
        const kept = parameter.endsWith('.DenseReluDense.wo.weight')
        expect(dtype, parameter).toBe(kept ? 'float32' : 'float16')
      }
    })
    backbone.dispose()
  })
})

describe('an output of the MLP beyond float16', () => {
  test('stays finite in a float16 model', async () => {
    const tokenizer = (await loadT5('t5-plain')).tokenizer
    const config = { modelType: 't5', hiddenSize: 16, heads: 2, headSize: 8 } as const
    const sizes = { innerSize: 32, layers: 2, vocabSize: 300 }
    const backbone = await createBackbone(
      { ...config, ...sizes },
      { seed: 0, tokenizer, dtype: 'float16' },
    )
    await tidy(async () => {
      const wo = 'encoder.block.0.layer.1.DenseReluDense.wo.weight'
      const parameter = backbone.parameters().get(wo) as Tensor
      await parameter.copy_(parameter.mul(1e6))
      const x = await backbone.embed(tensor([[5, 6, 7]], { dtype: 'int64' }))
      const between = await backbone.encode({ x, last: 1 })
      expect(between.dtype).toBe('float32')
      expect(between.abs().amax().item()).toBeGreaterThan(65504)
      const encoded = await backbone.encode({ x: between, first: 1 })
      expect(encoded.dtype).toBe('float16')
      expect(Number.isFinite(encoded.to('float32').sum().item())).toBe(true)
    })
    backbone.dispose()
  })
})

describe('a T5', () => {
  const golden = goldenT5('t5-gated')
  let backbone: EncoderDecoderBackbone
  beforeAll(async () => {
    backbone = await loadT5('t5-gated', { dtype: 'float64' })
  })
  afterAll(() => backbone.dispose())

  const int64 = (values: number[][]) => tensor(values, { dtype: 'int64' })
  const ids = golden.value('ids')
  const mask = golden.value('mask')
  const decoder = golden.value('decoder')

  test('decodes position by position as all at once', async () => {
    await tidy(async () => {
      const x = await backbone.embed(ids)
      const cross = await backbone.crossKeyValues(await backbone.encode({ x, mask }))
      const rows = await backbone.embed(decoder)
      const whole = (await backbone.decode({ x: rows, cross, crossMask: mask })).hidden
      let past: Tensor[] = []
      for (let at = 0; at < 6; at += 1) {
        const step = rows.slice(1, at, at + 1)
        const read = await backbone.decode({ x: step, past, cross, crossMask: mask })
        past = read.present
        const expected = whole.slice(1, at, at + 1)
        expect(distance(read.hidden, expected)).toBeLessThan(1e-12)
      }
      const options = { x: rows, cross, crossMask: mask, present: false }
      const { hidden, present } = await backbone.decode(options)
      expect([present.length, hidden.equal(whole)]).toEqual([0, true])
    })
  })

  test.each([
    ['padded', true, 0],
    ['without padding', false, 0],
    ['behind a past of its own', true, 2],
  ])(
    'decodes over the encoded text as over its keys and values: %s',
    async (_, isMasked, P) => {
      await tidy(async () => {
        const { heads, headSize, decoderLayers, hiddenSize: H } = backbone.config
        const generator = new Generator({ seed: 3 })
        const float64 = (shape: number[]) => randn(shape, { generator, dtype: 'float64' })
        const crossMask = isMasked ? mask : undefined
        const kept = Array.from({ length: P === 0 ? 0 : 2 * decoderLayers }, () =>
          float64([1, heads, P, headSize]),
        )
        const start = [
          (await backbone.embed(decoder)).detach(),
          await backbone.encode({ x: await backbone.embed(ids), mask: crossMask }),
          ...kept,
        ]
        const weight = float64([...decoder.shape, H])
        const resultOf = async (
          decode: (x: Tensor, encoded: Tensor, past: Tensor[]) => Promise<Tensor>,
        ) => {
          const leaves = start.map((one) => parameter(one))
          const hidden = await decode(
            leaves[0] as Tensor,
            leaves[1] as Tensor,
            leaves.slice(2),
          )
          await hidden.mul(weight).sum().backward()
          const grads = await Promise.all(leaves.map((leaf) => leaf.grad()))
          return [hidden, ...(grads as Tensor[])]
        }
        const direct = await resultOf((x, encoded, past) =>
          backbone.decodeEncoded({ x, encoded, past, crossMask }),
        )
        const projected = await resultOf(async (x, encoded, past) => {
          const cross = await backbone.crossKeyValues(encoded)
          return (await backbone.decode({ x, cross, past, crossMask })).hidden
        })
        expect(direct.length).toBe(3 + kept.length)
        for (const [i, expected] of projected.entries()) {
          expect(expected.abs().amax().item()).toBeGreaterThan(1e-3)
          expect(distance(direct[i] as Tensor, expected)).toBeLessThan(1e-11)
        }
      })
    },
  )

  test('gives a row the same alone as beside longer ones', async () => {
    await tidy(async () => {
      const together = await batchLogits(backbone, golden)
      const length = golden.lengths[1] as number
      const x = await backbone.embed(ids.slice(0, 1, 2).slice(1, 0, length))
      const cross = await backbone.crossKeyValues(await backbone.encode({ x }))
      const own = await backbone.embed(decoder.slice(0, 1, 2))
      const { hidden } = await backbone.decode({ x: own, cross })
      const alone = await backbone.head(hidden.select(0, 0))
      expect(distance(alone, together.select(0, 1))).toBeLessThan(1e-11)
    })
  })

  test('shares keys and values of batch 1 among rows', async () => {
    await tidy(async () => {
      const x = await backbone.embed(ids.slice(0, 0, 1))
      const cross = await backbone.crossKeyValues(await backbone.encode({ x }))
      const first = await backbone.decode({
        x: await backbone.embed(decoder.slice(0, 0, 1).slice(1, 0, 2)),
        cross,
      })
      const shared = await backbone.decode({
        x: await backbone.embed(int64([[9], [30]])),
        past: first.present,
        cross,
      })
      const alone = await backbone.decode({
        x: await backbone.embed(int64([[30]])),
        past: first.present,
        cross,
      })
      expect(distance(shared.hidden.slice(0, 1, 2), alone.hidden)).toBeLessThan(1e-12)
    })
  })

  test('runs in ranges of layers as in one go', async () => {
    await tidy(async () => {
      const x = await backbone.embed(ids)
      const whole = await backbone.encode({ x, mask })
      const half = await backbone.encode({ x, mask, last: 1 })
      const rest = await backbone.encode({ x: half, mask, first: 1 })
      expect(distance(rest, whole)).toBe(0)

      const cross = await backbone.crossKeyValues(whole)
      const rows = { x: await backbone.embed(decoder), cross, crossMask: mask }
      const once = await backbone.decode(rows)
      const begun = await backbone.decode({ ...rows, last: 2 })
      const done = await backbone.decode({ ...rows, x: begun.hidden, first: 2 })
      expect(distance(done.hidden, once.hidden)).toBe(0)
      expect(begun.present.length + done.present.length).toBe(once.present.length)
    })
  })

  test('gives logits of the named rows alone', async () => {
    await tidy(async () => {
      const h = tensor([[...Array(24).keys()]], { dtype: 'float64' })
      const rows = tensor([4, 100], { dtype: 'int64' })
      const all = await backbone.head(h)
      const some = await backbone.head(h, rows)
      expect(distance(some, all.indexSelect(1, rows))).toBeLessThan(1e-12)
    })
  })

  test('refuses embeddings, masks, layers and keys that do not fit, by name', async () => {
    await tidy(async () => {
      const wide = tensor([[[0, 0, 0, 0, 0, 0, 0]]], { dtype: 'float64' })
      await expect(backbone.encode({ x: wide })).rejects.toThrow(
        /x of shape \[B, S, 24\]/,
      )
      const x = await backbone.embed(ids)
      const narrow = mask.slice(1, 0, 5)
      await expect(backbone.encode({ x, mask: narrow })).rejects.toThrow(/mask of shape/)
      await expect(backbone.encode({ x, last: 3 })).rejects.toThrow(/last <= 2/)
      const cross = await backbone.crossKeyValues(await backbone.encode({ x, mask }))
      const rows = await backbone.embed(decoder)
      const few = cross.slice(2)
      await expect(backbone.decode({ x: rows, cross: few })).rejects.toThrow(
        /cross to hold 6 tensors/,
      )
      await expect(
        backbone.decode({ x: rows, cross, crossMask: narrow }),
      ).rejects.toThrow(/crossMask of shape/)
      await expect(backbone.decode({ x: rows, cross, past: few })).rejects.toThrow(
        /past to hold 6 tensors/,
      )
      const encoded = await backbone.encode({ x, mask })
      const refused = (wrong: object) =>
        expect(backbone.decodeEncoded({ x: rows, encoded, ...wrong })).rejects
      await refused({ x: wide }).toThrow(/x of shape \[B, Q, 24\]/)
      await refused({ encoded: encoded.slice(0, 0, 1) }).toThrow(
        /encoded of shape \[\d, S/,
      )
      await refused({ past: few }).toThrow(/past to hold 6 tensors/)
      await refused({ crossMask: narrow }).toThrow(/crossMask of shape/)
    })
  })
})

describe('a T5 folder', () => {
  test.each([...T5_CHECKPOINTS])('of %s, saved, opens as the same', async (name) => {
    const backbone = await loadT5(name)
    const to = temporaryFolder()
    await saveBackbone(to, backbone)
    const again = await loadBackbone(to)
    expect(again.fingerprint).toBe(backbone.fingerprint)
    expect({ ...again.config, raw: null }).toEqual({ ...backbone.config, raw: null })
    backbone.dispose()
    again.dispose()
  })

  test('says whether the output matrix is separate and scaled', async () => {
    const facts = []
    for (const name of T5_CHECKPOINTS) {
      const backbone = await loadT5(name)
      facts.push([name, backbone.config.tiedHead, backbone.config.scaleOutput])
      backbone.dispose()
    }
    expect(facts).toEqual([
      ['t5-plain', true, true],
      ['t5-gated', false, false],
      ['t5-old-tied', true, true],
      ['t5-old-untied', false, false],
      ['t5-buckets', true, true],
      ['mt5', false, false],
    ])
  })

  test.each([
    [{ feed_forward_proj: 'gated-softplus' }, /feed_forward_proj: gated-softplus/],
    [{ d_model: 0 }, /d_model/],
    [{ relative_attention_num_buckets: 6 }, /relative_attention_num_buckets/],
    [{ relative_attention_max_distance: 16 }, /relative_attention_max_distance/],
    [{ is_encoder_decoder: false }, /is_encoder_decoder/],
    [{ quantization_config: { bits: 4 } }, /quantization_config/],
    [{ decoder_start_token_id: 'pad' }, /decoder_start_token_id/],
    [{ num_layers: 4 }, /encoder\.block\.3/],
    [{ d_ff: 41 }, /DenseReluDense/],
    [
      { tie_word_embeddings: false, scale_decoder_outputs: true },
      /lm_head\.weight is missing/,
    ],
  ])('with %j is refused by name', async (change, message) => {
    const copy = copyOf('t5-plain')
    editJson(copy, 'config.json', change)
    await expect(loadBackbone(copy)).rejects.toThrow(message)
  })

  test('whose copy of the embedding differs is refused', async () => {
    const copy = copyOf('t5-old-tied')
    await editWeights(copy, (weights) => {
      const name = 'encoder.embed_tokens.weight'
      weights.set(name, (weights.get(name) as Tensor).add(1))
    })
    await expect(loadBackbone(copy)).rejects.toThrow(
      /encoder\.embed_tokens\.weight should be a copy of shared\.weight/,
    )
  })
})

test('a fresh T5 has one parameter a name and its seed alone decides it', async () => {
  const { tokenizer } = await loadBackbone(fixture('t5-plain'))
  const config = { modelType: 't5', hiddenSize: 16, heads: 2, headSize: 4 } as const
  const sizes = { innerSize: 8, layers: 1, decoderLayers: 2, gated: true }
  const make = (seed: number) =>
    createBackbone({ ...config, ...sizes, tiedHead: false }, { seed, tokenizer })
  const [a, b, c] = [await make(1), await make(1), await make(2)]
  expect(a.config.scaleOutput).toBe(false)
  expect(b.fingerprint).toBe(a.fingerprint)
  expect(c.fingerprint).not.toBe(a.fingerprint)
  for (const backbone of [a, b, c]) backbone.dispose()
})
