// Functions of several tensors: joining, products, layers, losses, linear algebra. Named and
// ordered as PyTorch's.

import {
  checkInteger,
  checkNumber,
  checkObject,
  checkOneOf,
  checkShape,
  checkString,
} from './check.js'
import { binding } from './context.js'
import type { DType } from './dtype.js'
import {
  handleOf,
  handlesOf,
  operandOf,
  optionalHandleOf,
  type Tensor,
  wrap,
} from './tensor.js'

/** `a` where `condition`, bool, is true, else `b`; shapes broadcast. */
export function where<D extends DType>(
  condition: Tensor<'bool'>,
  a: Tensor<D>,
  b: Tensor<D> | number,
): Tensor<D>
export function where(
  condition: Tensor<'bool'>,
  a: Tensor | number,
  b: Tensor | number,
): Tensor
export function where(
  condition: Tensor<'bool'>,
  a: Tensor | number,
  b: Tensor | number,
): Tensor {
  const choice = handleOf(condition, 'condition')
  return wrap(binding().ops.where(choice, operandOf(a, 'a'), operandOf(b, 'b')))
}

/** Tensors joined along `dim`; their other sizes are equal. */
export function cat<D extends DType>(tensors: readonly Tensor<D>[], dim = 0): Tensor<D> {
  return wrap(binding().ops.cat(handlesOf(tensors, 'tensors'), checkInteger(dim, 'dim')))
}

/** Tensors of one shape joined along a new dimension before `dim`. */
export function stack<D extends DType>(
  tensors: readonly Tensor<D>[],
  dim = 0,
): Tensor<D> {
  return wrap(
    binding().ops.stack(handlesOf(tensors, 'tensors'), checkInteger(dim, 'dim')),
  )
}

/** Sums of products in Einstein's notation, such as `bik,bkj->bij`. */
export function einsum<D extends DType>(
  equation: string,
  tensors: readonly Tensor<D>[],
): Tensor<D> {
  const text = checkString(equation, 'equation')
  return wrap(binding().ops.einsum(text, handlesOf(tensors, 'tensors')))
}

/** beta · bias + alpha · a b: [M, K] x [K, N] → [M, N], `bias` broadcast. */
export function addmm<D extends DType>(
  bias: Tensor<D>,
  a: Tensor<D>,
  b: Tensor<D>,
  options: { beta?: number; alpha?: number } = {},
): Tensor<D> {
  const { beta = 1, alpha = 1 } = checkObject(options)
  const scales = [checkNumber(beta, 'beta'), checkNumber(alpha, 'alpha')] as const
  const handles = [handleOf(bias, 'bias'), handleOf(a, 'a'), handleOf(b, 'b')] as const
  return wrap(binding().ops.addmm(...handles, ...scales))
}

/** x wᵀ + b: x [.., K], w [N, K], b [N] → [.., N]. */
export function linear<D extends DType>(
  x: Tensor<D>,
  w: Tensor<D>,
  b: Tensor<D> | null = null,
): Tensor<D> {
  const handles = [handleOf(x, 'x'), handleOf(w, 'w'), optionalHandleOf(b, 'b')] as const
  return wrap(binding().ops.linear(...handles))
}

/** Rows of `weight` `[N, H]` by `ids` `[..]`: `[.., H]`. */
export function embedding<D extends DType>(weight: Tensor<D>, ids: Tensor): Tensor<D> {
  return wrap(binding().ops.embedding(handleOf(weight, 'weight'), handleOf(ids, 'ids')))
}

/** (x - mean) / √(variance + eps) · weight + bias over the last dimensions, sized `shape`. */
export function layerNorm<D extends DType>(
  x: Tensor<D>,
  shape: readonly number[],
  options: { weight?: Tensor<D>; bias?: Tensor<D>; eps?: number } = {},
): Tensor<D> {
  const { weight, bias, eps = 1e-5 } = checkObject(options)
  return wrap(
    binding().ops.layerNorm(
      handleOf(x, 'x'),
      checkShape(shape),
      optionalHandleOf(weight, 'weight'),
      optionalHandleOf(bias, 'bias'),
      checkNumber(eps, 'eps'),
    ),
  )
}

