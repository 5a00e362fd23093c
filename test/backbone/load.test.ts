import { describe, expect, test } from 'vitest'

import { memory, tidy, zeros } from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import { distance, fixture, golden, int64, loadCausal, logitsOf } from './golden.js'
import { copyOf, editJson, editWeights } from './temporary.js'

describe('a folder is opened', () => {
  test('on the pages of its file, without a copy', async () => {
    const before = await settledMemory()
    const backbone = await loadCausal(fixture('gpt2-plain'))
    expect(memory().bytes).toBe(before.bytes)
    expect(memory().tensors).toBe(before.tensors + backbone.parameters().size)
    backbone.dispose()
    expect(memory()).toEqual(before)
  })

  test('inside tidy, and outlives it', async () => {
    const backbone = await tidy(() => loadCausal(fixture('gpt2-plain')))
    expect((await backbone.embed(int64([[1]]))).shape).toEqual([1, 1, 32])
    backbone.dispose()
  })

  test.each(['bfloat16', 'float16'] as const)('in %s, near to float32', async (dtype) => {
    const { rows, values } = golden('gpt2-plain')
    const backbone = await loadCausal(fixture('gpt2-plain'), { dtype })
    expect(backbone.dtype).toBe(dtype)
    const logits = await logitsOf(backbone, rows[2]?.ids as number[])
    expect(logits.dtype).toBe(dtype)
    // Logits reach 10: bfloat16 has steps of 1/32 there, and rounds after every operation.
    expect(distance(logits.to('float32'), values(2, 'logits.float32'))).toBeLessThan(0.25)
    backbone.dispose()
  })

  test('with more rows in the token embedding than the tokenizer has tokens', async () => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'config.json', { vocab_size: 513 })
    await editWeights(folder, (weights) => {
      weights.set('transformer.wte.weight', zeros([513, 32]))
    })
    const backbone = await loadCausal(folder)
    expect(backbone.tokenizer.vocabSize).toBe(512)
    expect(backbone.config.vocabSize).toBe(513)
    backbone.dispose()
  })

  test('with a tied output matrix stored once more', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(folder, (weights) => {
      weights.set(
        'lm_head.weight',
        weights.get('transformer.wte.weight')?.clone() ?? zeros([1]),
      )
    })
    const backbone = await loadCausal(folder)
    expect([...backbone.parameters().keys()]).not.toContain('lm_head.weight')
    backbone.dispose()
  })

  test('with sizes that config.json spells as other models do', async () => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'config.json', {
      n_embd: undefined,
      hidden_size: 32,
      n_head: undefined,
      num_attention_heads: 4,
      n_layer: undefined,
      num_hidden_layers: 3,
      n_positions: undefined,
      max_position_embeddings: 64,
    })
    const backbone = await loadCausal(folder)
    expect(backbone.config).toMatchObject({
      hiddenSize: 32,
      heads: 4,
      layers: 3,
      positions: 64,
    })
    backbone.dispose()
  })
})

test('its configuration says what the checkpoint is', async () => {
  const backbone = await loadCausal(fixture('gpt2-sharded'))
  expect(backbone).toMatchObject({
    kind: 'causal',
    device: 'cpu',
    dtype: 'float32',
    source: fixture('gpt2-sharded'),
    config: {
      modelType: 'gpt2',
      vocabSize: 320,
      hiddenSize: 24,
      layers: 2,
      heads: 3,
      positions: 64,
      innerSize: 40,
      activation: 'gelu',
      layerNormEpsilon: 1e-6,
      scaleAttention: true,
      scaleByLayer: false,
      tiedHead: true,
    },
  })
  expect(backbone.tokenEmbedding.shape).toEqual([320, 24])
  expect(backbone.parameters().get('h.1.mlp.c_fc.weight')?.shape).toEqual([24, 40])
  backbone.dispose()
})

test('training a parameter changes memory, not the file', async () => {
  const folder = copyOf('gpt2-plain')
  const backbone = await loadCausal(folder)
  await backbone.setTrainable(/^h\.2\.mlp\./)
  const trained = [...backbone.parameters()].filter(([, p]) => p.requiresGrad)
  expect(trained.map(([name]) => name).sort()).toEqual([
    'h.2.mlp.c_fc.bias',
    'h.2.mlp.c_fc.weight',
    'h.2.mlp.c_proj.bias',
    'h.2.mlp.c_proj.weight',
  ])
  const ids = [1, 2, 3]
  const before = await logitsOf(backbone, ids)
  await before.square().mean().backward()
  const weight = backbone.parameters().get('h.2.mlp.c_fc.weight')
  const gradient = await weight?.grad()
  expect(gradient?.abs().amax().item()).toBeGreaterThan(0)
  await weight?.add_(gradient ?? 0, { alpha: -1 })
  expect((await logitsOf(backbone, ids)).equal(before)).toBe(false)

  await backbone.setTrainable(false)
  expect([...backbone.parameters().values()].some((p) => p.requiresGrad)).toBe(false)
  const again = await loadCausal(folder)
  expect((await logitsOf(again, ids)).equal(before)).toBe(true)
  backbone.dispose()
  again.dispose()
})
