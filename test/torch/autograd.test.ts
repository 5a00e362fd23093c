// Gradients against values that follow from calculus by hand, and against finite differences.

import { describe, expect, test } from 'vitest'
import {
  clipGradNorm,
  crossEntropy,
  Generator,
  grad,
  layerNorm,
  noGrad,
  ones,
  parameter,
  randn,
  scaledDotProductAttention,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/torch/index.js'

describe('backward', () => {
  test('accumulates the derivative in leaves', async () => {
    const x = parameter(tensor([1, 2, 3]))
    expect(await x.grad()).toBe(null)
    await x.square().sum().backward()
    expect((await x.grad())?.toArray()).toEqual([2, 4, 6])
    await x.sum().backward()
    expect((await x.grad())?.toArray()).toEqual([3, 5, 7])
    await x.zeroGrad()
    expect(await x.grad()).toBe(null)
  })

  test('takes the gradient of an output with several elements', async () => {
    const x = parameter(tensor([1, 2]))
    await expect(x.mul(2).backward()).rejects.toThrow(RangeError)
    await x.mul(2).backward({ gradient: tensor([1, 10]) })
    expect((await x.grad())?.toArray()).toEqual([2, 20])
  })

  test('frees the graph unless it is retained', async () => {
    const x = parameter(tensor([3]))
    const y = x.square().sum()
    await y.backward({ retainGraph: true })
    await y.backward()
    expect((await x.grad())?.toArray()).toEqual([12])
    await expect(y.backward()).rejects.toThrow(RangeError)
  })

  test('refuses an output without a graph', async () => {
    await expect(tensor([1]).sum().backward()).rejects.toThrow(RangeError)
    await expect(noGrad(() => parameter(ones([1])).mul(2)).backward()).rejects.toThrow(
      'does not require grad',
    )
  })

  test('does not flow through detach', async () => {
    const x = parameter(tensor([2]))
    const y = x.mul(x.detach()).sum()
    await y.backward()
    expect((await x.grad())?.toArray()).toEqual([2])
    expect(x.detach().requiresGrad).toBe(false)
  })
})

describe('leaves', () => {
  test('share their elements with the tensor they were made from', async () => {
    const t = tensor([1, 2])
    const p = parameter(t)
    expect(p.requiresGrad).toBe(true)
    expect(p.isLeaf).toBe(true)
    expect(t.requiresGrad).toBe(false)
    await p.mul_(3)
    expect(t.toArray()).toEqual([3, 6])
  })

  test('are made and unmade by requiresGrad_', async () => {
    const t = ones([1])
    expect(await t.requiresGrad_()).toBe(t)
    expect(t.requiresGrad).toBe(true)
    await t.requiresGrad_(false)
    expect(t.requiresGrad).toBe(false)
    const whole = ones([1], { dtype: 'int64' })
    await expect(whole.requiresGrad_()).rejects.toThrow(RangeError)
    expect(() => parameter(whole)).toThrow(RangeError)
    const computed = parameter(ones([1])).mul(2)
    await expect(computed.requiresGrad_(false)).rejects.toThrow(RangeError)
  })

  test('take a gradient that is given', async () => {
    const p = parameter(zeros([2]))
    await p.setGrad(tensor([1, 2]))
    expect((await p.grad())?.toArray()).toEqual([1, 2])
    await expect(p.setGrad(tensor([1, 2, 3]))).rejects.toThrow(RangeError)
    await p.setGrad(null)
    expect(await p.grad()).toBe(null)
  })
})

describe('changes in place', () => {
  test('happen in the order they were asked for', async () => {
    const t = zeros([2])
    const done = Promise.all([
      t.fill_(1),
      t.add_(tensor([1, 2]), { alpha: 2 }),
      t.mul_(10),
    ])
    const read = t.read()
    await done
    expect([...(await read)]).toEqual([30, 50])
    await t.copy_(tensor([7]))
    expect(t.toArray()).toEqual([7, 7])
  })

  test('of a leaf build no graph', async () => {
    const p = parameter(ones([2]))
    await p.add_(1)
    expect(p.isLeaf).toBe(true)
    await p.sum().backward()
    expect((await p.grad())?.toArray()).toEqual([1, 1])
  })

  test('refuse shapes that do not fit', async () => {
    await expect(zeros([2]).copy_(zeros([3]))).rejects.toThrow(RangeError)
    await expect(zeros([2]).add_(zeros([2, 2]))).rejects.toThrow(RangeError)
  })

  test('of what a graph still needs make backward fail, not lie', async () => {
    const x = parameter(tensor([2]))
    const y = x.exp()
    await y.add_(1)
    await expect(y.sum().backward()).rejects.toThrow(RangeError)
  })
})

describe('grad', () => {
  test('gives gradients and accumulates nothing', async () => {
    const x = parameter(tensor([2]))
    const y = parameter(tensor([3]))
    const [dx, dy] = await grad(x.mul(y).sum(), [x, y])
    expect(dx?.toArray()).toEqual([3])
    expect(dy?.toArray()).toEqual([2])
    expect(await x.grad()).toBe(null)
  })

  test('gives null for an input that was not used, where allowed', async () => {
    const x = parameter(tensor([2]))
    const y = parameter(tensor([3]))
    const output = x.square().sum()
    await expect(grad(output, [y], { retainGraph: true })).rejects.toThrow(RangeError)
    expect(await grad(output, [y], { allowUnused: true })).toEqual([null])
  })

  test('differentiates twice', async () => {
    const x = parameter(tensor([2], { dtype: 'float64' }))
    const [first] = await grad(x.pow(3).sum(), x, { createGraph: true })
    expect(first?.toArray()).toEqual([12])
    const [second] = await grad((first as Tensor).sum(), x)
    expect(second?.toArray()).toEqual([12])
  })

  test('weighs several outputs', async () => {
    const x = parameter(tensor([1, 2]))
    const [dx] = await grad([x.mul(2), x.square()], [x], {
      gradOutputs: [tensor([1, 1]), tensor([10, 10])],
    })
    expect(dx?.toArray()).toEqual([22, 42])
  })
})

describe('clipGradNorm', () => {
  test('scales gradients to the norm and gives the norm before', async () => {
    const a = parameter(zeros([1]))
    const b = parameter(zeros([2]))
    await a.setGrad(tensor([3]))
    await b.setGrad(tensor([4, 0]))
    expect((await clipGradNorm([a, b], 1)).item()).toBeCloseTo(5, 6)
    expect((await a.grad())?.item()).toBeCloseTo(0.6, 5)
    expect((await b.grad())?.toArray()).toEqual([expect.closeTo(0.8, 5), 0])
  })

  test('leaves smaller gradients as they are', async () => {
    const a = parameter(zeros([1]))
    await a.setGrad(tensor([0.5]))
    await clipGradNorm([a], 1)
    expect((await a.grad())?.item()).toBe(0.5)
  })

  test('refuses a bound that is none', async () => {
    const a = parameter(zeros([1]))
    await a.setGrad(tensor([1]))
    await expect(clipGradNorm([a], 0)).rejects.toThrow(RangeError)
    await expect(clipGradNorm([a], Number.NaN)).rejects.toThrow(RangeError)
    await expect(clipGradNorm([a], '1' as never)).rejects.toThrow(TypeError)
    await expect(clipGradNorm(a as never, 1)).rejects.toThrow(TypeError)
  })
})

describe('gradients', () => {
  const functions: Record<string, (x: Tensor) => Tensor> = {
    gelu: (x) => x.gelu({ approximate: 'tanh' }).sum(),
    softmax: (x) => x.softmax(-1).square().sum(),
    logsumexp: (x) => x.logsumexp(1).sum(),
    layerNorm: (x) => layerNorm(x, [4]).mul(x).sum(),
    crossEntropy: (x) => crossEntropy(x, tensor([1, 3, 0], { dtype: 'int64' })),
    attention: (x) =>
      scaledDotProductAttention(x.unsqueeze(0), x.unsqueeze(0), x.unsqueeze(0), {
        isCausal: true,
      })
        .square()
        .sum(),
    matmul: (x) => x.matmul(x.transpose(0, 1)).tanh().sum(),
    variance: (x) => x.variance({ dim: 1 }).sum(),
  }

  test.each(Object.keys(functions))('of %s equal finite differences', async (name) => {
    const f = functions[name] as (x: Tensor) => Tensor
    const start = randn([3, 4], {
      generator: new Generator({ seed: 1 }),
      dtype: 'float64',
    })
    const [analytic] = await grad(f(parameter(start)), [parameter(start)], {
      allowUnused: true,
    })
    expect(analytic).toBe(null) // another leaf: not in the graph
    const x = parameter(start)
    const [gradient] = await grad(f(x), [x])
    const values = [...(start.data() as Float64Array)]
    const step = 1e-6
    const numeric = values.map((_, i) => {
      const shifted = (by: number) =>
        f(
          tensor(
            values.map((value, j) => (j === i ? value + by : value)),
            { dtype: 'float64', shape: [3, 4] },
          ),
        ).item()
      return (shifted(step) - shifted(-step)) / (2 * step)
    })
    const got = (gradient as Tensor).flatten().toArray() as number[]
    for (const [i, value] of numeric.entries()) expect(got[i]).toBeCloseTo(value, 7)
  })
})
