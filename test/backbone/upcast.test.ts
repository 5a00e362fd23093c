// `reorder_and_upcast_attn`. Golden values: gpt2-upcast of make_gpt2.py, by transformers' eager attention.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type BackboneDType,
  type CausalBackbone,
  exportBackbone,
  saveBackbone,
} from '../../lib/backbone/index.js'
import { parameter, type Tensor } from '../../lib/torch/index.js'
import {
  counted,
  distance,
  fixture,
  golden,
  int64,
  loadCausal,
  logitsOf,
} from './golden.js'
import { copyOf, editJson, temporaryFolder } from './temporary.js'

const { rows, values } = golden('gpt2-upcast')
const ids = rows[3]?.ids as number[]
let without: string
beforeAll(() => {
  without = copyOf('gpt2-upcast')
  editJson(without, 'config.json', { reorder_and_upcast_attn: null })
})

async function withBackbone<T>(
  folder: string,
  dtype: BackboneDType,
  use: (backbone: CausalBackbone) => Promise<T>,
): Promise<T> {
  const backbone = await loadCausal(folder, { dtype })
  try {
    return await use(backbone)
  } finally {
    backbone.dispose()
  }
}

describe.each(['bfloat16', 'float16'] as const)('in %s', (dtype) => {
  let backbone: CausalBackbone
  beforeAll(async () => {
    backbone = await loadCausal(fixture('gpt2-upcast'), { dtype })
  })
  afterAll(() => backbone.dispose())

  /** Mean absolute difference to transformers' logits in this dtype, and the largest to its float32 ones. */
  async function errors(folder: string): Promise<{ half: number; exact: number }> {
    return await withBackbone(folder, dtype, async (one) => {
      const all = { half: 0, exact: 0 }
      for (const [i, row] of rows.entries()) {
        const logits = (await logitsOf(one, row.ids)).to('float32')
        const theirs = values(i, `logits.${dtype}`).to('float32')
        all.half += logits.sub(theirs).abs().mean().item() / rows.length
        all.exact = Math.max(all.exact, distance(logits, values(i, 'logits.float32')))
      }
      return all
    })
  }

  test('gives the logits of transformers, to which it is closer than without', async () => {
    const own = await errors(fixture('gpt2-upcast'))
    const plain = await errors(without)
    expect(own.half).toBeLessThan(plain.half / 2)
    // Logits reach 7: steps of 1/32 in bfloat16, of 1/256 in float16.
    expect(own.exact).toBeLessThan(dtype === 'bfloat16' ? 0.25 : 0.03)
  })

  // One or two steps of half precision at values up to 4, in each of three layers.
  const close = dtype === 'bfloat16' ? 0.1 : 0.0125

  test('is the same with a past, a mask, and queries of their own', async () => {
    const x = await backbone.embed(int64([ids]))
    const positions = counted(1, ids.length)
    const { hidden } = await backbone.run({ x, positions: int64(positions) })
    const { present: past } = await backbone.run({
      x: x.slice(1, 0, 5),
      positions: int64([positions[0]?.slice(0, 5) as number[]]),
    })
    const rest = await backbone.run({
      x: x.slice(1, 5),
      positions: int64([positions[0]?.slice(5) as number[]]),
      mask: int64([ids]).ge(0),
      past,
      queries: int64([[0, 11]]),
    })
    const wanted = hidden.indexSelect(1, int64([5, 16]))
    expect(distance(rest.hidden.to('float32'), wanted.to('float32'))).toBeLessThan(close)
  })

  test('is the same behind a prefix, and a gradient reaches it', async () => {
    const x = (await backbone.embed(int64([ids]))).detach()
    const { hidden } = await backbone.run({
      x,
      positions: int64(counted(1, ids.length)),
    })
    const prefixes = parameter(x.slice(1, 0, 5).clone())
    const together = await backbone.runWithPrefixes({
      prefixes,
      x: x.slice(1, 5),
      positions: int64(counted(1, ids.length - 5, 5)),
    })
    const wanted = hidden.slice(1, 5)
    expect(distance(together.to('float32'), wanted.to('float32'))).toBeLessThan(close)
    await together.to('float32').square().mean().backward()
    const gradient = (await prefixes.grad()) as Tensor
    expect(gradient.isfinite().all().item()).toBe(1)
    expect(gradient.abs().amax().item()).toBeGreaterThan(0)
  })
})

test.each(['float32', 'float64'] as const)('in %s changes nothing', async (dtype) => {
  const [a, b] = await Promise.all(
    [fixture('gpt2-upcast'), without].map((folder) =>
      withBackbone(folder, dtype, (backbone) => logitsOf(backbone, ids)),
    ),
  )
  expect(a?.equal(b as Tensor)).toBe(true)
})

test('is kept by a saved folder and an exported file, and is not in the fingerprint', async () => {
  const folder = temporaryFolder()
  const plain = await withBackbone(without, 'float32', async (one) => one.fingerprint)
  await withBackbone(fixture('gpt2-upcast'), 'bfloat16', async (backbone) => {
    expect(backbone.config.upcastAttention).toBe(true)
    expect(backbone.fingerprint).toBe(plain)
    await saveBackbone(folder, backbone)
    const text = readFileSync(join(folder, 'config.json'), 'utf8')
    expect(JSON.parse(text)).toMatchObject({ reorder_and_upcast_attn: true })
    await exportBackbone(join(folder, 'all.pt'), backbone)
    const logits = await logitsOf(backbone, ids)
    for (const source of [folder, join(folder, 'all.pt')]) {
      await withBackbone(source, 'bfloat16', async (again) => {
        expect(again.config.upcastAttention).toBe(true)
        expect((await logitsOf(again, ids)).equal(logits)).toBe(true)
      })
    }
  })
})
