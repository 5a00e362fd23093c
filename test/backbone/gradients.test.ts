import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CausalBackbone } from '../../lib/backbone/index.js'
import {
  Generator,
  memory,
  noGrad,
  randn,
  type Tensor,
  tidy,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import { counted, distance, fixture, golden, int64, loadCausal } from './golden.js'

let backbone: CausalBackbone
const texts = golden('gpt2-plain').rows.map((row) => row.ids)

beforeAll(async () => {
  backbone = await loadCausal(fixture('gpt2-plain'), { dtype: 'float64' })
})
afterAll(() => backbone.dispose())

describe('gradients', () => {
  test('reach the input and no parameter', async () => {
    const x = await (await backbone.embed(int64([texts[2] as number[]]))).requiresGrad_()
    const { hidden } = await backbone.run({ x, positions: int64(counted(1, 9)) })
    const logits = await backbone.head(hidden.select(0, 0))
    await logits.logSoftmax(1).select(1, 3).sum().backward()
    const gradient = (await x.grad()) as Tensor
    expect(gradient.abs().amin().item()).toBeGreaterThan(0)
    for (const parameter of backbone.parameters().values()) {
      expect(parameter.requiresGrad).toBe(false)
      expect(await parameter.grad()).toBeNull()
    }
  })

  test('are not recorded under noGrad', async () => {
    const x = await (await backbone.embed(int64([[1, 2]]))).requiresGrad_()
    const run = () => backbone.run({ x, positions: int64([[0, 1]]) })
    expect((await run()).hidden.requiresGrad).toBe(true)
    expect((await noGrad(run)).hidden.requiresGrad).toBe(false)
  })
})

describe('head', () => {
  test('gives only the named rows of the output matrix', async () => {
    const h = randn([3, backbone.config.hiddenSize], {
      generator: new Generator({ seed: 2 }),
      dtype: 'float64',
    })
    const all = await backbone.head(h)
    expect(all.shape).toEqual([3, backbone.config.vocabSize])
    const rows = int64([7, 500, 7])
    const some = await backbone.head(h, rows)
    expect(distance(some, all.indexSelect(1, rows))).toBeLessThan(1e-12)
  })

  test('of a tied model is the token embedding', async () => {
    const h = backbone.tokenEmbedding.slice(0, 4, 6)
    const expected = h.matmul(backbone.tokenEmbedding.transpose(0, 1))
    expect(distance(await backbone.head(h), expected)).toBeLessThan(1e-12)
  })
})

test('the number of live tensors stays the same over many runs', async () => {
  const step = () =>
    tidy(async () => {
      const x = await (await backbone.embed(int64([[1, 2, 3]]))).requiresGrad_()
      const { hidden } = await backbone.run({ x, positions: int64(counted(1, 3)) })
      await (await backbone.head(hidden.select(0, 0))).sum().backward()
    })
  await step()
  const { tensors, bytes } = await settledMemory()
  for (let i = 0; i < 20; i++) await step()
  expect(memory().tensors).toBeLessThanOrEqual(tensors)
  expect(memory().bytes).toBeLessThanOrEqual(bytes)
})
