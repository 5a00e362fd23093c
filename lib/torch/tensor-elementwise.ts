// A tensor's elementwise ops: arithmetic, functions, comparisons, activations. Shapes of two
// operands broadcast; a number is taken to be of the tensor's own kind. All are small and pure.

import { checkNumber, checkObject, checkOneOf } from './check.js'
import { binding } from './context.js'
import type { DType, FloatOf, LowerOf } from './dtype.js'
import type { Tensor } from './tensor.js'
import { handleOf, operandOf, TensorCore, wrap } from './tensor-core.js'

/** An operand that leaves this tensor's dtype as it is. */
type Same<D extends DType> = Tensor<D> | Tensor<LowerOf[D]> | number

export abstract class TensorElementwise<D extends DType = DType> extends TensorCore<D> {
  /** this + alpha · other. */
  add(other: Same<D>, options?: { alpha?: number }): Tensor<D>
  add(other: Tensor | number, options?: { alpha?: number }): Tensor
  add(other: Tensor | number, options: { alpha?: number } = {}): Tensor {
    const { alpha = 1 } = checkObject(options)
    const scale = checkNumber(alpha, 'alpha')
    return wrap(binding().ops.add(handleOf(this), operandOf(other, 'other'), scale))
  }

  /** this - alpha · other. */
  sub(other: Same<D>, options?: { alpha?: number }): Tensor<D>
  sub(other: Tensor | number, options?: { alpha?: number }): Tensor
  sub(other: Tensor | number, options: { alpha?: number } = {}): Tensor {
    const { alpha = 1 } = checkObject(options)
    const scale = checkNumber(alpha, 'alpha')
    return wrap(binding().ops.sub(handleOf(this), operandOf(other, 'other'), scale))
  }

  /** this · other, element by element. */
  mul(other: Same<D>): Tensor<D>
  mul(other: Tensor | number): Tensor
  mul(other: Tensor | number): Tensor {
    return wrap(binding().ops.mul(handleOf(this), operandOf(other, 'other')))
  }

  /** True division: whole numbers give float32. */
  div(other: Same<D>): Tensor<FloatOf[D]>
  div(other: Tensor | number): Tensor
  div(other: Tensor | number): Tensor {
    return wrap(binding().ops.div(handleOf(this), operandOf(other, 'other')))
  }

  /** this to the power of `exponent`, element by element. */
  pow(exponent: Same<D>): Tensor<D>
  pow(exponent: Tensor | number): Tensor
  pow(exponent: Tensor | number): Tensor {
    return wrap(binding().ops.pow(handleOf(this), operandOf(exponent, 'exponent')))
  }

  /** The remainder with the divisor's sign, as Python's `%`. */
  remainder(other: Same<D>): Tensor<D>
  remainder(other: Tensor | number): Tensor
  remainder(other: Tensor | number): Tensor {
    return wrap(binding().ops.remainder(handleOf(this), operandOf(other, 'other')))
  }

  /** The smaller of each pair; NaN where either is NaN. */
  minimum(other: Tensor<D>): Tensor<D>
  minimum(other: Tensor): Tensor
  minimum(other: Tensor): Tensor {
    return wrap(binding().ops.minimum(handleOf(this), handleOf(other, 'other')))
  }

  /** The larger of each pair; NaN where either is NaN. */
  maximum(other: Tensor<D>): Tensor<D>
  maximum(other: Tensor): Tensor
  maximum(other: Tensor): Tensor {
    return wrap(binding().ops.maximum(handleOf(this), handleOf(other, 'other')))
  }

  /** Each element moved into min..max; a bound left out does not bind. */
  clamp(options: { min?: number; max?: number } = {}): Tensor<D> {
    const { min, max } = checkObject(options)
    const least = min === undefined ? null : checkNumber(min, 'min')
    const most = max === undefined ? null : checkNumber(max, 'max')
    return wrap(binding().ops.clamp(handleOf(this), least, most))
  }

  /** −this. */
  neg(): Tensor<D> {
    return wrap(binding().ops.neg(handleOf(this)))
  }