/**
 * x / √(mean of squares + eps) · weight over the last dimensions, sized `shape`.
 *
 * @param options.eps default: the epsilon of the dtype that PyTorch computes in, float32 or float64
 */
export function rmsNorm<D extends DType>(
  x: Tensor<D>,
  shape: readonly number[],
  options: { weight?: Tensor<D>; eps?: number } = {},
): Tensor<D> {
  const { weight, eps } = checkObject(options)
  const input = handleOf(x, 'x')
  const added = eps ?? (x.dtype === 'float64' ? 2 ** -52 : 2 ** -23)
  return wrap(
    binding().ops.rmsNorm(
      input,
      checkShape(shape),
      optionalHandleOf(weight, 'weight'),
      checkNumber(added, 'eps'),
    ),
  )
}

/**
 * softmax(q kᵀ · scale + mask) v: q [.., Q, E], k [.., S, E], v [.., S, F] → [.., Q, F].
 *
 * @param options.mask broadcast to [.., Q, S]: bool, true may be attended to, or a float to add
 * @param options.isCausal query i sees keys 0..i (aligned top-left); not together with a mask
 * @param options.scale default 1 / √E
 */
export function scaledDotProductAttention<D extends DType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: { mask?: Tensor; isCausal?: boolean; scale?: number } = {},
): Tensor<D> {
  const { mask, isCausal = false, scale } = checkObject(options)
  return wrap(
    binding().ops.scaledDotProductAttention(
      handleOf(q, 'q'),
      handleOf(k, 'k'),
      handleOf(v, 'v'),
      optionalHandleOf(mask, 'mask'),
      isCausal,
      scale === undefined ? null : checkNumber(scale, 'scale'),
    ),
  )
}

/**
 * Cross-entropy of `logits` [M, N] with `target` [M], class numbers in int64 or probabilities [M, N].
 *
 * @param options.weight a weight for each class, [N]
 * @param options.reduction `mean` (over what is not ignored), `sum`, or `none`: [M]
 * @param options.ignoreIndex a target that does not count
 * @param options.labelSmoothing 0..1, spread evenly over the classes
 */
export function crossEntropy<D extends DType>(
  logits: Tensor<D>,
  target: Tensor,
  options: {
    weight?: Tensor<D>
    reduction?: 'none' | 'mean' | 'sum'
    ignoreIndex?: number
    labelSmoothing?: number
  } = {},
): Tensor<D> {
  const {
    weight,
    reduction = 'mean',
    ignoreIndex = -100,
    labelSmoothing = 0,
  } = checkObject(options)
  return wrap(
    binding().ops.crossEntropy(
      handleOf(logits, 'logits'),
      handleOf(target, 'target'),
      optionalHandleOf(weight, 'weight'),
      checkOneOf(reduction, ['none', 'mean', 'sum'], 'reduction'),
      checkInteger(ignoreIndex, 'ignoreIndex'),
      checkNumber(labelSmoothing, 'labelSmoothing'),
    ),
  )
}

/**
 * The singular value decomposition a = U diag(S) Vh, as a job.
 *
 * @param a [.., M, N]; with K = min(M, N): U [.., M, K], S [.., K] descending, Vh [.., K, N]
 * @param options.fullMatrices U [.., M, M] and Vh [.., N, N] instead
 */
export async function svd<D extends DType>(
  a: Tensor<D>,
  options: { fullMatrices?: boolean } = {},
): Promise<{ U: Tensor<D>; S: Tensor<D>; Vh: Tensor<D> }> {
  const { fullMatrices = false } = checkObject(options)
  const [U, S, Vh] = await binding().jobs.svd(handleOf(a, 'a'), fullMatrices)
  return { U: wrap(U), S: wrap(S), Vh: wrap(Vh) }
}

/**
 * x with the least ‖a x - b‖, as a job: a [.., M, K], b [.., M, N] → [.., K, N].
 *
 * @throws RangeError for NaN in either, on a CPU.
 */
export async function lstsq<D extends DType>(
  a: Tensor<D>,
  b: Tensor<D>,
): Promise<Tensor<D>> {
  return wrap(await binding().jobs.lstsq(handleOf(a, 'a'), handleOf(b, 'b')))
}
