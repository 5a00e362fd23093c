// Golden values and gradients of every op, and the comparison with them on a device.
// They lie in test/fixtures/ops, written by test/fixtures/make_ops.py with PyTorch in Python.

import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import * as torch from '../../lib/torch/index.js'
import { type DType, Generator, type Tensor } from '../../lib/torch/index.js'

export interface Case {
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
export const { cases } = JSON.parse(
  readFileSync(new URL('ops.json', folder), 'utf8'),
) as { cases: Case[] }
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

function argument(value: unknown, leaves: Map<string, Tensor>, device: string): unknown {
  if (Array.isArray(value)) return value.map((item) => argument(item, leaves, device))
  if (value === 'cpu') return device
  if (typeof value !== 'object' || value === null) return value
  const { $tensor, $number, $generator, transpose } = value as {
    $tensor?: string
    $number?: string
    $generator?: number
    transpose?: [number, number]
  }
  if ($number !== undefined) return Number($number)
  if ($generator !== undefined) return new Generator({ seed: $generator })
  const name = $tensor as string
  const leaf = leaves.get(name) ?? golden.tensor(name).to(device)
  return transpose ? leaf.transpose(...transpose) : leaf
}

const plain = (t: Tensor) => Array.from(t.data() as ArrayLike<number | bigint>)

interface Tolerance {
  rtol: number
  atol: number
}

function expectClose(got: Tensor, key: string, { rtol, atol }: Tolerance) {
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

/**
 * Runs a case on `device` and compares values and gradients.
 *
 * @param least tolerances of at least this much: another device sums in another order
 */
export async function expectGolden(
  c: Case,
  device: string,
  least: Tolerance = { rtol: 0, atol: 0 },
): Promise<void> {
  const within = ({ rtol, atol }: Tolerance) => ({
    rtol: Math.max(rtol, least.rtol),
    atol: Math.max(atol, least.atol),
  })
  const leaves = new Map<string, Tensor>()
  for (const name of Object.keys(c.gradients ?? {})) {
    leaves.set(name, torch.parameter(golden.tensor(name).to(device)))
  }
  const call = calls[c.op] ?? method(c.op as keyof Tensor)
  const args = c.args.map((arg) => argument(arg, leaves, device))
  const result = await (call as Untyped)(...args)
  if (c.result !== undefined) return expect(result).toBe(c.result)
  const outputs = (c.returnsList ? result : [result]) as Tensor[]
  expect(outputs.length).toBe(c.outputs.length)
  for (const [i, output] of c.outputs.entries()) {
    // The signs of singular vectors are free: compared below by their product.
    if (c.compare === 'svd' && i !== 1) expect(outputs[i]?.shape).toEqual(output.shape)
    else expectClose(outputs[i] as Tensor, output.key, within(output))
  }
  if (c.compare === 'svd') {
    const [U, S, Vh] = outputs as [Tensor, Tensor, Tensor]
    const k = S.numel
    const product = U.slice(1, 0, k)
      .mul(S)
      .matmul(Vh.slice(0, 0, k))
    const given = argument(c.args[0], new Map(), device) as Tensor
    expect(product.allclose(given, within({ rtol: 1e-10, atol: 1e-10 }))).toBe(true)
  }
  if (!c.gradients) return
  let total: Tensor = torch.zeros([], { dtype: 'float64', device })
  for (const [i, weight] of (c.weights ?? []).entries()) {
    if (weight !== null)
      total = total.add(
        (outputs[i] as Tensor).mul(golden.tensor(weight).to(device)).sum(),
      )
  }
  await total.backward()
  for (const [input, key] of Object.entries(c.gradients)) {
    const leaf = leaves.get(input) as Tensor
    const single = leaf.dtype === 'float32'
    const tolerance = single ? { rtol: 2e-5, atol: 2e-6 } : { rtol: 1e-10, atol: 1e-11 }
    expectClose((await leaf.grad()) as Tensor, key, within(tolerance))
  }
}
