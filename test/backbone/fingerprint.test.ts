import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadBackbone, saveBackbone } from '../../lib/backbone/index.js'
import {
  openSafetensors,
  type Tensor,
  tidy,
  writeSafetensors,
} from '../../lib/torch/index.js'
import { fixture } from './golden.js'
import { copyOf, editJson, editWeights, temporaryFolder } from './temporary.js'

async function fingerprintOf(
  folder: string,
  dtype?: 'float64' | 'bfloat16',
): Promise<string> {
  const backbone = await loadBackbone(folder, { dtype })
  backbone.dispose()
  return backbone.fingerprint
}

const original = await fingerprintOf(fixture('gpt2-plain'))

/** Cuts model.safetensors into two shards with an index. */
async function shard(folder: string): Promise<void> {
  const path = join(folder, 'model.safetensors')
  const index: Record<string, string> = {}
  await tidy(async () => {
    const file = openSafetensors(path)
    for (const [i, part] of [0, 1].entries()) {
      const names = file.names.filter((_, k) => k % 2 === part)
      const name = `model-0000${i + 1}-of-00002.safetensors`
      const tensors = Object.fromEntries(names.map((key) => [key, file.tensor(key)]))
      await writeSafetensors(join(folder, name), tensors)
      for (const key of names) index[key] = name
    }
    file.dispose()
  })
  rmSync(path)
  writeFileSync(
    join(folder, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: {}, weight_map: index }),
  )
}

function renamed(change: (name: string) => string) {
  return (weights: Map<string, Tensor>) => {
    for (const [name, tensor] of [...weights]) {
      weights.delete(name)
      weights.set(change(name), tensor)
    }
  }
}

test('is 64 hexadecimal digits that do not change from version to version', () => {
  // Computed in Python by the recipe in docs/backbone-contract.md: prompts in the world carry it.
  expect(original).toBe(
    'bd4ef5eb5a64e0da1389870c095c6031519809d7929156210850f8ba5498cedc',
  )
})

describe('is the same', () => {
  test('for a sharded copy', async () => {
    const folder = copyOf('gpt2-plain')
    await shard(folder)
    expect(await fingerprintOf(folder)).toBe(original)
  })

  test('for a copy without prefixes', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(
      folder,
      renamed((name) => name.replace('transformer.', '')),
    )
    expect(await fingerprintOf(folder)).toBe(original)
  })

  test('for a copy with prefixes of one without', async () => {
    const folder = copyOf('gpt2-base-names')
    await editWeights(
      folder,
      renamed((name) => `transformer.${name}`),
    )
    expect(await fingerprintOf(folder)).toBe(
      await fingerprintOf(fixture('gpt2-base-names')),
    )
  })

  test('whatever the model computes in', async () => {
    expect(await fingerprintOf(fixture('gpt2-plain'), 'float64')).toBe(original)
    expect(await fingerprintOf(fixture('gpt2-plain'), 'bfloat16')).toBe(original)
  })

  test('whatever config.json says besides the architecture', async () => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'config.json', {
      n_inner: 128,
      resid_pdrop: 0.3,
      n_ctx: 64,
      use_cache: false,
    })
    expect(await fingerprintOf(folder)).toBe(original)
  })
})

describe('differs', () => {
  test('for other token embeddings', async () => {
    const folder = copyOf('gpt2-plain')
    await editWeights(folder, (weights) => {
      const name = 'transformer.wte.weight'
      weights.set(name, weights.get(name)?.mul(1.0001) as Tensor)
    })
    expect(await fingerprintOf(folder)).not.toBe(original)
  })

  test.each([
    ['activation_function', 'gelu'],
    ['layer_norm_epsilon', 1e-6],
    ['n_head', 2],
    ['scale_attn_weights', false],
    ['scale_attn_by_inverse_layer_idx', true],
  ])('for another %s', async (field, value) => {
    const folder = copyOf('gpt2-plain')
    editJson(folder, 'config.json', { [field]: value })
    expect(await fingerprintOf(folder)).not.toBe(original)
  })

  test('for a copy stored in another dtype', async () => {
    const folder = temporaryFolder()
    const backbone = await loadBackbone(fixture('gpt2-plain'))
    await saveBackbone(folder, backbone, { dtype: 'bfloat16' })
    backbone.dispose()
    expect(await fingerprintOf(folder)).not.toBe(original)
  })
})

test('follows the token embedding when it has been trained and frozen again', async () => {
  const backbone = await loadBackbone(fixture('gpt2-plain'))
  await backbone.setTrainable(/^h\./)
  await backbone.setTrainable(false)
  expect(backbone.fingerprint).toBe(original)
  await backbone.setTrainable(/^wte/)
  await backbone.tokenEmbedding.mul_(1.5)
  await backbone.setTrainable(false)
  expect(backbone.fingerprint).not.toBe(original)

  const folder = temporaryFolder()
  await saveBackbone(folder, backbone)
  expect(await fingerprintOf(folder)).toBe(backbone.fingerprint)
  backbone.dispose()
})
