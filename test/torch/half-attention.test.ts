// Attention in half precision on the CPU, in float32 or as libtorch has it: values and gradients against float64, on both
// sides of the count of keys from which on it is libtorch's.

import { expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { run } = bundledPrograms(
  { torch: 'torch/index.ts', native: 'native.ts' },
  `import * as torch from './torch.mjs'
import { native } from './native.mjs'
`,
)

const WORST = `
  const generator = new torch.Generator({ seed: 0 })
  const random = (shape) => torch.randn(shape, { generator, dtype: 'float64' })
  const masks = {
    none: () => ({}),
    causal: () => ({ isCausal: true }),
    bool: (Q, K) => ({ mask: random([2, 1, Q, K]).gt(-1) }),
    float: (Q, K, dtype) => ({ mask: random([1, 1, Q, K]).to(dtype) }),
  }
  async function results(given, dtype, options) {
    const [q, k, v] = await Promise.all(given.map((one) => one.to(dtype).detach().requiresGrad_()))
    const out = torch.scaledDotProductAttention(q, k, v, options)
    if (out.dtype !== dtype) throw new Error(out.dtype)
    await out.to('float64').square().sum().backward()
    return [out, await q.grad(), await k.grad(), await v.grad()].map((one) => one.detach())
  }
  /** Largest error over one and the largest value: a query of one key has no gradient. */
  async function worst() {
    let most = 0
    for (const dtype of ['bfloat16', 'float16'])
      for (const [Q, K] of [[1, 7], [40, 60], [3, 256], [5, 300]])
        for (const of of Object.values(masks)) {
          // What both read is rounded already.
          const given = [Q, K, K].map((L) => random([2, 3, L, 16]).to(dtype).to('float64'))
          const options = of(Q, K, dtype)
          const mask = options.mask?.dtype === dtype ? options.mask.to('float64') : options.mask
          const exact = await results(given, 'float64', { ...options, ...(mask && { mask }) })
          const found = await results(given, dtype, options)
          found.forEach((one, i) => {
            const error = one.to('float64').sub(exact[i]).abs().amax().item()
            most = Math.max(most, error / (1 + exact[i].abs().amax().item()))
          })
        }
    return most
  }
`

test.each(['', 'libtorch'])(
  'attention in half precision is right: LOPT_PRODUCTS=%s',
  async (products) => {
    // bfloat16 has 8 bits; what goes back is made of values that were rounded on the way.
    const program = `${WORST}
      console.log((await worst()) < 0.02)`
    expect(await run(program, { env: { LOPT_PRODUCTS: products } })).toEqual(
      fine('true\n'),
    )
  },
)

test('attention to few keys is that of float32, rounded, where it is computed so', async () => {
  const program = `${WORST}
    const isOwn = native().halfAttention === 'float32'
    const same = async (K) => {
      const given = [4, K, K].map((L) => random([1, 2, L, 16]).to('bfloat16'))
      const [half] = await results(given, 'bfloat16', {})
      const [whole] = await results(given, 'float32', {})
      return half.to('float32').equal(whole.to('bfloat16').to('float32'))
    }
    const isSame = await same(60)
    console.log(isOwn ? isSame : 'libtorch')`
  const { stdout } = await run(program)
  expect(stdout).toMatch(/^(true|libtorch)$/m)
})
