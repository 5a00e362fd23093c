// Recording of the ops that run.

import { describe, expect, test } from 'vitest'
import { cat, ones, parameter, recordOps, zeros } from '../../lib/torch/index.js'

describe('recorded ops', () => {
  test('have name, time and inputs, those of the backward pass too', async () => {
    const { value, ops, dropped } = await recordOps(
      async () => {
        const a = parameter(ones([2, 3]))
        const product = a.matmul(ones([3, 4]))
        await product.sum().backward()
        return product
      },
      { inputs: true },
    )
    expect(value.shape).toEqual([2, 4])
    expect(dropped).toBe(0)
    const product = ops.find(({ name }) => name === 'aten::mm')
    expect(product).toMatchObject({
      backward: false,
      inputs: [
        { device: 'cpu', dtype: 'float32', shape: [2, 3] },
        { device: 'cpu', dtype: 'float32', shape: [3, 4] },
      ],
    })
    expect(product?.durationUs).toBeGreaterThan(0)
    const outer = ops.find(({ name }) => name === 'aten::matmul')
    expect(outer?.startUs).toBeLessThan(product?.startUs as number)
    expect(ops.some(({ name, backward }) => backward && /MmBackward/.test(name))).toBe(
      true,
    )
  })

  test('have no inputs unless asked', async () => {
    const { ops } = await recordOps(() => ones([2]).add(1))
    expect(ops.map(({ name }) => name)).toContain('aten::add')
    expect(ops.every(({ inputs }) => inputs.length === 0)).toBe(true)
  })

  test('of a list of tensors are inputs too', async () => {
    const { ops } = await recordOps(() => cat([ones([2]), zeros([3])], 0), {
      inputs: true,
    })
    expect(
      ops.find(({ name }) => name === 'aten::cat')?.inputs.map(({ shape }) => shape),
    ).toEqual([[2], [3]])
  })

  test('are of one recording at a time, which ends when the function throws', async () => {
    await recordOps(async () => {
      await expect(recordOps(() => 1)).rejects.toThrow(RangeError)
    })
    await expect(
      recordOps(() => {
        throw new Error('mine')
      }),
    ).rejects.toThrow('mine')
    expect((await recordOps(() => 1)).value).toBe(1)
  })
})
