// Every op's values and gradients against PyTorch's.
// Golden values: test/fixtures/ops, written by test/fixtures/make_ops.py with PyTorch in Python.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import * as torch from '../../lib/torch/index.js'
import { type DType, Generator, type Tensor } from '../../lib/torch/index.js'

interface Case {
  key: string
  op: string
  args: unknown[]
  note?: string
  compare: 'values' | 'svd'
  result?: boolean
  returnsList?: boolean
  outputs: { key: string; dtype: DType; shape: number[]; rtol: number; atol: number }[]
  weights?: (string | null)[]
  gradients?: Record<string, string>
}

const folder = new URL('../fixtures/ops/', import.meta.url)
const { cases } = JSON.parse(readFileSync(new URL('ops.json', folder), 'utf8')) as {
  cases: Case[]
}
const golden = torch.openSafetensors(new URL('ops.safetensors', folder).pathname)

// The fixture lists arguments as lib/native.ts does; here is the public form of each op.
// Arguments come from JSON: each entry says what it takes them for.
type Call = (...args: never[]) => unknown
type Untyped = (...args: unknown[]) => unknown
type T = Tensor

const none = <V>(value: V | null) => value ?? undefined
const method =
  (name: keyof T): Call =>
  (a: T, ...rest: unknown[]) =>
    (a[name] as Untyped).apply(a, rest)
const reduction =
  (name: 'sum' | 'mean' | 'amax' | 'amin' | 'argmax' | 'argmin'): Call =>
  (a: T, dim: number | number[] | null, keepdim: boolean) =>
    (a[name] as Untyped).call(
      a,
      Array.isArray(dim) && dim.length === 0 ? undefined : none(dim),
      {
        keepdim,
      },
    )

const calls: Record<string, Call> = {
  zeros: (shape: number[], dtype: DType, device: string) =>
    torch.zeros(shape, { dtype, device }),
  ones: (shape: number[], dtype: DType, device: string) =>
    torch.ones(shape, { dtype, device }),
  full: (shape: number[], value: number, dtype: DType, device: string) =>
    torch.full(shape, value, { dtype, device }),
  arange: (start: number, end: number, step: number, dtype: DType, device: string) =>
    torch.arange(start, end, { step, dtype, device }),
  linspace: (start: number, end: number, steps: number, dtype: DType, device: string) =>
    torch.linspace(start, end, steps, { dtype, device }),
  eye: (n: number, dtype: DType, device: string) => torch.eye(n, { dtype, device }),
  randn: (shape: number[], generator: Generator, dtype: DType) =>
    torch.randn(shape, { generator, dtype }),
  rand: (shape: number[], generator: Generator, dtype: DType) =>
    torch.rand(shape, { generator, dtype }),
  randint: (low: number, high: number, shape: number[], generator: Generator) =>
    torch.randint(low, high, shape, { generator }),
  randperm: (n: number, generator: Generator) => torch.randperm(n, { generator }),
  multinomial: (p: T, count: number, replacement: boolean, generator: Generator) =>
    torch.multinomial(p, count, { replacement, generator }),
  add: (a: T, b: T | number, alpha: number) => a.add(b, { alpha }),
  sub: (a: T, b: T | number, alpha: number) => a.sub(b, { alpha }),
  clamp: (a: T, min: number | null, max: number | null) =>
    a.clamp({ min: none(min), max: none(max) }),
  sum: reduction('sum'),
  mean: reduction('mean'),
  amax: reduction('amax'),
  amin: reduction('amin'),
  argmax: reduction('argmax'),
  argmin: reduction('argmin'),
  std: (a: T, dim: number[] | null, correction: number, keepdim: boolean) =>
    a.std({ dim: none(dim), correction, keepdim }),
  variance: (a: T, dim: number[] | null, correction: number, keepdim: boolean) =>
    a.variance({ dim: none(dim), correction, keepdim }),
  logsumexp: (a: T, dim: number[], keepdim: boolean) => a.logsumexp(dim, { keepdim }),
  norm: (a: T, p: number, dim: number[], keepdim: boolean) => a.norm({ p, dim, keepdim }),
  topk: (a: T, k: number, dim: number, largest: boolean, sorted: boolean) =>
    Object.values(a.topk(k, { dim, largest, sorted })),
  sort: (a: T, dim: number, descending: boolean, stable: boolean) =>
    Object.values(a.sort({ dim, descending, stable })),
  squeeze: (a: T, dim: number | null) => a.squeeze(none(dim)),
  flatten: (a: T, startDim: number, endDim: number) => a.flatten({ startDim, endDim }),
  to: (a: T, dtype: DType | null, device: string | null, nonBlocking: boolean) =>
    a.to({ dtype: dtype ?? undefined, device: device ?? undefined, nonBlocking }),
  allclose: (a: T, b: T, rtol: number, atol: number, equalNan: boolean) =>
    a.allclose(b, { rtol, atol, equalNan }),
  gelu: (a: T, approximate: 'none' | 'tanh') => a.gelu({ approximate }),
  addmm: (bias: T, a: T, b: T, beta: number, alpha: number) =>
    torch.addmm(bias, a, b, { beta, alpha }),
  layerNorm: (
    x: T,
    shape: number[],
    weight: T | undefined,
    bias: T | undefined,
    eps: number,
  ) => torch.layerNorm(x, shape, { weight, bias, eps }),
  rmsNorm: (x: T, shape: number[], weight: T | undefined, eps: number) =>
    torch.rmsNorm(x, shape, { weight, eps }),
  scaledDotProductAttention: (
    q: T,
    k: T,
    v: T,
    mask: T | undefined,
    isCausal: boolean,
    scale: number | null,
  ) => torch.scaledDotProductAttention(q, k, v, { mask, isCausal, scale: none(scale) }),
  crossEntropy: (
    logits: T,
    target: T,
    weight: T | undefined,
    reduction: 'mean' | 'sum' | 'none',
    ignoreIndex: number,
    labelSmoothing: number,
  ) =>
    torch.crossEntropy(logits, target, {
      weight,
      reduction,
      ignoreIndex,
      labelSmoothing,
    }),
  svd: async (a: T, fullMatrices: boolean) =>
    Object.values(await torch.svd(a, { fullMatrices })),
  linear: torch.linear,
  einsum: torch.einsum,
  where: torch.where,
  cat: torch.cat,
  stack: torch.stack,
  embedding: torch.embedding,
  lstsq: torch.lstsq,
}

