import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CausalBackbone, RunOptions } from '../../lib/backbone/index.js'
import { ones, type Tensor, zeros } from '../../lib/torch/index.js'
import { counted, fixture, int64, loadCausal } from './golden.js'

let backbone: CausalBackbone // 3 layers, 4 heads, H 32, 64 positions, 512 tokens
beforeAll(async () => {
  backbone = await loadCausal(fixture('gpt2-plain'))
})
afterAll(() => backbone.dispose())

const x = () => zeros([2, 5, 32])
const positions = () => int64(counted(2, 5))

test.each<[string, () => Promise<unknown>, RegExp]>([
  [
    'float ids',
    () => backbone.embed(zeros([1, 2])),
    /ids to be int64 but received float32/,
  ],
  [
    'ids of one dimension',
    () => backbone.embed(int64([1])),
    /ids of shape \[B, T\] but.*\[1\]/,
  ],
  [
    'no ids',
    () => backbone.embed(int64([[]])),
    /ids of shape \[B, T\] but received \[1, 0\]/,
  ],
  [
    'a number for ids',
    () => backbone.embed(3 as unknown as Tensor),
    /Expected a Tensor for ids but received number/,
  ],
  [
    'h of another size',
    () => backbone.head(zeros([2, 8])),
    /h of shape \[M, 32\] but.*\[2, 8\]/,
  ],
  [
    'float rows',
    () => backbone.head(zeros([2, 32]), zeros([1])),
    /rows to be int64 but received float32/,
  ],
])('%s are refused by name', async (_, attempt, message) => {
  await expect(attempt()).rejects.toThrow(message)
})

describe('run refuses', () => {
  const cases: [string, () => Partial<RunOptions>, RegExp][] = [
    [
      'x of another dtype',
      () => ({ x: zeros([2, 5, 32], { dtype: 'float64' }) }),
      /x to be float32 but received float64/,
    ],
    [
      'x of another size',
      () => ({ x: zeros([2, 5, 31]) }),
      /x of shape \[B, Q, 32\] but received \[2, 5, 31\]/,
    ],
    [
      'positions that do not fit x',
      () => ({ positions: int64(counted(2, 4)) }),
      /positions of shape \[2, 5\] but received \[2, 4\]/,
    ],
    [
      'a mask that does not cover past and x',
      () => ({ mask: ones([2, 4], { dtype: 'bool' }) }),
      /mask of shape \[2, 5\] but received \[2, 4\]/,
    ],
    [
      'a float mask',
      () => ({ mask: ones([2, 5]) }),
      /mask to be bool but received float32/,
    ],
    [
      'a past of too few layers',
      () => ({ past: [zeros([1, 4, 3, 8]), zeros([1, 4, 3, 8])] }),
      /past to hold 6 tensors, k and v of 3 layers, but received 2/,
    ],
    [
      'a past of unequal lengths',
      () => ({ past: [3, 3, 3, 3, 2, 3].map((length) => zeros([1, 4, length, 8])) }),
      /past\[4\] of shape \[1, 4, 3, 8\] but received \[1, 4, 2, 8\]/,
    ],
    [
      'a past of another batch size',
      () => ({ past: [3, 3, 3, 3, 3, 3].map((rows) => zeros([rows, 4, 3, 8])) }),
      /past\[0\] of shape \[2, 4, 3, 8\] but received \[3, 4, 3, 8\]/,
    ],
    ['an empty range', () => ({ first: 1, last: 1 }), /first 1 and last 1/],
    [
      'a layer too many',
      () => ({ last: 4 }),
      /last <= 3 but received first 0 and last 4/,
    ],
    ['half a layer', () => ({ last: 1.5 }), /integers but received 0, 1.5/],
    [
      'queries below the last layer',
      () => ({ last: 2, queries: int64([[0], [0]]) }),
      /last to be 3 with queries but received 2/,
    ],
  ]
  test.each(cases)('%s', async (_, wrong, message) => {
    const attempt = backbone.run({ x: x(), positions: positions(), ...wrong() })
    await expect(attempt).rejects.toThrow(message)
    await attempt.catch((error: unknown) => {
      expect(error instanceof RangeError || error instanceof TypeError).toBe(true)
    })
  })

  test.each([64, -1])('the position %i', async (position) => {
    const wrong = int64([[0, 1, 2, 3, position], ...counted(1, 5)])
    const attempt = backbone.run({ x: x(), positions: wrong })
    await expect(attempt).rejects.toThrow(RangeError)
    await expect(attempt).rejects.toThrow(
      `positions in 0..63, which is what this model has, but`,
    )
  })
})

test('an id outside the vocabulary fails without harm', async () => {
  await expect(backbone.embed(int64([[512]]))).rejects.toMatchObject({
    code: 'ERR_TORCH',
  })
  await expect(backbone.embed(int64([[-1]]))).rejects.toMatchObject({ code: 'ERR_TORCH' })
  expect((await backbone.embed(int64([[511]]))).shape).toEqual([1, 1, 32])
})

test('queries and rows out of range fail without harm', async () => {
  const queries = int64([[5], [0]])
  const attempt = backbone.run({ x: x(), positions: positions(), queries })
  await expect(attempt).rejects.toMatchObject({ code: 'ERR_TORCH' })
  const head = backbone.head(zeros([1, 32]), int64([512]))
  await expect(head).rejects.toMatchObject({ code: 'ERR_TORCH' })
})

test('a pattern of trainable parameters must be one, and match', async () => {
  await expect(backbone.setTrainable(/^transformer\./)).rejects.toThrow(
    'Expected a pattern that matches a parameter, such as',
  )
  await expect(backbone.setTrainable('h' as unknown as RegExp)).rejects.toThrow(
    'Expected a RegExp or false for pattern but received string',
  )
  await backbone.setTrainable(/^h\.1\.ln_1/g)
  const trained = [...backbone.parameters()].filter(([, p]) => p.requiresGrad)
  expect(trained.map(([name]) => name)).toEqual(['h.1.ln_1.weight', 'h.1.ln_1.bias'])
  await backbone.setTrainable(false)
})

test('a disposed backbone says so', async () => {
  const other = await loadCausal(fixture('gpt2-plain'))
  other.dispose()
  other.dispose()
  await expect(other.embed(int64([[1]]))).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  expect(() => other.tokenEmbedding.shape).toThrow(/dispos/)
})
