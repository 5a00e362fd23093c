// Products of float32 matrices on the CPU, by whichever library computes them: every layout that a
// model's forward and backward passes give, against float64.

import { describe, expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { run } = bundledPrograms(
  { torch: 'torch/index.ts', native: 'native.ts' },
  `import * as torch from './torch.mjs'
import { native } from './native.mjs'
`,
)

// [M, K] x [K, N]: from one row to many, and sizes on both sides of the limit below which a product
// stays with libtorch.
const ERRORS = `
  const generator = new torch.Generator({ seed: 0 })
  // Of a stored matrix, the view that is multiplied.
  const LEFT = {
    plain: { stored: (M, K) => [M, K], view: (x) => x },
    transposed: { stored: (M, K) => [K, M], view: (x) => x.transpose(0, 1) },
    columns: { stored: (M, K) => [M, 2 * K], view: (x, M, K) => x.slice(1, K) },
    repeated: { stored: (M, K) => [1, K], view: (x, M, K) => x.expand([M, K]) },
  }
  const RIGHT = {
    ...LEFT,
    rows: { stored: (K, N) => [2 * K, N], view: (x, K) => x.slice(0, K) },
    'transposed columns': { stored: (K, N) => [N, 2 * K], view: (x, K) => x.slice(1, K).transpose(0, 1) },
  }
  const SIZES = [[1, 1024, 768], [3, 700, 300], [8, 300, 5003], [70, 192, 576], [5, 8, 4], [300, 1, 2048]]
  const module = await torch.ScriptModule.compile({
    name: 'Affine',
    source: 'def forward(self, a: Tensor, b: Tensor, bias: Tensor) -> Tensor:\\n    return torch.addmm(bias, a, b)\\n',
  })

  async function errors() {
    const found = {}
    for (const [leftName, left] of Object.entries(LEFT))
      for (const [rightName, right] of Object.entries(RIGHT))
        for (const [M, K, N] of SIZES) {
          const shapes = [left.stored(M, K), right.stored(K, N), [N]]
          const stored = shapes.map((shape) => torch.randn(shape, { generator, dtype: 'float64' }))
          const views = ([a, b, bias]) => [left.view(a, M, K), right.view(b, K, N), bias]
          found[[leftName, rightName, M, K, N]] = await worst(stored, views)
        }
    return found
  }

  /** Of a b, of a b + bias, and of the latter's gradients: largest error over the largest value. */
  async function worst(stored, views) {
    const exact = await results(stored, views)
    const found = await results(stored.map((one) => one.to('float32')), views)
    const shares = found.map((one, i) => {
      const scale = exact[i].abs().amax().item()
      return one.to('float64').sub(exact[i]).abs().amax().item() / scale
    })
    return Math.max(...shares)
  }

  async function results(stored, views) {
    const leaves = []
    for (const one of stored) leaves.push(await one.detach().requiresGrad_())
    const [a, b, bias] = views(leaves)
    const sum = await module.call('forward', a, b, bias)
    await sum.square().sum().backward()
    const gradients = []
    for (const leaf of leaves) gradients.push(await leaf.grad())
    return [a.detach().matmul(b.detach()), sum.detach(), ...gradients]
  }
`

describe.each(['onednn', 'libtorch'])('products by %s', (name) => {
  test('are computed by it, small ones always by libtorch', async () => {
    const program = `
      const isOneDnn = async (size) => {
        const a = torch.ones([size, size])
        const { ops } = await torch.recordOps(async () => a.matmul(a))
        return ops.some((op) => op.name.startsWith('mkldnn::'))
      }
      console.log(await isOneDnn(256), await isOneDnn(16))`
    const ended = await run(program, { env: { LOPT_PRODUCTS: name } })
    expect(ended).toEqual(fine(`${name === 'onednn'} false\n`))
  })

  test('are those of float64, in every layout, with their gradients', async () => {
    const program = `${ERRORS}
      const found = Object.entries(await errors())
      const wrong = found.filter(([, error]) => !(error < 1e-5))
      console.log(native().products, found.length, JSON.stringify(wrong))`
    const ended = await run(program, { env: { LOPT_PRODUCTS: name } })
    expect(ended).toEqual(fine(`${name} 144 []\n`))
  })
})

test('nothing is printed when one is chosen, and the choice is the same each time', async () => {
  const program = 'console.log(native().products)'
  const [first, second] = [await run(program), await run(program)]
  expect(first.stdout).toMatch(/^(onednn|libtorch)\n$/)
  expect(second).toEqual(first)
})

test('another name is refused with those that are', async () => {
  const program = `
    try { native() } catch ({ code, message }) { console.log(code, message) }`
  const { stdout } = await run(program, { env: { LOPT_PRODUCTS: 'blas' } })
  expect(stdout).toContain('ERR_ADDON_LOAD')
  expect(stdout).toContain(
    'Expected LOPT_PRODUCTS to be onednn or libtorch but it is blas',
  )
})
