// Adapter folders that are not read: of other kinds, as PEFT itself wrote them (make_peft.py), and
// crafted ones.

import {
  cpSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { importPeft } from '../../lib/prompt/index.js'
import {
  memory,
  type Tensor,
  tensor,
  writeSafetensors,
  zeros,
} from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

const parent = mkdtempSync(join(tmpdir(), 'lopt-peft-refused-'))
const folder = join(parent, 'adapter')
const at = (name: string) => join(folder, name)
let backbone: Backbone // H 32
let warn: ReturnType<typeof vi.spyOn>
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'))
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})
afterAll(() => {
  warn.mockRestore()
  backbone.dispose()
  rmSync(parent, { recursive: true })
})
beforeEach(() => {
  rmSync(folder, { recursive: true, force: true })
  cpSync(fixture('peft/gpt2-plain'), folder, { recursive: true })
})

function config(change: Record<string, unknown>): void {
  const path = at('adapter_config.json')
  const given = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...given, ...change }))
}

const weights = (tensors: Record<string, Tensor>) =>
  writeSafetensors(at('adapter_model.safetensors'), tensors)

async function refused(code: string, message: RegExp): Promise<void> {
  const { tensors: before } = await settledMemory()
  await expect(importPeft(folder, backbone)).rejects.toThrow(
    expect.objectContaining({
      name: 'LoptError',
      code,
      message: expect.stringMatching(message),
    }),
  )
  expect(memory().tensors).toBeLessThanOrEqual(before)
}

describe('an adapter of another type that PEFT wrote is refused with the reason:', () => {
  test.each([['lora', /LORA: it changes the weights of the model/]])(
    '%s',
    async (name, message) => {
      rmSync(folder, { recursive: true })
      cpSync(fixture(`peft/${name}`), folder, { recursive: true })
      await refused('ERR_UNSUPPORTED', message)
    },
  )
})

describe('what no prompt file could hold is refused:', () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['a type without a name here', { peft_type: 'BONE' }, /type BONE\. Only PROMPT/],
    ['a classifier', { task_type: 'SEQ_CLS' }, /SEQ_CLS puts a head on the model/],
    [
      'two submodules of a causal model',
      { num_transformer_submodules: 2 },
      /submodules: Expected 1\.\.1 .* causal but received 2/,
    ],
    ['other trained modules', { modules_to_save: ['lm_head'] }, /lm_head were trained/],
  ])('%s', async (_, change, message) => {
    config(change)
    await refused('ERR_UNSUPPORTED', message)
  })

  test('weights of the model beside the prompt', async () => {
    await weights({ prompt_embeddings: zeros([4, 32]), 'wte.weight': zeros([2, 2]) })
    await refused('ERR_UNSUPPORTED', /holds wte\.weight besides prompt_embeddings/)
  })

  test('a pickle, naming the conversion', async () => {
    renameSync(at('adapter_model.safetensors'), at('adapter_model.bin'))
    await refused('ERR_UNSUPPORTED', /adapter_model\.bin is a pickle.*save_pretrained/)
  })
})

describe('a damaged folder is refused:', () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['no type', { peft_type: undefined }, /peft_type: /],
    ['a length of 0', { num_virtual_tokens: 0 }, /num_virtual_tokens: /],
    ['a length that is no number', { num_virtual_tokens: '4' }, /num_virtual_tokens: /],
    ['a length that overflows', { num_virtual_tokens: 2 ** 60 }, /num_virtual_tokens: /],
    ['no hidden size', { token_dim: null }, /token_dim: /],
    ['another hidden size', { token_dim: 24 }, /token_dim is 24; .*plain has .* 32/],
    ['another kind', { task_type: 'SEQ_2_SEQ_LM' }, /SEQ_2_SEQ_LM, but .* causal/],
    ['other layers', { num_layers: 12 }, /num_layers is 12, but .*plain has 3/],
    ['other heads', { num_attention_heads: 2 }, /num_attention_heads is 2, but .* has 4/],
    [
      'more tokens than positions',
      { num_virtual_tokens: 63 },
      /63 virtual.*64 positions/,
    ],
    [
      'a length that the tensor does not have',
      { num_virtual_tokens: 5 },
      /expected \[5, 32\] but found \[4, 32\]/,
    ],
  ])('%s', async (_, change, message) => {
    config(change)
    await refused('ERR_PROMPT_FILE', message)
  })

  test.each<[string, () => Record<string, Tensor>, RegExp]>([
    [
      'another name',
      () => ({ embedding: zeros([4, 32]) }),
      /no tensor prompt_embeddings/,
    ],
    ['a vector', () => ({ prompt_embeddings: zeros([128]) }), /found \[128\]/],
    [
      'float64',
      () => ({ prompt_embeddings: zeros([4, 32], { dtype: 'float64' }) }),
      /but found float64/,
    ],
    [
      'integers',
      () => ({ prompt_embeddings: zeros([4, 32], { dtype: 'int64' }) }),
      /but found int64/,
    ],
    [
      'infinity',
      () => ({
        prompt_embeddings: tensor([Number.POSITIVE_INFINITY])
          .expand([4, 32])
          .contiguous(),
      }),
      /not finite/,
    ],
  ])('a tensor: %s', async (_, tensors, message) => {
    await weights(tensors())
    await refused('ERR_PROMPT_FILE', message)
  })

  test('no folder, and none of its files', async () => {
    rmSync(at('adapter_model.safetensors'))
    await refused('ERR_PROMPT_FILE', /adapter_model\.safetensors: there is no such file/)
    rmSync(at('adapter_config.json'))
    await refused('ERR_PROMPT_FILE', /adapter_config\.json: there is no such file/)
    rmSync(folder, { recursive: true })
    await refused('ERR_PROMPT_FILE', /adapter_config\.json: there is no such file/)
  })

  test('files cut short, configuration and weights, wherever', async () => {
    const all = readFileSync(at('adapter_config.json'))
    for (let length = 0; length < all.length - 1; length += 7) {
      writeFileSync(at('adapter_config.json'), all.subarray(0, length))
      await refused('ERR_PROMPT_FILE', /not JSON/)
    }
    writeFileSync(at('adapter_config.json'), all)
    const { length } = readFileSync(at('adapter_model.safetensors'))
    for (let left = length - 1; left >= 0; left -= 13) {
      truncateSync(at('adapter_model.safetensors'), left)
      await refused('ERR_PROMPT_FILE', /adapter_model\.safetensors: /)
    }
  })

  test('JSON of another kind', async () => {
    for (const text of ['[]', 'null', '"PROMPT_TUNING"', '1e999']) {
      writeFileSync(at('adapter_config.json'), text)
      await refused('ERR_PROMPT_FILE', /adapter_config\.json: /)
    }
  })

  test('a configuration of more than 1 MiB', async () => {
    writeFileSync(at('adapter_config.json'), ' '.repeat(2 ** 20 + 1))
    await refused('ERR_PROMPT_FILE', /1048577 bytes, more than the 1048576/)
  })

  test.each([
    ['not JSON', '{', /lopt\.json: not JSON/],
    ['another format', '{"format":"lopt"}', /lopt\.json: format: /],
  ])('lopt.json: %s', async (_, text, message) => {
    writeFileSync(at('lopt.json'), text)
    await refused('ERR_PROMPT_FILE', message)
  })
})

