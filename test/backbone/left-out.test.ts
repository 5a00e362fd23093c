// Tensors that a language model does not have, beside all those that it has.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { exportBackbone, loadBackbone, saveBackbone } from '../../lib/backbone/index.js'
import {
  openSafetensors,
  type Tensor,
  writeSafetensors,
  zeros,
} from '../../lib/torch/index.js'
import { distance, golden, loadCausal, logitsOf } from './golden.js'
import { copyOf, editJson, editWeights, refusal, temporaryFolder } from './temporary.js'

let warn: ReturnType<typeof vi.spyOn>
beforeAll(() => {
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})
beforeEach(() => warn.mockClear())
afterAll(() => warn.mockRestore())

/** A copy of a fixture with further tensors. */
async function widened(name: string, others: () => Record<string, Tensor>) {
  const folder = copyOf(name)
  await editWeights(folder, (weights) => {
    for (const [key, value] of Object.entries(others())) weights.set(key, value)
  })
  return folder
}

const mark = () => zeros([0], { dtype: 'float8_e4m3fn' })
const head = () => zeros([2, 32])

describe('a checkpoint with tensors that the model does not have', () => {
  test.each<[string, () => Record<string, Tensor>, string]>([
    ["another program's mark", () => ({ scaled_fp8: mark() }), 'scaled_fp8'],
    ['a head for classes', () => ({ 'score.weight': head() }), 'score.weight'],
    [
      'both, and a head under two names',
      () => ({
        scaled_fp8: mark(),
        'score.weight': head(),
        'transformer.score.weight': head(),
      }),
      'score.weight, transformer.score.weight, scaled_fp8',
    ],
    [
      'whole numbers, in a layer',
      () => ({ 'transformer.h.0.attn.rotary.ids': zeros([4], { dtype: 'int64' }) }),
      'transformer.h.0.attn.rotary.ids',
    ],
  ])('opens with one warning that names them: %s', async (_, others, names) => {
    const folder = await widened('gpt2-plain', others)
    const backbone = await loadCausal(folder)
    expect(warn.mock.calls).toEqual([
      [
        `${folder}: left out what is not part of a 3-layer GPT-2 language model: ${names}`,
        'LoptWarning',
      ],
    ])
    const plain = await loadCausal(copyOf('gpt2-plain'))
    expect(backbone.fingerprint).toBe(plain.fingerprint)
    const ids = golden('gpt2-plain').rows[2]?.ids as number[]
    expect(distance(await logitsOf(backbone, ids), await logitsOf(plain, ids))).toBe(0)
    backbone.dispose()
    plain.dispose()
  })

  test('names the first of many and says how many more there are', async () => {
    const folder = await widened('gpt2-plain', () =>
      Object.fromEntries(
        Array.from({ length: 12 }, (_, i) => [`extra.${i}`, zeros([1])]),
      ),
    )
    ;(await loadBackbone(folder)).dispose()
    expect(warn).toHaveBeenCalledTimes(1)
    expect(warn.mock.calls[0]?.[0]).toMatch(/(extra\.\d+(, )?){8} and 4 more$/)
  })

  test('opens as a T5', async () => {
    const folder = await widened('t5-plain', () => ({
      'classification_head.dense.weight': zeros([24, 24]),
    }))
    ;(await loadBackbone(folder)).dispose()
    expect(warn.mock.calls[0]?.[0]).toMatch(
      /a 3-layer T5 language model: classification_head\.dense\.weight$/,
    )
  })

  test('opens in shards, when the index places them', async () => {
    const folder = copyOf('gpt2-sharded')
    await writeSafetensors(join(folder, 'more.safetensors'), { 'score.weight': head() })
    const index = 'model.safetensors.index.json'
    const { weight_map } = JSON.parse(readFileSync(join(folder, index), 'utf8'))
    editJson(folder, index, {
      weight_map: { ...weight_map, 'score.weight': 'more.safetensors' },
    })
    ;(await loadBackbone(folder)).dispose()
    expect(warn.mock.calls[0]?.[0]).toMatch(/score\.weight$/)
  })

  test('is written without them', async () => {
    const backbone = await loadBackbone(
      await widened('gpt2-plain', () => ({ scaled_fp8: mark(), 'score.weight': head() })),
    )
    const folder = temporaryFolder()
    await saveBackbone(folder, backbone)
    await exportBackbone(join(folder, 'model.pt'), backbone)
    const saved = openSafetensors(join(folder, 'model.safetensors'))
    const original = openSafetensors(join(copyOf('gpt2-plain'), 'model.safetensors'))
    expect([...saved.names].sort()).toEqual([...original.names].sort())
    saved.dispose()
    original.dispose()
    warn.mockClear()
    const names = [...backbone.parameters().keys()].sort()
    for (const source of [folder, join(folder, 'model.pt')]) {
      const again = await loadBackbone(source)
      expect([...again.parameters().keys()].sort()).toEqual(names)
      again.dispose()
    }
    expect(warn).not.toHaveBeenCalled()
    backbone.dispose()
  })

  test('is refused all the same when one of the model is missing, without a warning', async () => {
    const folder = await widened('gpt2-plain', () => ({ 'score.weight': head() }))
    await editWeights(folder, (weights) => weights.delete('transformer.ln_f.bias'))
    expect((await refusal(folder)).message).toContain('the tensor ln_f.bias is missing')
    expect(warn).not.toHaveBeenCalled()
  })
})
