// A tensor from JavaScript's numbers: infers shape and dtype, and refuses what the dtype cannot
// hold. Knows no op.

import type { TypedArray } from '../native.js'
import { kindOf, shapeText } from './check.js'
import { type DType, type IntegerDType, integerRange, isFloatingPoint } from './dtype.js'

/** What `tensor()` takes: a number, nested arrays of numbers, or a typed array. */
export type TensorData = number | NestedNumberArray | TypedArray
/** Arrays in arrays, all of one length at each depth. */
export type NestedNumberArray = readonly (number | NestedNumberArray)[]

const DTYPE_OF_ARRAY = new Map<unknown, DType>([
  [Float64Array, 'float64'],
  [Float32Array, 'float32'],
  [BigInt64Array, 'int64'],
  [Int32Array, 'int32'],
  [Int16Array, 'int16'],
  [Int8Array, 'int8'],
  [BigUint64Array, 'uint64'],
  [Uint32Array, 'uint32'],
  [Uint16Array, 'uint16'],
  [Uint8Array, 'uint8'],
])

/** The dtype whose elements a typed array holds; undefined for anything else. */
export function dtypeOfArray(data: unknown): DType | undefined {
  if (!ArrayBuffer.isView(data)) return undefined
  for (const [kind, dtype] of DTYPE_OF_ARRAY) {
    if (data instanceof (kind as typeof Float32Array)) return dtype
  }
  return undefined
}

/**
 * Row-major elements and shape of nested arrays.
 *
 * @throws RangeError that says where the nesting is ragged; TypeError for what is no number.
 */
export function flatten(data: number | NestedNumberArray): {
  values: number[]
  shape: number[]
} {
  const shape: number[] = []
  for (let level: unknown = data; Array.isArray(level); level = level[0]) {
    // 64 dimensions are libtorch's own limit; an array that holds itself has no end.
    if (shape.length === 64)
      throw new RangeError('Expected at most 64 levels of nested arrays')
    shape.push(level.length)
  }
  const values: number[] = []
  const walk = (value: unknown, depth: number, path: string): void => {
    const size = shape[depth]
    if (size === undefined) {
      if (typeof value === 'number') values.push(value)
      else if (Array.isArray(value))
        throw new RangeError(ragged(path, 'a number', 'an array'))
      else
        throw new TypeError(
          `Expected a number at data${path} but received ${kindOf(value)}`,
        )
      return
    }
    if (!Array.isArray(value)) {
      if (typeof value === 'number') {
        throw new RangeError(ragged(path, `${size} elements`, 'a number'))
      }
      throw new TypeError(
        `Expected an array at data${path} but received ${kindOf(value)}`,
      )
    }
    if (value.length !== size) {
      throw new RangeError(ragged(path, `${size} elements`, `${value.length}`))
    }
    for (let i = 0; i < size; i++) walk(value[i], depth + 1, `${path}[${i}]`)
  }
  walk(data, 0, '')
  return { values, shape }
}

function ragged(path: string, expected: string, received: string): string {
  return `The nested arrays are ragged: expected ${expected} at data${path} but received ${received}`
}

/**
 * Numbers as the typed array from which the addon makes a tensor of `dtype`.
 *
 * @throws RangeError for NaN, a fraction, an unsafe integer or a value out of range where `dtype`
 *   holds whole numbers or bool.
 */
export function elementsFor(dtype: DType, values: ArrayLike<number>): TypedArray {
  if (isFloatingPoint(dtype)) {
    return dtype === 'float64' ? Float64Array.from(values) : Float32Array.from(values)
  }
  checkWhole(dtype, values)
  switch (dtype) {
    case 'int64':
      return BigInt64Array.from(values, BigInt)
    case 'uint64':
      return BigUint64Array.from(values, BigInt)
    case 'int32':
      return Int32Array.from(values)
    case 'uint32':
      return Uint32Array.from(values)
    case 'int16':
      return Int16Array.from(values)
    case 'uint16':
      return Uint16Array.from(values)
    case 'int8':
      return Int8Array.from(values)
    default:
      return Uint8Array.from(values)
  }
}

/**
 * A typed array in a form that the addon converts to `dtype` without losing what it says.
 *
 * @throws RangeError as `elementsFor` does, also for a bigint out of range.
 */
export function convertArray(dtype: DType, from: DType, data: TypedArray): TypedArray {
  if (dtype === from || isFloatingPoint(dtype)) return data
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    const [least, most] = integerRange(dtype)
    for (let i = 0; i < data.length; i++) {
      const value = data[i] as bigint
      if (value < least || value > most) throw outside(dtype, String(value), i)
    }
    return data
  }
  return elementsFor(dtype, data)
}

function checkWhole(dtype: IntegerDType | 'bool', values: ArrayLike<number>): void {
  const [least, most] = integerRange(dtype)
  const low = Math.max(Number(least), Number.MIN_SAFE_INTEGER)
  const high = Math.min(Number(most), Number.MAX_SAFE_INTEGER)
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    if (!Number.isInteger(value) || value < low || value > high) {
      throw outside(dtype, String(value), i)
    }
  }
}

function outside(dtype: DType, value: string, position: number): RangeError {
  const range = dtype === 'bool' ? '0 or 1' : 'an exact integer in range'
  return new RangeError(
    `Expected elements of ${dtype} to be ${range} but received ${value} at position ${position}`,
  )
}

/** @throws RangeError unless `shape` has `count` elements. */
export function checkCount(shape: readonly number[], count: number): void {
  if (shape.reduce((product, size) => product * size, 1) === count) return
  throw new RangeError(`The shape ${shapeText(shape)} does not fit ${count} elements`)
}
