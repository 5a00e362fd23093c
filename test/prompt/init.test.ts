// Expected values are computed here from the definitions: DESIGN section 4, "Initialisation".

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  type CreatePromptOptions,
  createPrompt,
  savePrompt,
} from '../../lib/prompt/index.js'
import { svd, type Tensor, tensor } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-init-'))
let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
})
afterAll(() => {
  backbone.dispose()
  rmSync(folder, { recursive: true })
})

const std = (x: Tensor) => x.detach().std().item()
const rows = (ids: number[]) =>
  backbone.tokenEmbedding.detach().indexSelect(0, tensor(ids, { dtype: 'int64' }))
const error = (a: Tensor, b: Tensor) =>
  a.detach().sub(b.detach()).norm().item() / b.detach().norm().item()

function start(options: CreatePromptOptions) {
  const prompt = createPrompt(backbone, { length: 8, rank: 3, ...options })
  const { U, V, X } = prompt.parameters as { U: Tensor; V: Tensor; X: Tensor }
  return {
    U,
    V,
    full: X,
    X0: prompt.buffers.X0 as Tensor,
    X: prompt.inputs().detach(),
    prompt,
  }
}

describe('a random start', () => {
  test.each([
    ['lopt-1', 'relu'],
    ['lopt-2', 'relu'],
    ['lopt-2', 'tanh'],
    ['lopt-2', 'gelu'],
    ['lopt-2', 'soft-threshold'],
    ['lopt-2', 'identity'],
    ['full', 'relu'],
  ] as const)(
    'of %s with σ %s has the standard deviation of the token embeddings',
    (method, activation) => {
      const { X } = start({ method, activation, init: 'random', length: 20 })
      const wanted = std(backbone.tokenEmbedding)
      // exact for the factored methods, a sample of 640 for the full prompt
      const tolerance = method === 'full' ? 0.1 : 1e-9
      expect(Math.abs(std(X) / wanted - 1)).toBeLessThan(tolerance)
    },
  )

  test('draws U and V alike', () => {
    const { U, V } = start({ init: 'random', length: 60, rank: 16 })
    expect(Math.abs(std(U) / std(V) - 1)).toBeLessThan(0.15)
  })
})

describe('a start from given vectors', () => {
  const text = 'text:Every animal eats a plant'

  test("is a text's embeddings, repeated to P", () => {
    const ids = backbone.tokenizer.encode('Every animal eats a plant')
    const { full } = start({ method: 'full', init: text })
    const cycled = Array.from({ length: 8 }, (_, i) => ids[i % ids.length] as number)
    expect(error(full, rows(cycled))).toBe(0)
  })

  test("is a text's embeddings, cut to P", () => {
    const ids = backbone.tokenizer.encode('Every animal eats a plant')
    const { full } = start({ method: 'full', init: text, length: 2 })
    expect(error(full, rows(ids.slice(0, 2)))).toBe(0)
  })

  test("is the label words' embeddings, with the space before them", () => {
    const ids = [' good', ' no'].flatMap((word) => backbone.tokenizer.encode(word))
    const { full } = start({ method: 'full', init: 'labels', labels: ['good', 'no'] })
    const cycled = Array.from({ length: 8 }, (_, i) => ids[i % ids.length] as number)
    expect(error(full, rows(cycled))).toBe(0)
  })

  test('is embeddings of tokens of the vocabulary, each its own', () => {
    const { full } = start({ method: 'full', init: 'vocab', length: 40 })
    const table = backbone.tokenEmbedding.detach()
    const found = Array.from({ length: 40 }, (_, i) => {
      const same = table.eq(full.detach().select(0, i)).to('int64').sum(1)
      expect(same.amax().item()).toBe(32)
      return same.argmax().item()
    })
    expect(new Set(found).size).toBe(40)
  })

  test("is another prompt file's X, whatever its method", async () => {
    for (const method of ['lopt-1', 'lopt-2', 'full'] as const) {
      const path = join(folder, `${method}.safetensors`)
      const first = start({ method, init: 'random' })
      await savePrompt(path, first.prompt)
      const second = start({ method: 'full', init: path })
      expect(error(second.full, first.X)).toBeLessThan(1e-6) // the file is float32
    }
  })

  test('refuses a prompt file of another length, with both shapes and the length to give', async () => {
    const path = join(folder, 'eight.safetensors')
    await savePrompt(path, start({}).prompt)
    expect(() => createPrompt(backbone, { length: 9, init: path })).toThrow(
      expect.objectContaining({
        code: 'ERR_PROMPT_FILE',
        message: expect.stringMatching(/\[8, 32\].*\[9, 32\].*give `length` 8$/),
      }),
    )
  })

  test('makes LoPT-1 the best approximation of its rank, with balanced factors', async () => {
    const { full } = start({ method: 'full', init: 'vocab', seed: 4 })
    const { U, V, X } = start({ method: 'lopt-1', init: 'vocab', seed: 4 })
    const { S } = await svd(full.detach())
    const spectrum = S.toArray() as number[]
    // Eckart and Young: what is left are the singular values that were cut off
    const left = Math.hypot(...spectrum.slice(3))
    expect(X.sub(full.detach()).norm().item()).toBeCloseTo(left, 9)
    // UᵀU = VVᵀ = diag(S)
    const gram = (m: Tensor) => m.detach().matmul(m.detach().transpose(0, 1))
    const diagonal = tensor(
      spectrum.slice(0, 3).map((s, i) => [0, 1, 2].map((j) => (i === j ? s : 0))),
      { dtype: 'float64' },
    )
    expect(error(gram(U.transpose(0, 1)), diagonal)).toBeLessThan(1e-9)
    expect(error(gram(V), diagonal)).toBeLessThan(1e-9)
  })

  test('gives LoPT-1 of full rank back exactly', () => {
    const given = start({ method: 'full', init: 'vocab' }).full
    expect(
      error(start({ method: 'lopt-1', rank: 8, init: 'vocab' }).X, given),
    ).toBeLessThan(1e-12)
  })

  test.each(['relu', 'tanh', 'gelu', 'identity'] as const)(
    'makes LoPT-2 with σ %s of X itself, its singular vectors and a least-squares fit',
    async (activation) => {
      const given = start({ method: 'full', init: 'vocab' }).full.detach()
      const { U, V, X0, X } = start({ method: 'lopt-2', activation, init: 'vocab' })
      expect(error(X0, given)).toBe(0)
      const { Vh } = await svd(given)
      const overlap = Vh.slice(0, 0, 3).matmul(U.detach()).abs() // [3, 3]
      const identity = tensor([
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
      ]).to('float64')
      expect(overlap.sub(identity).abs().amax().item()).toBeLessThan(1e-9)
      // least squares: what is left is orthogonal to σ(X₀U)
      const inner = X0.matmul(U.detach())
      const Z = {
        relu: inner.relu(),
        tanh: inner.tanh(),
        gelu: inner.gelu(),
        identity: inner,
      }[activation]
      const residual = X.sub(given)
      expect(Z.transpose(0, 1).matmul(residual).abs().amax().item()).toBeLessThan(1e-9)
      expect(error(X, Z.matmul(V.detach()))).toBeLessThan(1e-12)
    },
  )
})
