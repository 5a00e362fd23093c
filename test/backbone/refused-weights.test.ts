import { renameSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { writeSafetensors, zeros } from '../../lib/torch/index.js'
import { copyOf, editJson, editWeights, refusal } from './temporary.js'

describe('weights are refused', () => {
  test('that are missing, naming what was looked for', async () => {
    const folder = copyOf('gpt2-plain')
    rmSync(join(folder, 'model.safetensors'))
    const error = await refusal(folder)
    expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
    expect(error.message).toContain(
      'neither model.safetensors nor model.safetensors.index.json',
    )
  })

  test.each(['pytorch_model.bin', 'pytorch_model-00001-of-00002.bin', 'model.pt'])(
    'in %s, with how to convert them',
    async (name) => {
      const folder = copyOf('gpt2-plain')
      renameSync(join(folder, 'model.safetensors'), join(folder, name))
      const error = await refusal(folder)
      expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED' })
      expect(error.message).toContain(name)
      expect(error.message).toContain('save_pretrained')
    },
  )

  test('that are cut short', async () => {
    const folder = copyOf('gpt2-plain')
    for (const size of [200_000, 100, 4, 0]) {
      truncateSync(join(folder, 'model.safetensors'), size)
      const error = await refusal(folder)
      expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
      expect(error.message).toContain(join(folder, 'model.safetensors'))
    }
  })

  test('without one of the tensors', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(folder, (weights) => weights.delete('transformer.h.1.ln_2.bias'))
    const { code, message } = await refusal(folder)
    expect(code).toBe('ERR_MODEL_FILE')
    expect(message).toContain('the tensor h.1.ln_2.bias is missing')
  })

  test('of more layers than config.json says', async () => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'config.json', { n_layer: 2 })
    expect((await refusal(folder)).message).toMatch(
      /transformer\.h\.2\.\S+ is not part of a 2-layer/,
    )
  })

  test('with a name both with and without its prefix', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(folder, (weights) => weights.set('ln_f.bias', zeros([32])))
    expect((await refusal(folder)).message).toMatch(/ln_f\.bias are the same tensor/)
  })

  test('of another shape, with both', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(folder, (weights) => {
      weights.set('transformer.h.0.attn.c_attn.weight', zeros([96, 32]))
    })
    expect((await refusal(folder)).message).toContain(
      'transformer.h.0.attn.c_attn.weight is [96, 32], but config.json makes it [32, 96]',
    )
  })

  test('of whole numbers', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(folder, (weights) => {
      weights.set('transformer.ln_f.bias', zeros([32], { dtype: 'int64' }))
    })
    const { code, message } = await refusal(folder)
    expect(code).toBe('ERR_UNSUPPORTED')
    expect(message).toContain('transformer.ln_f.bias is int64')
  })

  test('with a tied output matrix that differs from the token embedding', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(folder, (weights) =>
      weights.set('lm_head.weight', zeros([512, 32])),
    )
    expect((await refusal(folder)).message).toContain('Set tie_word_embeddings to false')
  })

  test('without the separate output matrix that config.json asks for', async () => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'config.json', { tie_word_embeddings: false })
    expect((await refusal(folder)).message).toContain(
      'the tensor lm_head.weight is missing',
    )
  })
})

describe('an index is refused', () => {
  const INDEX = 'model.safetensors.index.json'
  const shard = (i: number) => `model-0000${i}-of-00004.safetensors`

  test('with shards that are missing, all named', async () => {
    const folder = copyOf('gpt2-sharded')
    rmSync(join(folder, shard(2)))
    rmSync(join(folder, shard(4)))
    const { code, message } = await refusal(folder)
    expect(code).toBe('ERR_MODEL_FILE')
    expect(message).toContain(`2 of 4 files are missing: ${shard(2)}, ${shard(4)}`)
  })

  test('that places a tensor in a shard that does not hold it', async () => {
    const folder = copyOf('gpt2-sharded')
    const map = { 'transformer.wpe.weight': shard(4), 'transformer.ln_f.bias': shard(1) }
    editJson(folder, INDEX, { weight_map: map })
    const { message } = await refusal(folder)
    expect(message).toMatch(
      /says that model-0000\d-of-00004.* holds the tensor transformer\./,
    )
  })

  test('that leaves a stored tensor out', async () => {
    const folder = copyOf('gpt2-sharded')
    const stray = zeros([24])
    await writeSafetensors(join(folder, 'more.safetensors'), {
      'a.b': stray,
      'a.c': stray,
    })
    editJson(folder, INDEX, { weight_map: { 'a.b': 'more.safetensors' } })
    expect((await refusal(folder)).message).toContain('holds the tensor a.c, which')
  })

  test.each([
    ['../outside.safetensors', /names of \.safetensors files in the same folder/],
    ['model.bin', /names of \.safetensors files in the same folder/],
  ])('that points to %s', async (name, message) => {
    const folder = copyOf('gpt2-sharded')
    editJson(folder, INDEX, { weight_map: { 'transformer.wte.weight': name } })
    expect((await refusal(folder)).message).toMatch(message)
  })

  test('without a weight map', async () => {
    const folder = copyOf('gpt2-sharded')
    editJson(folder, INDEX, { weight_map: undefined })
    expect((await refusal(folder)).message).toContain(`${INDEX}: weight_map: `)
    editJson(folder, INDEX, { weight_map: {} })
    expect((await refusal(folder)).message).toContain(
      '1 to 1024 files in weight_map but found 0',
    )
  })
})