function argument(value: unknown, leaves: Map<string, Tensor>): unknown {
  if (Array.isArray(value)) return value.map((item) => argument(item, leaves))
  if (typeof value !== 'object' || value === null) return value
  const { $tensor, $number, $generator, transpose } = value as {
    $tensor?: string
    $number?: string
    $generator?: number
    transpose?: [number, number]
  }
  if ($number !== undefined) return Number($number)
  if ($generator !== undefined) return new Generator({ seed: $generator })
  const leaf = leaves.get($tensor as string) ?? golden.tensor($tensor as string)
  return transpose ? leaf.transpose(...transpose) : leaf
}

const plain = (t: Tensor) => Array.from(t.data() as ArrayLike<number | bigint>)

function expectClose(
  got: Tensor,
  key: string,
  { rtol, atol }: { rtol: number; atol: number },
) {
  const expected = golden.tensor(key)
  expect(got.shape, key).toEqual(expected.shape)
  expect(got.dtype, key).toBe(expected.dtype)
  const wanted = plain(expected)
  for (const [i, value] of plain(got).entries()) {
    const want = wanted[i] as number | bigint
    if (Object.is(value, want) || value === want) continue
    const off = Math.abs(Number(value) - Number(want))
    const allowed = atol + rtol * Math.abs(Number(want))
    if (!(off <= allowed)) expect.fail(`${key}[${i}]: ${value}, not ${want}`)
  }
}

