// Element types: their names, sizes and what they promote to. Knows no tensor.

import type { DType, TypedArray } from '../native.js'
import { shownChoice } from './check.js'

export type { DType, TypedArray }

/** Element types with a fraction. */
export type FloatDType =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float8_e4m3fn'
  | 'float8_e5m2'

/** Whole numbers; `bool` is not among them. */
export type IntegerDType = Exclude<DType, FloatDType | 'bool'>

// The tables below are indexed (`FloatOf[D]`), not conditional types: TypeScript can then see that
// Tensor<'float32'> is a Tensor<DType> inside generic code, too.

/** The typed array that a tensor's elements are read into. 16- and 8-bit floats: float32. */
export interface DataOf {
  float64: Float64Array
  float32: Float32Array
  float16: Float32Array
  bfloat16: Float32Array
  float8_e4m3fn: Float32Array
  float8_e5m2: Float32Array
  int64: BigInt64Array
  int32: Int32Array
  int16: Int16Array
  int8: Int8Array
  uint64: BigUint64Array
  uint32: Uint32Array
  uint16: Uint16Array
  uint8: Uint8Array
  bool: Uint8Array
}

/** What `exp`, `div` and their like give. */
export type FloatOf = { [K in DType]: K extends FloatDType ? K : 'float32' }

/** What `sum`, `prod` and `cumsum` give. */
export type SumOf = { [K in DType]: K extends FloatDType ? K : 'int64' }

/** Kinds that leave an operand's dtype as it is when they are combined with it. */
export type LowerOf = {
  [K in DType]: K extends FloatDType
    ? IntegerDType | 'bool'
    : K extends 'bool'
      ? never
      : 'bool'
}

const ITEM_SIZES: ReadonlyMap<DType, number> = new Map([
  ['float64', 8],
  ['float32', 4],
  ['float16', 2],
  ['bfloat16', 2],
  ['float8_e4m3fn', 1],
  ['float8_e5m2', 1],
  ['int64', 8],
  ['int32', 4],
  ['int16', 2],
  ['int8', 1],
  ['uint64', 8],
  ['uint32', 4],
  ['uint16', 2],
  ['uint8', 1],
  ['bool', 1],
])

/** Every element type. */
export const DTYPES: readonly DType[] = [...ITEM_SIZES.keys()]

export function isDType(value: unknown): value is DType {
  return ITEM_SIZES.has(value as DType)
}

/**
 * `value` as a dtype.
 *
 * @throws TypeError that lists the dtypes there are.
 */
export function checkDType(value: unknown): DType {
  if (isDType(value)) return value
  throw new TypeError(
    `Expected dtype to be one of ${DTYPES.join(', ')} but received ${shownChoice(value)}`,
  )
}

/** Bytes of one element. */
export function itemSize(dtype: DType): number {
  return ITEM_SIZES.get(checkDType(dtype)) as number
}

/** Whether a dtype is one of floats. */
export function isFloatingPoint(dtype: DType): dtype is FloatDType {
  return checkDType(dtype).startsWith('float') || dtype === 'bfloat16'
}

/** Smallest and largest value of a dtype that holds whole numbers. */
export function integerRange(dtype: IntegerDType | 'bool'): readonly [bigint, bigint] {
  if (dtype === 'bool') return [0n, 1n]
  const bits = BigInt(8 * itemSize(dtype))
  return dtype.startsWith('u')
    ? [0n, 2n ** bits - 1n]
    : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n]
}
