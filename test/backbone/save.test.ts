import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type CausalBackbone,
  createBackbone,
  loadBackbone,
  loadTokenizer,
  saveBackbone,
  type Tokenizer,
} from '../../lib/backbone/index.js'
import { openSafetensors } from '../../lib/torch/index.js'
import { CHECKPOINTS, distance, fixture, loadCausal, logitsOf } from './golden.js'
import { copyOf, editJson, temporaryFolder } from './temporary.js'

const SIZES = { hiddenSize: 48, layers: 4, heads: 3, positions: 32 }
const IDS = [5, 300, 17, 2, 2]

let tokenizer: Tokenizer
let backbone: CausalBackbone
beforeAll(async () => {
  tokenizer = await loadTokenizer(fixture('gpt2-plain'))
  backbone = await createBackbone(SIZES, { seed: 7, tokenizer })
})
afterAll(() => backbone.dispose())

async function sameWeights(a: CausalBackbone, b: CausalBackbone): Promise<boolean> {
  const [left, right] = [a.parameters(), b.parameters()]
  expect([...left.keys()].sort()).toEqual([...right.keys()].sort())
  return [...left].every(([name, tensor]) => right.get(name)?.equal(tensor))
}

describe('a fresh backbone', () => {
  test('has the vocabulary of its tokenizer and the sizes asked for', () => {
    expect(backbone).toMatchObject({
      source: 'created',
      dtype: 'float32',
      device: 'cpu',
      tokenizer,
    })
    expect(backbone.config).toMatchObject({
      ...SIZES,
      vocabSize: 512,
      innerSize: 192,
      activation: 'gelu_new',
      tiedHead: true,
    })
  })

  // Radford et al. 2019, section 2.3, as in transformers' GPT2PreTrainedModel._init_weights
  test.each([
    ['wte.weight', 0.02],
    ['wpe.weight', 0.02],
    ['h.1.attn.c_attn.weight', 0.02],
    ['h.1.mlp.c_fc.weight', 0.02],
    ['h.1.attn.c_proj.weight', 0.02 / Math.sqrt(8)],
    ['h.3.mlp.c_proj.weight', 0.02 / Math.sqrt(8)],
  ])('draws %s from a normal distribution of %f', (name, std) => {
    const weight = backbone.parameters().get(name)
    expect(Math.abs((weight?.std().item() ?? 0) / std - 1)).toBeLessThan(0.05)
    expect(Math.abs(weight?.mean().item() ?? 1)).toBeLessThan(std / 10)
  })

  test('starts biases at 0 and norms at 1', () => {
    for (const [name, parameter] of backbone.parameters()) {
      if (!name.endsWith('bias') && !name.includes('ln_')) continue
      const value = name.endsWith('bias') ? 0 : 1
      expect([parameter.amin().item(), parameter.amax().item()]).toEqual([value, value])
    }
  })

  test('is the same for the same seed and another for another', async () => {
    const same = await createBackbone(SIZES, { seed: 7, tokenizer })
    const other = await createBackbone(SIZES, { seed: 8, tokenizer })
    expect(await sameWeights(backbone, same)).toBe(true)
    expect(same.fingerprint).toBe(backbone.fingerprint)
    expect(await sameWeights(backbone, other)).toBe(false)
    expect(other.fingerprint).not.toBe(backbone.fingerprint)
    same.dispose()
    other.dispose()
  })

  test('can have an output matrix of its own', async () => {
    const untied = await createBackbone(
      { ...SIZES, tiedHead: false },
      { seed: 7, tokenizer },
    )
    expect(untied.parameters().get('lm_head.weight')?.shape).toEqual([512, 48])
    untied.dispose()
  })

  test.each([
    [{ ...SIZES, heads: 5 }, RangeError, /config\.heads to divide config\.hiddenSize 48/],
    [{ ...SIZES, layers: 0 }, RangeError, /config\.layers/],
    [
      { ...SIZES, activation: 'snake' },
      RangeError,
      /config\.activation to be one of gelu_new/,
    ],
    [
      { ...SIZES, vocabSize: 511 },
      RangeError,
      /at least the tokenizer's 512 but received 511/,
    ],
    [{ ...SIZES, layers: '4' as unknown as number }, TypeError, /config\.layers/],
    [{ ...SIZES, depth: 4 }, TypeError, /depth/],
    [
      { ...SIZES, modelType: 'bert' as 'gpt2' },
      RangeError,
      /config\.modelType to be gpt2/,
    ],
  ])('refuses %o', async (config, kind, message) => {
    const attempt = createBackbone(config, { seed: 0, tokenizer })
    await expect(attempt).rejects.toThrow(kind)
    await expect(attempt).rejects.toThrow(message)
  })
})