describe('golden values', () => {
  test.each(cases.map((c) => [c.note ? `${c.key}: ${c.note}` : c.key, c] as const))(
    '%s equals PyTorch',
    async (_, c) => {
      const leaves = new Map<string, Tensor>()
      for (const name of Object.keys(c.gradients ?? {})) {
        leaves.set(name, torch.parameter(golden.tensor(name)))
      }
      const call = calls[c.op] ?? method(c.op as keyof Tensor)
      const result = await (call as Untyped)(
        ...c.args.map((arg) => argument(arg, leaves)),
      )
      if (c.result !== undefined) return expect(result).toBe(c.result)
      const outputs = (c.returnsList ? result : [result]) as Tensor[]
      expect(outputs.length).toBe(c.outputs.length)
      for (const [i, output] of c.outputs.entries()) {
        // The signs of singular vectors are free: compared below by their product.
        if (c.compare === 'svd' && i !== 1)
          expect(outputs[i]?.shape).toEqual(output.shape)
        else expectClose(outputs[i] as Tensor, output.key, output)
      }
      if (c.compare === 'svd') {
        const [U, S, Vh] = outputs as [Tensor, Tensor, Tensor]
        const k = S.numel
        const product = U.slice(1, 0, k)
          .mul(S)
          .matmul(Vh.slice(0, 0, k))
        const given = argument(c.args[0], new Map()) as Tensor
        expect(product.allclose(given, { rtol: 1e-10, atol: 1e-10 })).toBe(true)
      }
      if (!c.gradients) return
      let total: Tensor = torch.zeros([], { dtype: 'float64' })
      for (const [i, weight] of (c.weights ?? []).entries()) {
        if (weight !== null)
          total = total.add((outputs[i] as Tensor).mul(golden.tensor(weight)).sum())
      }
      await total.backward()
      for (const [input, key] of Object.entries(c.gradients)) {
        const leaf = leaves.get(input) as Tensor
        const single = leaf.dtype === 'float32'
        const tolerance = single
          ? { rtol: 2e-5, atol: 2e-6 }
          : { rtol: 1e-10, atol: 1e-11 }
        expectClose((await leaf.grad()) as Tensor, key, tolerance)
      }
    },
  )
})

