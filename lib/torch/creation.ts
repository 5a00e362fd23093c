// Functions that make tensors: from data, filled, random. Random draws happen on the CPU from a
// generator and then move, so that a seed means the same on every device.

import { checkInteger, checkNumber, checkObject, checkShape } from './check.js'
import { binding } from './context.js'
import { parseDevice } from './device.js'
import { checkDType, type DType, type TypedArray } from './dtype.js'
import type { NestedNumberArray, TensorData } from './from-data.js'
import {
  checkCount,
  convertArray,
  dtypeOfArray,
  elementsFor,
  flatten,
} from './from-data.js'
import { type Generator, generatorHandleOf } from './generator.js'
import { handleOf, type Tensor, wrap } from './tensor.js'

/** Where a new tensor lives and what it holds: float32 on the CPU unless said otherwise. */
export interface CreationOptions<E extends DType = DType> {
  dtype?: E
  device?: string
}

export interface RandomOptions<E extends DType = DType> extends CreationOptions<E> {
  /** The stream that the numbers are drawn from; default: the process's own, see `manualSeed`. */
  generator?: Generator
}

type ArrayDType<A> = A extends Float64Array
  ? 'float64'
  : A extends Float32Array
    ? 'float32'
    : A extends BigInt64Array
      ? 'int64'
      : A extends Int32Array
        ? 'int32'
        : DType

/**
 * A tensor from numbers. Nested arrays give the shape; typed arrays keep their dtype and take
 * `shape` (default: one dimension). 'int64' takes plain whole numbers.
 *
 * @throws RangeError for ragged nesting, a shape that does not fit, or numbers that an integer
 *   dtype cannot hold (NaN, fractions, beyond 2^53 - 1); TypeError for elements that are no numbers.
 */
export function tensor<E extends DType = 'float32'>(
  data: number | NestedNumberArray,
  options?: CreationOptions<E> & { shape?: readonly number[] },
): Tensor<E>
export function tensor<A extends TypedArray, E extends DType = ArrayDType<A>>(
  data: A,
  options?: CreationOptions<E> & { shape?: readonly number[] },
): Tensor<E>
export function tensor(
  data: TensorData,
  options: CreationOptions & { shape?: readonly number[] } = {},
): Tensor {
  const { dtype, shape, device = 'cpu' } = checkObject(options)
  const place = parseDevice(device)
  const wanted = dtype === undefined ? undefined : checkDType(dtype)
  const from = dtypeOfArray(data)
  let elements: TypedArray
  let sizes: readonly number[]
  let made: DType
  if (from === undefined) {
    const flat = flatten(data as number | NestedNumberArray)
    made = wanted ?? 'float32'
    elements = elementsFor(made, flat.values)
    sizes = flat.shape
  } else {
    const array = data as TypedArray
    made = wanted ?? from
    elements = convertArray(made, from, array)
    sizes = [array.length]
  }
  if (shape !== undefined) {
    sizes = checkShape(shape)
    checkCount(sizes, elements.length)
  }
  return wrap(binding().fromData(elements, sizes, made, place))
}

/** A tensor of zeros. */
export function zeros<E extends DType = 'float32'>(
  shape: readonly number[],
  options: CreationOptions<E> = {},
): Tensor<E> {
  const { dtype = 'float32' as E, device = 'cpu' } = checkObject(options)
  const place = parseDevice(device)
  return wrap(binding().ops.zeros(checkShape(shape), checkDType(dtype), place))
}

/** A tensor of ones. */
export function ones<E extends DType = 'float32'>(
  shape: readonly number[],
  options: CreationOptions<E> = {},
): Tensor<E> {
  const { dtype = 'float32' as E, device = 'cpu' } = checkObject(options)
  const place = parseDevice(device)
  return wrap(binding().ops.ones(checkShape(shape), checkDType(dtype), place))
}

/** Every element `value`. */
export function full<E extends DType = 'float32'>(
  shape: readonly number[],
  value: number,
  options: CreationOptions<E> = {},
): Tensor<E> {
  const { dtype = 'float32' as E, device = 'cpu' } = checkObject(options)
  const place = parseDevice(device)
  const fill = checkNumber(value, 'value')
  return wrap(binding().ops.full(checkShape(shape), fill, checkDType(dtype), place))
}

