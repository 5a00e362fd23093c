// A tensor's products and reductions: sums, extremes, order, softmax. A dimension counts from the
// end when it is negative; `keepdim` keeps a reduced dimension with size 1.

import { checkDims, checkInteger, checkNumber, checkObject } from './check.js'
import { binding } from './context.js'
import type { DType, FloatOf, SumOf } from './dtype.js'
import type { Tensor } from './tensor.js'
import { handleOf, wrap } from './tensor-core.js'
import { TensorElementwise } from './tensor-elementwise.js'

/** One dimension or several. */
export type Dim = number | readonly number[]

interface Keep {
  keepdim?: boolean
}

interface Spread extends Keep {
  dim?: Dim
  /** Taken off the count that the squares are divided by; 1 gives the unbiased estimate. */
  correction?: number
}

const optionalDims = (dim: Dim | undefined) => (dim === undefined ? null : checkDims(dim))

export abstract class TensorReductions<
  D extends DType = DType,
> extends TensorElementwise<D> {
  /** [.., M, K] x [.., K, N] → [.., M, N], leading dimensions broadcast. */
  matmul(other: Tensor<D>): Tensor<D>
  matmul(other: Tensor): Tensor
  matmul(other: Tensor): Tensor {
    return wrap(binding().ops.matmul(handleOf(this), handleOf(other, 'other')))
  }

  /** Over `dim`, or over all. Whole numbers and bool give int64. */
  sum(dim?: Dim, options: Keep = {}): Tensor<SumOf[D]> {
    const { keepdim = false } = checkObject(options)
    return wrap(binding().ops.sum(handleOf(this), optionalDims(dim), keepdim))
  }

  /** Over `dim`, or over all. Floats only. */
  mean(dim?: Dim, options: Keep = {}): Tensor<D> {
    const { keepdim = false } = checkObject(options)
    return wrap(binding().ops.mean(handleOf(this), optionalDims(dim), keepdim))
  }

  /** Standard deviation. Floats only. */
  std(options: Spread = {}): Tensor<D> {
    const { dim, correction = 1, keepdim = false } = checkObject(options)
    const off = checkNumber(correction, 'correction')
    return wrap(binding().ops.std(handleOf(this), optionalDims(dim), off, keepdim))
  }

  /** Floats only. */
  variance(options: Spread = {}): Tensor<D> {
    const { dim, correction = 1, keepdim = false } = checkObject(options)
    const off = checkNumber(correction, 'correction')
    return wrap(binding().ops.variance(handleOf(this), optionalDims(dim), off, keepdim))
  }

  /** The largest over `dim`, or over all. Ties share the gradient. */
  amax(dim?: Dim, options: Keep = {}): Tensor<D> {
    const { keepdim = false } = checkObject(options)
    return wrap(binding().ops.amax(handleOf(this), optionalDims(dim) ?? [], keepdim))
  }

  /** The smallest over `dim`, or over all. Ties share the gradient. */
  amin(dim?: Dim, options: Keep = {}): Tensor<D> {
    const { keepdim = false } = checkObject(options)
    return wrap(binding().ops.amin(handleOf(this), optionalDims(dim) ?? [], keepdim))
  }

  /** The product of all elements. */
  prod(): Tensor<SumOf[D]> {
    return wrap(binding().ops.prod(handleOf(this)))
  }

  /** Whether no element is zero. */
  all(): Tensor<'bool'> {
    return wrap(binding().ops.all(handleOf(this)))
  }

  /** Whether an element is not zero. */
  any(): Tensor<'bool'> {
    return wrap(binding().ops.any(handleOf(this)))
  }

  /** Running sum along `dim`. */
  cumsum(dim: number): Tensor<SumOf[D]> {
    return wrap(binding().ops.cumsum(handleOf(this), checkInteger(dim, 'dim')))
  }

  /** log Σ exp over `dim`, without overflow. */
  logsumexp(dim: Dim, options: Keep = {}): Tensor<FloatOf[D]> {
    const { keepdim = false } = checkObject(options)
    return wrap(binding().ops.logsumexp(handleOf(this), checkDims(dim), keepdim))
  }

  /** (Σ |x|^p)^(1/p) over `dim`, or over all. Floats only. */
  norm(options: Keep & { p?: number; dim?: Dim } = {}): Tensor<D> {
    const { p = 2, dim, keepdim = false } = checkObject(options)
    const dims = optionalDims(dim) ?? []
    return wrap(binding().ops.norm(handleOf(this), checkNumber(p, 'p'), dims, keepdim))
  }

  /** Position of the largest along `dim`, or in the flattened tensor. */
  argmax(dim?: number, options: Keep = {}): Tensor<'int64'> {
    const { keepdim = false } = checkObject(options)
    const along = dim === undefined ? null : checkInteger(dim, 'dim')
    return wrap(binding().ops.argmax(handleOf(this), along, keepdim))
  }

  /** Position of the smallest along `dim`, or in the flattened tensor. */
  argmin(dim?: number, options: Keep = {}): Tensor<'int64'> {
    const { keepdim = false } = checkObject(options)
    const along = dim === undefined ? null : checkInteger(dim, 'dim')
    return wrap(binding().ops.argmin(handleOf(this), along, keepdim))
  }

  /** The `k` largest (or smallest) along `dim` and where they were. */
  topk(
    k: number,
    options: { dim?: number; largest?: boolean; sorted?: boolean } = {},
  ): { values: Tensor<D>; indices: Tensor<'int64'> } {
    const { dim = -1, largest = true, sorted = true } = checkObject(options)
    const count = checkInteger(k, 'k')
    const along = checkInteger(dim, 'dim')
    const [values, indices] = binding().ops.topk(
      handleOf(this),
      count,
      along,
      largest,
      sorted,
    )
    return { values: wrap(values), indices: wrap(indices) }
  }

  /** The elements in order along `dim` and where they were; `stable` keeps ties in order. */
  sort(options: { dim?: number; descending?: boolean; stable?: boolean } = {}): {
    values: Tensor<D>
    indices: Tensor<'int64'>
  } {
    const { dim = -1, descending = false, stable = false } = checkObject(options)
    const along = checkInteger(dim, 'dim')
    const [values, indices] = binding().ops.sort(
      handleOf(this),
      along,
      descending,
      stable,
    )
    return { values: wrap(values), indices: wrap(indices) }
  }

  /** exp(x) / Σ exp(x) along `dim`. Floats only. */
  softmax(dim: number): Tensor<D> {
    return wrap(binding().ops.softmax(handleOf(this), checkInteger(dim, 'dim')))
  }

  /** The logarithm of `softmax(dim)`, computed without underflow. */
  logSoftmax(dim: number): Tensor<D> {
    return wrap(binding().ops.logSoftmax(handleOf(this), checkInteger(dim, 'dim')))
  }
}
