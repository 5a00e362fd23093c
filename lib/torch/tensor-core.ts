// What a tensor is before it can compute: its handle, its description, its life and its elements.
// Knows no op.

import { native, type TensorHandle } from '../native.js'
import { kindOf, shapeText } from './check.js'
import { binding, currentScope, nearestOpen, type Scope } from './context.js'
import type { DataOf, DType } from './dtype.js'
import type { Tensor } from './tensor.js'

/** Numbers nested as deep as a tensor has dimensions; a bare number for none. */
export type NestedNumbers = number | NestedNumbers[]

let readHandle: (value: unknown, name: string) => TensorHandle
let isCore: (value: unknown) => boolean
let moveTensor: (tensor: TensorCore, scope: Scope | null) => void
let scopeOf: (tensor: TensorCore) => Scope | null
let tensorClass: new (handle: TensorHandle) => Tensor

/** The base of `Tensor`. */
export abstract class TensorCore<D extends DType = DType> {
  readonly #handle: TensorHandle
  #scope: Scope | null

  static {
    isCore = (value) => typeof value === 'object' && value !== null && #handle in value
    readHandle = (value, name) => {
      if (isCore(value)) return (value as TensorCore).#handle
      throw new TypeError(`Expected a Tensor for ${name} but received ${kindOf(value)}`)
    }
    scopeOf = (tensor) => tensor.#scope
    moveTensor = (tensor, scope) => {
      tensor.#scope?.delete(tensor)
      tensor.#scope = scope
      scope?.add(tensor)
    }
  }

  /** Only the library makes tensors: `tensor()`, `zeros()` and ops are the ways to one. */
  constructor(handle: TensorHandle) {
    this.#handle = handle
    this.#scope = currentScope()
    this.#scope?.add(this)
  }

  /** Sizes, outermost first; `[]` for a single number. */
  get shape(): readonly number[] {
    return native().shape(handleOf(this))
  }

  /** The type of its elements. */
  get dtype(): D {
    return native().dtype(handleOf(this)) as D
  }

  /** Such as `cpu` or `cuda:0`. */
  get device(): string {
    return native().device(handleOf(this))
  }

  /** Number of dimensions. */
  get ndim(): number {
    return native().shape(handleOf(this)).length
  }

  /** Number of elements. */
  get numel(): number {
    return native()
      .shape(handleOf(this))
      .reduce((count, size) => count * size, 1)
  }

  /** Whether gradients reach it. */
  get requiresGrad(): boolean {
    return native().requiresGrad(handleOf(this))
  }

  /** Whether it was made by a caller, not by an op that built a graph. */
  get isLeaf(): boolean {
    return native().isLeaf(handleOf(this))
  }

  /** Whether its elements lie in row-major order without gaps. */
  get isContiguous(): boolean {
    return native().isContiguous(handleOf(this))
  }

  /** Whether `dispose` was called, or its `tidy` has ended. */
  get isDisposed(): boolean {
    return native().isDisposed(handleOf(this))
  }

  /**
   * Drops this tensor's reference to its elements; others that share them stay valid. Every later
   * use throws LoptError `ERR_DISPOSED`. Doing it twice is harmless.
   */
  dispose(): void {
    native().dispose(handleOf(this))
    this.#scope?.delete(this)
    this.#scope = null
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    TensorCore.prototype.dispose.call(this)
  }

  /**
   * A copy of the elements in row-major order; waits for the device. 16- and 8-bit floats come as
   * float32, bool as 0 and 1.
   */
  data(): DataOf[D] {
    return binding().toData(handleOf(this)) as DataOf[D]
  }

  /** As `data()`, off the event loop and after the jobs asked for before: use this in loops. */
  async read(): Promise<DataOf[D]> {
    return (await binding().readData(handleOf(this))) as DataOf[D]
  }