/** start, start + step, … below `end`. int64, unless one of the three is a fraction: float32. */
export function arange<E extends DType = 'int64'>(
  start: number,
  end: number,
  options: CreationOptions<E> & { step?: number } = {},
): Tensor<E> {
  const { step = 1, dtype, device = 'cpu' } = checkObject(options)
  const bounds = [
    checkNumber(start, 'start'),
    checkNumber(end, 'end'),
    checkNumber(step, 'step'),
  ] as const
  const fitting = bounds.every(Number.isSafeInteger) ? 'int64' : 'float32'
  const made = dtype === undefined ? fitting : checkDType(dtype)
  return wrap(binding().ops.arange(...bounds, made, parseDevice(device)))
}

/** `steps` numbers evenly spaced from `start` to `end`, both included. */
export function linspace<E extends DType = 'float32'>(
  start: number,
  end: number,
  steps: number,
  options: CreationOptions<E> = {},
): Tensor<E> {
  const { dtype = 'float32' as E, device = 'cpu' } = checkObject(options)
  const place = parseDevice(device)
  const bounds = [checkNumber(start, 'start'), checkNumber(end, 'end')] as const
  const [count] = checkShape([steps], 'steps') as [number]
  return wrap(binding().ops.linspace(...bounds, count, checkDType(dtype), place))
}

/** The identity matrix [n, n]. */
export function eye<E extends DType = 'float32'>(
  n: number,
  options: CreationOptions<E> = {},
): Tensor<E> {
  const { dtype = 'float32' as E, device = 'cpu' } = checkObject(options)
  const place = parseDevice(device)
  const [size] = checkShape([n], 'n') as [number]
  return wrap(binding().ops.eye(size, checkDType(dtype), place))
}

/** From the standard normal distribution. */
export function randn<E extends DType = 'float32'>(
  shape: readonly number[],
  options: RandomOptions<E> = {},
): Tensor<E> {
  const { generator, dtype = 'float32' as E, device = 'cpu' } = checkObject(options)
  const handle = generatorHandleOf(generator)
  return onDevice(device, () =>
    wrap(binding().ops.randn(checkShape(shape), handle, checkDType(dtype))),
  )
}

/** Uniform in 0 (included) to 1 (not included). */
export function rand<E extends DType = 'float32'>(
  shape: readonly number[],
  options: RandomOptions<E> = {},
): Tensor<E> {
  const { generator, dtype = 'float32' as E, device = 'cpu' } = checkObject(options)
  const handle = generatorHandleOf(generator)
  return onDevice(device, () =>
    wrap(binding().ops.rand(checkShape(shape), handle, checkDType(dtype))),
  )
}

/** Whole numbers, uniform in `low` (included) to `high` (not included). */
export function randint(
  low: number,
  high: number,
  shape: readonly number[],
  options: Omit<RandomOptions, 'dtype'> = {},
): Tensor<'int64'> {
  const { generator, device = 'cpu' } = checkObject(options)
  const handle = generatorHandleOf(generator)
  const bounds = [checkInteger(low, 'low'), checkInteger(high, 'high')] as const
  if (low >= high)
    throw new RangeError(`Expected low below high but received ${low} and ${high}`)
  return onDevice(device, () =>
    wrap(binding().ops.randint(...bounds, checkShape(shape), handle)),
  )
}

/** The numbers 0..n-1 in a random order. */
export function randperm(
  n: number,
  options: Omit<RandomOptions, 'dtype'> = {},
): Tensor<'int64'> {
  const { generator, device = 'cpu' } = checkObject(options)
  const handle = generatorHandleOf(generator)
  const [size] = checkShape([n], 'n') as [number]
  return onDevice(device, () => wrap(binding().ops.randperm(size, handle)))
}

/**
 * Draws `count` positions from each row of `probabilities`, which need not sum to one.
 *
 * @param probabilities [M, K] or [K], 0 or more, with a positive sum
 * @returns [M, count] or [count], on the same device
 */
export function multinomial(
  probabilities: Tensor,
  count: number,
  options: { generator?: Generator; replacement?: boolean } = {},
): Tensor<'int64'> {
  const { generator, replacement = false } = checkObject(options)
  const weights = handleOf(probabilities, 'probabilities')
  const handle = generatorHandleOf(generator)
  const draws = checkInteger(count, 'count')
  const device = probabilities.device
  const bound = binding()
  const local = bound.ops.to(weights, null, 'cpu', false)
  try {
    return onDevice(device, () =>
      wrap(bound.ops.multinomial(local, draws, replacement, handle)),
    )
  } finally {
    bound.dispose(local)
  }
}

function onDevice<E extends DType>(device: string, draw: () => Tensor<E>): Tensor<E> {
  const place = parseDevice(device)
  const drawn = draw()
  if (place === 'cpu') return drawn
  try {
    return drawn.to(place)
  } finally {
    drawn.dispose()
  }
}