describe('a prefix is refused:', () => {
  let t5: Backbone // 2 layers, H 16, 5 heads of 4
  beforeAll(async () => {
    t5 = await loadBackbone(fixture('t5-old-untied'))
  })
  afterAll(() => t5.dispose())

  const given = (name: string, change: Record<string, unknown>) => {
    rmSync(folder, { recursive: true })
    cpSync(fixture(`peft/${name}`), folder, { recursive: true })
    config(change)
  }

  test.each<[string, Record<string, unknown>, RegExp]>([
    ['of other heads', { num_attention_heads: 8 }, /num_attention_heads is 8, but .* 4$/],
    [
      'of another size',
      { token_dim: 64 },
      /token_dim is 64; .* 4 heads of 8 numbers, 32/,
    ],
    ['of fewer layers', { num_layers: 2 }, /num_layers is 2, but 3 layers of /],
    ['of more layers', { num_layers: 12 }, /num_layers is 12, but .*plain has 3: give/],
    [
      'with a tensor of vectors',
      { num_virtual_tokens: 3 },
      /expected \[3, 192\] but found \[4, 192\]/,
    ],
  ])('%s', async (_, change, message) => {
    given('prefix-tuning', change)
    await refused('ERR_PROMPT_FILE', message)
  })

  test('of other heads or layers even where another backbone is allowed', async () => {
    for (const change of [{ num_attention_heads: 8 }, { num_layers: 2 }]) {
      given('prefix-tuning', change)
      await expect(
        importPeft(folder, backbone, { allowOtherBackbone: true }),
      ).rejects.toThrow(expect.objectContaining({ code: 'ERR_PROMPT_FILE' }))
    }
  })

  test('of a T5 with one submodule, which PEFT gives to the attention to the encoder', async () => {
    given('t5-prefix-even', { num_transformer_submodules: 1 })
    await expect(importPeft(folder, t5)).rejects.toThrow(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED',
        message: expect.stringMatching(/submodules is 1: .* attention to the encoder/),
      }),
    )
  })

  test('of a T5 with fewer pairs than its decoder has layers', async () => {
    given('t5-prefix-even', { num_layers: 1 })
    await expect(importPeft(folder, t5)).rejects.toThrow(
      /num_layers is 1, but 2 layers of .* take keys and values/,
    )
  })
})

describe('the backbone', () => {
  test('of another fingerprint is refused with both named, unless allowed', async () => {
    cpSync(fixture('peft/exported/gpt2-plain/lopt.json'), at('lopt.json'))
    const text = readFileSync(at('lopt.json'), 'utf8')
    writeFileSync(at('lopt.json'), text.replace(backbone.fingerprint, 'abc123'))
    await refused('ERR_PROMPT_FILE', new RegExp(`abc123.*${backbone.fingerprint}`))
    const prompt = await importPeft(folder, backbone, { allowOtherBackbone: true })
    expect(prompt.config.backbone).toBe('abc123')
    prompt.dispose()
  })

  test('that PEFT does not name is taken with a warning', async () => {
    warn.mockClear()
    const prompt = await importPeft(folder, backbone)
    expect(warn).toHaveBeenCalledOnce()
    expect(String(warn.mock.calls[0]?.[0])).toMatch(
      /adapter does not say which weights .*its base model is gpt2-plain/,
    )
    prompt.dispose()
  })
})

test.each([
  [{ rank: 2 }, /rank has no meaning with the method full/],
  [{ method: 'prefix', rank: 2 } as const, /rank has no meaning with the method prefix/],
  [
    { method: 'prefix' } as const,
    /Expected method to be full or lopt-1 for an adapter of the type PROMPT_TUNING but received prefix/,
  ],
  [{ method: 'lopt-1', rank: 5 } as const, /Expected rank in 1\.\.4 but received 5/],
])('%j is out of range', async (options, message) => {
  await expect(importPeft(folder, backbone, options)).rejects.toThrow(RangeError)
  await expect(importPeft(folder, backbone, options)).rejects.toThrow(message)
})