  /** e to the power of each element. */
  exp(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.exp(handleOf(this)))
  }

  /** Natural logarithm. */
  log(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.log(handleOf(this)))
  }

  /** The square root of each element; NaN for negative ones. */
  sqrt(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.sqrt(handleOf(this)))
  }

  /** 1 / √this. */
  rsqrt(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.rsqrt(handleOf(this)))
  }

  /** 1 / this. */
  reciprocal(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.reciprocal(handleOf(this)))
  }

  /** Each element times itself. */
  square(): Tensor<D> {
    return wrap(binding().ops.square(handleOf(this)))
  }

  /** Each element without its sign. */
  abs(): Tensor<D> {
    return wrap(binding().ops.abs(handleOf(this)))
  }

  /** -1, 0 or 1. */
  sign(): Tensor<D> {
    return wrap(binding().ops.sign(handleOf(this)))
  }

  /** The sine of each element, in radians. */
  sin(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.sin(handleOf(this)))
  }

  /** The cosine of each element, in radians. */
  cos(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.cos(handleOf(this)))
  }

  /** The error function. */
  erf(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.erf(handleOf(this)))
  }

  /** The largest whole number that is not larger. */
  floor(): Tensor<D> {
    return wrap(binding().ops.floor(handleOf(this)))
  }

  /** To the nearest whole number, halves to the even one. */
  round(): Tensor<D> {
    return wrap(binding().ops.round(handleOf(this)))
  }

  /** max(x, 0). */
  relu(): Tensor<D> {
    return wrap(binding().ops.relu(handleOf(this)))
  }

  /** x Φ(x); `tanh` is the approximation that GPT-2 was trained with. */
  gelu(options: { approximate?: 'none' | 'tanh' } = {}): Tensor<D> {
    const { approximate = 'none' } = checkObject(options)
    const kind = checkOneOf(approximate, ['none', 'tanh'], 'approximate')
    return wrap(binding().ops.gelu(handleOf(this), kind))
  }

  /** The hyperbolic tangent of each element. */
  tanh(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.tanh(handleOf(this)))
  }

  /** 1 / (1 + e⁻ˣ). */
  sigmoid(): Tensor<FloatOf[D]> {
    return wrap(binding().ops.sigmoid(handleOf(this)))
  }

  /** x σ(x). */
  silu(): Tensor<D> {
    return wrap(binding().ops.silu(handleOf(this)))
  }

  /** Moves each element towards zero by `lambda` (0 or more), and no further than zero. */
  softshrink(lambda = 0.5): Tensor<D> {
    return wrap(binding().ops.softshrink(handleOf(this), checkNumber(lambda, 'lambda')))
  }

  /** Where the two are equal. */
  eq(other: Tensor | number): Tensor<'bool'> {
    return wrap(binding().ops.eq(handleOf(this), operandOf(other, 'other')))
  }

  /** Where the two differ. */
  ne(other: Tensor | number): Tensor<'bool'> {
    return wrap(binding().ops.ne(handleOf(this), operandOf(other, 'other')))
  }

  /** Where this is less. */
  lt(other: Tensor | number): Tensor<'bool'> {
    return wrap(binding().ops.lt(handleOf(this), operandOf(other, 'other')))
  }

  /** Where this is less or equal. */
  le(other: Tensor | number): Tensor<'bool'> {
    return wrap(binding().ops.le(handleOf(this), operandOf(other, 'other')))
  }

  /** Where this is greater. */
  gt(other: Tensor | number): Tensor<'bool'> {
    return wrap(binding().ops.gt(handleOf(this), operandOf(other, 'other')))
  }

  /** Where this is greater or equal. */
  ge(other: Tensor | number): Tensor<'bool'> {
    return wrap(binding().ops.ge(handleOf(this), operandOf(other, 'other')))
  }

  /** Where both are not zero. */
  logicalAnd(other: Tensor): Tensor<'bool'> {
    return wrap(binding().ops.logicalAnd(handleOf(this), handleOf(other, 'other')))
  }

  /** Where either is not zero. */
  logicalOr(other: Tensor): Tensor<'bool'> {
    return wrap(binding().ops.logicalOr(handleOf(this), handleOf(other, 'other')))
  }

  /** Where this is zero. */
  logicalNot(): Tensor<'bool'> {
    return wrap(binding().ops.logicalNot(handleOf(this)))
  }

  /** False for NaN and infinities. */
  isfinite(): Tensor<'bool'> {
    return wrap(binding().ops.isfinite(handleOf(this)))
  }

  /** Where an element is NaN. */
  isnan(): Tensor<'bool'> {
    return wrap(binding().ops.isnan(handleOf(this)))
  }

  /** Whether shapes and all elements are equal; NaN equals nothing. */
  equal(other: Tensor): boolean {
    return binding().ops.equal(handleOf(this), handleOf(other, 'other'))
  }

  /** Whether |this - other| ≤ atol + rtol · |other| everywhere. */
  allclose(
    other: Tensor,
    options: { rtol?: number; atol?: number; equalNan?: boolean } = {},
  ): boolean {
    const { rtol = 1e-5, atol = 1e-8, equalNan = false } = checkObject(options)
    const tolerances = [checkNumber(rtol, 'rtol'), checkNumber(atol, 'atol')] as const
    return binding().ops.allclose(
      handleOf(this),
      handleOf(other, 'other'),
      ...tolerances,
      equalNan,
    )
  }
}
