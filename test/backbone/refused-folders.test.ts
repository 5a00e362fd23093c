import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadBackbone } from '../../lib/backbone/index.js'
import { fixture } from './golden.js'
import { copyOf, editJson, refusal, temporaryFolder } from './temporary.js'

describe('a source is refused', () => {
  test('that is not there', async () => {
    expect(await refusal('/nowhere/at all')).toMatchObject({
      code: 'ERR_MODEL_FILE',
      message: 'There is no folder /nowhere/at all.',
    })
  })

  test('that is a file', async () => {
    const file = join(fixture('gpt2-plain'), 'model.safetensors')
    const error = await refusal(file)
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED' })
    expect(error.message).toContain('give the folder')
  })

  test('that names no model of the package', async () => {
    const error = await refusal('builtin:../test')
    expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
    expect(error.message).toContain('No model ../test ships with the package')
  })

  test('on a device that is not there', async () => {
    await expect(
      loadBackbone(fixture('gpt2-plain'), { device: 'cuda:99' }),
    ).rejects.toMatchObject({
      code: 'ERR_DEVICE',
    })
  })

  test('in a dtype that no model computes in', async () => {
    const options = { dtype: 'int64' as 'float32' }
    await expect(loadBackbone(fixture('gpt2-plain'), options)).rejects.toThrow(
      'Expected dtype to be one of float64, float32, float16, bfloat16, int8 but received int64',
    )
  })
})

test('a text file larger than any of its kind is refused unread', async () => {
  const folder = copyOf('gpt2-plain')
  truncateSync(join(folder, 'tokenizer.json'), 513 * 2 ** 20)
  expect((await refusal(folder)).message).toContain('bytes, more than the 536870912')
  truncateSync(join(folder, 'config.json'), 65 * 2 ** 20)
  expect((await refusal(folder)).message).toContain('bytes, more than the 67108864')
})

describe('config.json is refused', () => {
  const cases: [string, Record<string, unknown>, string, RegExp][] = [
    [
      'of another model',
      { model_type: 'bert' },
      'ERR_UNSUPPORTED',
      /model_type: bert is not supported/,
    ],
    [
      'without a model type',
      { model_type: undefined },
      'ERR_MODEL_FILE',
      /model_type: expected/,
    ],
    [
      'with text for a size',
      { n_head: '4' },
      'ERR_MODEL_FILE',
      /config\.json: n_head: .*number/,
    ],
    ['with a size of 0', { n_layer: 0 }, 'ERR_MODEL_FILE', /config\.json: n_layer: /],
    [
      'with a size beyond reason',
      { n_embd: 1e12 },
      'ERR_MODEL_FILE',
      /config\.json: n_embd: /,
    ],
    [
      'with heads that do not divide',
      { n_head: 5 },
      'ERR_MODEL_FILE',
      /n_head: expected a divisor/,
    ],
    [
      'with an unknown activation',
      { activation_function: 'snake' },
      'ERR_UNSUPPORTED',
      /activation_function: snake is not known.*gelu_new/,
    ],
    [
      'with a word for a switch',
      { reorder_and_upcast_attn: 'yes' },
      'ERR_MODEL_FILE',
      /reorder_and_upcast_attn: .*boolean/,
    ],
    [
      'with cross-attention',
      { add_cross_attention: true },
      'ERR_UNSUPPORTED',
      /add_cross_attention/,
    ],
    [
      'of quantised weights',
      { quantization_config: { bits: 4 } },
      'ERR_UNSUPPORTED',
      /quantization_config/,
    ],
    [
      'with pruned heads',
      { pruned_heads: { 0: [1] } },
      'ERR_UNSUPPORTED',
      /pruned_heads/,
    ],
  ]
  test.each(cases)('%s', async (_, change, code, message) => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'config.json', change)
    const error = await refusal(folder)
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(error.message).toContain(folder)
  })

  test('that is missing, no JSON, or no object', async () => {
    const folder = copyOf('gpt2-plain')
    const path = join(folder, 'config.json')
    for (const [text, message] of [
      ['{"model_type": ', 'not JSON'],
      ['[]', 'expected a JSON object'],
    ] as const) {
      writeFileSync(path, text)
      expect((await refusal(folder)).message).toContain(`${path}: ${message}`)
    }
    rmSync(path)
    const error = await refusal(folder)
    expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
    expect(error.message).toContain('there is no config.json')
  })
})

test('a folder without a tokenizer says how to make one', async () => {
  const folder = copyOf('gpt2-plain')
  rmSync(join(folder, 'tokenizer.json'))
  const { code, message } = await refusal(folder)
  expect(code).toBe('ERR_MODEL_FILE')
  expect(message).toContain(
    `There is no tokenizer.json in ${folder}, and neither a spiece.model nor vocab.json with merges.txt`,
  )
  expect(message).toContain("save_pretrained('")
})

test('a tokenizer with more ids than the model has rows is refused with both numbers', async () => {
  const folder = copyOf('gpt2-plain')
  editJson(folder, 'config.json', { vocab_size: 511 })
  expect(await refusal(folder)).toMatchObject({
    code: 'ERR_MODEL_FILE',
    message:
      `${folder}: the tokenizer has ids up to 511, but the model's vocab_size is 511: ` +
      'they do not belong together',
  })
})

test('an empty folder says what is missing', async () => {
  const folder = join(temporaryFolder(), 'empty')
  mkdirSync(folder)
  expect((await refusal(folder)).message).toContain('there is no config.json')
})