  /**
   * As `read()`, in two halves: the values are those of now, and what is asked for between the two goes on while
   * they come.
   *
   * @returns what waits for them, once
   */
  async startRead(): Promise<() => Promise<DataOf[D]>> {
    const reading = await binding().beginRead(handleOf(this))
    return async () => (await binding().finishRead(reading)) as DataOf[D]
  }

  /**
   * The one element as a number; bool as 0 or 1. Waits for the device.
   *
   * @throws RangeError for more or fewer elements than one, or an integer beyond 2^53 - 1.
   */
  item(): number {
    const handle = handleOf(this)
    if (this.numel !== 1) {
      throw new RangeError(
        `item: expected one element but the shape is ${shapeText(this.shape)}`,
      )
    }
    const data = binding().toData(handle) as ArrayLike<number | bigint>
    return plainNumber(data[0] as number | bigint)
  }

  /**
   * The elements as nested arrays of numbers; bool as 0 and 1. Waits for the device.
   *
   * @throws RangeError for an integer beyond 2^53 - 1 in size: use `data()`.
   */
  toArray(): NestedNumbers {
    const handle = handleOf(this)
    const data = binding().toData(handle) as ArrayLike<number | bigint>
    const shape = native().shape(handle)
    let position = 0
    const nest = (depth: number): NestedNumbers => {
      const size = shape[depth]
      if (size === undefined) return plainNumber(data[position++] as number | bigint)
      return Array.from({ length: size }, () => nest(depth + 1))
    }
    return nest(0)
  }

  /** Shape, dtype and device, in words. */
  toString(): string {
    if (native().isDisposed(handleOf(this))) return 'Tensor(disposed)'
    return `Tensor(${this.dtype} ${shapeText(this.shape)} ${this.device})`
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return TensorCore.prototype.toString.call(this)
  }
}

function plainNumber(value: number | bigint): number {
  const number = Number(value)
  if (typeof value === 'number' || Number.isSafeInteger(number)) return number
  throw new RangeError(`The integer ${value} is beyond 2^53 - 1: read it with data()`)
}

/** Tells this file the class that `wrap` makes; tensor.ts does so when it loads. */
export function setTensorClass(made: new (handle: TensorHandle) => Tensor): void {
  tensorClass = made
}

/** A tensor for a handle from the addon, owned by the current scope. */
export function wrap<D extends DType = DType>(handle: TensorHandle): Tensor<D> {
  return new tensorClass(handle) as Tensor<D>
}

/**
 * The handle inside a tensor.
 *
 * @throws TypeError naming the argument for anything but a Tensor.
 */
export function handleOf(tensor: unknown, name = 'this'): TensorHandle {
  return readHandle(tensor, name)
}

/**
 * Goes up with each op that writes to the tensor in place.
 *
 * Source: `torch.Tensor._version`.
 */
export function versionOf(tensor: TensorCore): number {
  return native().version(handleOf(tensor))
}

/** As `handleOf`, where null and undefined mean that there is none. */
export function optionalHandleOf(tensor: unknown, name: string): TensorHandle | null {
  return tensor === null || tensor === undefined ? null : readHandle(tensor, name)
}

/** The handles of an array of tensors. */
export function handlesOf(tensors: unknown, name: string): TensorHandle[] {
  if (!Array.isArray(tensors)) {
    throw new TypeError(
      `Expected ${name} to be an array of Tensors but received ${kindOf(tensors)}`,
    )
  }
  return tensors.map((tensor, i) => readHandle(tensor, `${name}[${i}]`))
}

/** A number as it is, a tensor's handle. */
export function operandOf(value: unknown, name: string): TensorHandle | number {
  return typeof value === 'number' ? value : readHandle(value, name)
}

export function isTensor(value: unknown): value is Tensor {
  return isCore(value)
}

/** Makes `scope`, or its nearest open ancestor, the tensor's owner; null: no scope owns it. */
export function moveToScope(tensor: TensorCore, scope: Scope | null): void {
  moveTensor(tensor, nearestOpen(scope))
}

export function isOwnedBy(tensor: TensorCore, scope: Scope): boolean {
  return scopeOf(tensor) === scope
}