describe('a saved backbone', () => {
  test('is read back equal to the bit, with the same fingerprint', async () => {
    const folder = join(temporaryFolder(), 'made', 'on the way')
    await saveBackbone(folder, backbone)
    const again = await loadCausal(folder)
    expect(await sameWeights(backbone, again)).toBe(true)
    expect(again.fingerprint).toBe(backbone.fingerprint)
    const { raw: _, ...config } = backbone.config
    expect(again.config).toMatchObject(config)
    const logits = await logitsOf(backbone, IDS)
    expect((await logitsOf(again, IDS)).equal(logits)).toBe(true)
    expect(again.tokenizer.encode('The film')).toEqual(tokenizer.encode('The film'))
    expect(again.tokenizer.eosTokenId).toBe(tokenizer.eosTokenId)
    again.dispose()
  })

  test.each(CHECKPOINTS)('keeps %s as it was', async (name) => {
    const folder = temporaryFolder()
    const before = await loadCausal(fixture(name))
    await saveBackbone(folder, before)
    const after = await loadCausal(folder)
    expect(await sameWeights(before, after)).toBe(true)
    expect(after.fingerprint).toBe(before.fingerprint)
    const json = (from: string) =>
      JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'))
    const { dtype: _, ...rest } = json(fixture(name))
    expect(json(folder)).toMatchObject(rest)
    before.dispose()
    after.dispose()
  })

  test('is laid out as transformers lays it out', async () => {
    const folder = temporaryFolder()
    await saveBackbone(folder, backbone)
    expect(readdirSync(folder).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
    const file = openSafetensors(join(folder, 'model.safetensors'))
    expect(file.metadata).toEqual({ format: 'pt' })
    expect(file.names).toContain('transformer.h.0.attn.c_attn.weight')
    expect(file.names.every((name) => name.startsWith('transformer.'))).toBe(true)
    expect(file.names).not.toContain('lm_head.weight')
    file.dispose()
    const saved = readFileSync(join(folder, 'tokenizer.json'), 'utf8')
    expect(saved).toBe(
      readFileSync(join(fixture('gpt2-plain'), 'tokenizer.json'), 'utf8'),
    )
  })

  test('writes floats of config.json as floats, which transformers insists on', async () => {
    const folder = copyOf('t5-plain')
    const dropout = { dropout_rate: 0, classifier_dropout: 1, initializer_factor: 1 }
    editJson(folder, 'config.json', dropout)
    const backbone = await loadBackbone(folder)
    const out = temporaryFolder()
    await saveBackbone(out, backbone)
    const text = readFileSync(join(out, 'config.json'), 'utf8')
    for (const name of Object.keys(dropout)) {
      expect(text).toMatch(new RegExp(`"${name}": \\d\\.0,?\n`))
    }
    expect(text).toMatch(/"d_model": \d+,?\n/)
    const generation = readFileSync(join(out, 'generation_config.json'), 'utf8')
    expect(JSON.parse(generation)).toMatchObject({ decoder_start_token_id: 0 })
    backbone.dispose()
  })

  test('stores a separate output matrix without prefix', async () => {
    const folder = temporaryFolder()
    const untied = await loadCausal(fixture('gpt2-untied'))
    await saveBackbone(folder, untied)
    const file = openSafetensors(join(folder, 'model.safetensors'))
    expect(file.info('lm_head.weight').shape).toEqual([320, 24])
    file.dispose()
    untied.dispose()
  })

  test('can be stored in half precision', async () => {
    const folder = temporaryFolder()
    await saveBackbone(folder, backbone, { dtype: 'float16' })
    const file = openSafetensors(join(folder, 'model.safetensors'))
    expect(file.info('transformer.wte.weight').dtype).toBe('float16')
    file.dispose()
    const again = await loadCausal(folder)
    expect(again.dtype).toBe('float32')
    const [a, b] = [await logitsOf(backbone, IDS), await logitsOf(again, IDS)]
    expect(distance(a, b)).toBeGreaterThan(0)
    expect(distance(a, b)).toBeLessThan(1e-3)
    again.dispose()
  })

  test('keeps the names of special tokens that tokenizer_config.json gave', async () => {
    const folder = copyOf('gpt2-plain')
    writeFileSync(
      join(folder, 'tokenizer_config.json'),
      JSON.stringify({ eos_token: '!', bos_token: '"' }),
    )
    const named = await loadCausal(folder)
    const target = temporaryFolder()
    await saveBackbone(target, named)
    const again = await loadCausal(target)
    expect([again.tokenizer.eosTokenId, again.tokenizer.bosTokenId]).toEqual([0, 1])
    named.dispose()
    again.dispose()
  })

  test('is refused where no folder can be', async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'file'), '')
    await expect(
      saveBackbone(join(folder, 'file', 'in it'), backbone),
    ).rejects.toMatchObject({
      code: 'ERR_IO',
    })
    await expect(saveBackbone(join(folder, 'file'), backbone)).rejects.toMatchObject({
      code: 'ERR_IO',
    })
  })
})