describe('what an op refuses', () => {
  const a = torch.zeros([2, 3])
  const whole = torch.zeros([2], { dtype: 'int64' })

  test.each<[string, () => unknown, RegExp]>([
    [
      'matmul',
      () => torch.zeros([8, 20, 768]).matmul(torch.zeros([512, 4])),
      /^matmul: \[8, 20, 768\] x \[512, 4\]/,
    ],
    ['add', () => a.add(torch.zeros([2, 2])), /^add: \[2, 3\] x \[2, 2\]/],
    ['reshape', () => a.reshape([4]), /^reshape: \[2, 3\]/],
    ['view of a transposed tensor', () => a.transpose(0, 1).view([6]), /^view: \[3, 2\]/],
    ['transpose', () => a.transpose(0, 2), /^transpose: \[2, 3\]/],
    ['select', () => a.select(0, 2), /^select: \[2, 3\]/],
    ['expand', () => a.expand([3, 3]), /^expand/],
    ['split', () => a.split([1, 1], 1), /^split/],
    ['split of a dimension that is not there', () => a.split(1, 5), /dim/],
    ['cat of nothing', () => torch.cat([]), /^cat/],
    ['cat', () => torch.cat([a, torch.zeros([2, 2])]), /^cat: \[2, 3\] x \[2, 2\]/],
    ['stack', () => torch.stack([a, whole]), /^stack/],
    ['einsum', () => torch.einsum('ij,jk->ik', [a, a]), /^einsum/],
    ['einsum without sense', () => torch.einsum('!', [a]), /^einsum/],
    ['mean of whole numbers', () => whole.mean(), /^mean/],
    ['svd', () => torch.svd(torch.zeros([3])), /^svd: \[3\]/],
    [
      'gather beyond the end',
      () => a.gather(1, torch.full([2, 1], 9, { dtype: 'int64' })),
      /^gather/,
    ],
    ['gather by fractions', () => a.gather(1, a), /^gather/],
    [
      'indexSelect beyond the end',
      () => a.indexSelect(0, torch.tensor([2], { dtype: 'int64' })),
      /^indexSelect/,
    ],
    [
      'index beyond the end',
      () => a.index([torch.tensor([-3], { dtype: 'int64' })]),
      /^index/,
    ],
    ['index by nothing', () => a.index([null]), /^index/],
    ['index by too many', () => a.index([whole, whole, whole]), /^index/],
    [
      'embedding beyond the end',
      () => torch.embedding(a, torch.tensor([5], { dtype: 'int64' })),
      /^embedding/,
    ],
    [
      'embedding below 0',
      () => torch.embedding(a, torch.tensor([-1], { dtype: 'int64' })),
      /^embedding/,
    ],
    [
      'scatter beyond the end',
      () => a.scatter(1, torch.full([2, 1], 7, { dtype: 'int64' }), a),
      /^scatter/,
    ],
    [
      'crossEntropy beyond the classes',
      () => torch.crossEntropy(a, torch.tensor([0, 3], { dtype: 'int64' })),
      /^crossEntropy/,
    ],
    [
      'crossEntropy of other rows',
      () => torch.crossEntropy(a, torch.zeros([3], { dtype: 'int64' })),
      /^crossEntropy/,
    ],
    ['layerNorm', () => torch.layerNorm(a, [4]), /^layerNorm/],
    [
      'attention with a mask and causal',
      () => torch.scaledDotProductAttention(a, a, a, { mask: a, isCausal: true }),
      /^scaledDotProductAttention/,
    ],
    ['maskedFill by a mask of floats', () => a.maskedFill(a as never, 1), /^maskedFill/],
    ['topk of more than there are', () => a.topk(4), /^topk/],
    ['clamp without bounds', () => a.clamp({}), /^clamp/],
    ['two dimensions that are one', () => a.sum([0, 0]), /^sum/],
    ['argmax of nothing', () => torch.zeros([0]).argmax(), /^argmax/],
    ['squeeze', () => a.squeeze(7), /^squeeze/],
    ['repeat', () => a.repeat([-1, 2]), /repeats/],
    ['slice with a step of 0', () => a.slice(0, 0, 1, 0), /step/],
    ['linear', () => torch.linear(a, torch.zeros([4, 4])), /^linear/],
    ['addmm', () => torch.addmm(a, a, a), /^addmm/],
    ['permute', () => a.permute([0, 0]), /^permute/],
  ])('%s: a RangeError with the shapes', async (_, work, message) => {
    let failure: unknown
    try {
      await work()
    } catch (error) {
      failure = error
    }
    expect(failure).toBeInstanceOf(RangeError)
    expect((failure as Error).message).toMatch(message)
  })

  test.each<[string, () => unknown, string]>([
    ['dim', () => a.transpose(1.5, 0), 'Expected dim0 to be an integer but received 1.5'],
    [
      'dim',
      () => a.softmax('1' as never),
      'Expected dim to be an integer but received string',
    ],
    ['dim', () => a.sum(Number.NaN), 'Expected dim to be an integer but received NaN'],
    [
      'dims',
      () => a.permute([0, 0.5]),
      'Expected dims[1] to be an integer but received 0.5',
    ],
    [
      'dims',
      () => a.permute(0 as never),
      'Expected dims to be an array of integers but received 0',
    ],
    [
      'alpha',
      () => a.add(a, { alpha: '2' as never }),
      'Expected alpha to be a number but received string',
    ],
    [
      'tensors',
      () => torch.cat(a as never),
      'Expected tensors to be an array of Tensors but received Tensor',
    ],
    [
      'tensors',
      () => torch.cat([a, 1] as never),
      'Expected a Tensor for tensors[1] but received number',
    ],
    [
      'mask',
      () => torch.scaledDotProductAttention(a, a, a, { mask: true as never }),
      'Expected a Tensor for mask but received boolean',
    ],
    [
      'equation',
      () => torch.einsum(a as never, [a]),
      'Expected equation to be a string but received Tensor',
    ],
    [
      'index',
      () => a.index(a as never),
      'Expected indices to be an array but received Tensor',
    ],
  ])('a wrong %s: a TypeError that names it', (_, work, message) => {
    expect(work).toThrow(new TypeError(message))
  })

  test('an op that a dtype has not: ERR_UNSUPPORTED', () => {
    expect(() => whole.softmax(0)).toThrow(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED',
        message: expect.stringMatching(/^softmax: \[2\]/),
      }),
    )
  })

  test('an unknown choice: a RangeError that lists the choices', () => {
    expect(() => a.gelu({ approximate: 'sigmoid' as never })).toThrow(
      new RangeError('Expected approximate to be one of none, tanh but received sigmoid'),
    )
  })
})
