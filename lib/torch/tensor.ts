// The tensor: its ops come from the base classes, here are conversion, autograd and changes in
// place. Changes of state are jobs on the executor thread, in the order they were asked for.

import { checkNumber, checkObject } from './check.js'
import { binding } from './context.js'
import { parseDevice, requireAccelerator } from './device.js'
import { checkDType, type DType, isDType } from './dtype.js'
import {
  handleOf,
  operandOf,
  optionalHandleOf,
  setTensorClass,
  wrap,
} from './tensor-core.js'
import { TensorShapes } from './tensor-shapes.js'

export {
  handleOf,
  handlesOf,
  isOwnedBy,
  isTensor,
  moveToScope,
  type NestedNumbers,
  operandOf,
  optionalHandleOf,
  versionOf,
  wrap,
} from './tensor-core.js'

/**
 * An array of numbers of one dtype on one device, with autograd. Methods have PyTorch's names in
 * camelCase and its argument order.
 *
 * A wrong kind of argument is a TypeError; sizes that do not fit, a dtype an op does not take, or
 * an index outside are a RangeError that prints the shapes; a disposed tensor is LoptError
 * `ERR_DISPOSED`; no memory left is `ERR_OUT_OF_MEMORY`.
 */
export class Tensor<out D extends DType = DType> extends TensorShapes<D> {
  /**
   * The tensor in another dtype, on another device, or both; itself if it is so already. With
   * `nonBlocking` a copy from pinned memory (`pinMemory`) or to it may still go on when this returns:
   * `synchronize(device)` waits for it.
   */
  to<E extends DType>(dtype: E): Tensor<E>
  to(device: string): Tensor<D>
  to<E extends DType = D>(options: {
    dtype?: E
    device?: string
    nonBlocking?: boolean
  }): Tensor<E>
  to(target: string | { dtype?: DType; device?: string; nonBlocking?: boolean }): Tensor {
    const options =
      typeof target !== 'string'
        ? checkObject(target, 'target')
        : isDType(target)
          ? { dtype: target }
          : { device: target }
    const { dtype, device, nonBlocking = false } = options
    const toDType = dtype === undefined ? null : checkDType(dtype)
    const toDevice = device === undefined ? null : parseDevice(device)
    return wrap(binding().ops.to(handleOf(this), toDType, toDevice, nonBlocking))
  }

  /**
   * A copy in memory that an accelerator reads by itself, from which `to(device, nonBlocking)`
   * returns before the copy has ended; itself if it is there already.
   *
   * @throws LoptError `ERR_DEVICE` where there is no accelerator; RangeError unless it is on a CPU.
   */
  pinMemory(): Tensor<D> {
    const handle = handleOf(this)
    requireAccelerator('pinMemory')
    return wrap(binding().ops.pinMemory(handle))
  }

  /** Whether it lies in pinned memory. */
  get isPinned(): boolean {
    return binding().ops.isPinned(handleOf(this))
  }

  /**
   * Sets whether gradients accumulate in this leaf. Floats only.
   *
   * @throws RangeError for a tensor that is no leaf or holds no floats.
   */
  async requiresGrad_(flag = true): Promise<this> {
    const handle = handleOf(this)
    if (!this.isLeaf)
      throw new RangeError('requiresGrad_: only a leaf can change; use detach()')
    await binding().setRequiresGrad(handle, flag)
    return this
  }

  /** The accumulated gradient, or null before there is one. */
  async grad(): Promise<Tensor<D> | null> {
    const gradient = await binding().grad(handleOf(this))
    return gradient === null ? null : wrap<D>(gradient)
  }

  /** Replaces the accumulated gradient. */
  async setGrad(gradient: Tensor<D> | null): Promise<void> {
    await binding().setGrad(handleOf(this), optionalHandleOf(gradient, 'gradient'))
  }

  /** Drops the accumulated gradient. */
  async zeroGrad(): Promise<void> {
    await binding().setGrad(handleOf(this), null)
  }

  /**
   * Adds the gradient of this tensor to every leaf it was computed from.
   *
   * @param options.gradient the gradient by this tensor, needed unless it has one element
   * @param options.retainGraph keep the graph for another backward pass
   * @param options.createGraph build a graph of the gradients, to differentiate again
   */
  async backward(
    options: { gradient?: Tensor; retainGraph?: boolean; createGraph?: boolean } = {},
  ): Promise<void> {
    const {
      gradient,
      createGraph = false,
      retainGraph = createGraph,
    } = checkObject(options)
    const seed = optionalHandleOf(gradient, 'gradient')
    await binding().backward(handleOf(this), seed, retainGraph, createGraph)
  }

  /** Overwrites the elements with `source`'s, converted and broadcast. No graph is built. */
  async copy_(source: Tensor): Promise<this> {
    await binding().jobs.copy_(handleOf(this), handleOf(source, 'source'))
    return this
  }

  /** Overwrites every element with `value`. No graph is built. */
  async fill_(value: number): Promise<this> {
    await binding().jobs.fill_(handleOf(this), checkNumber(value, 'value'))
    return this
  }

  /** this += alpha · other. No graph is built. */
  async add_(other: Tensor | number, options: { alpha?: number } = {}): Promise<this> {
    const { alpha = 1 } = checkObject(options)
    const scale = checkNumber(alpha, 'alpha')
    await binding().jobs.add_(handleOf(this), operandOf(other, 'other'), scale)
    return this
  }

  /** this *= other. No graph is built. */
  async mul_(other: Tensor | number): Promise<this> {
    await binding().jobs.mul_(handleOf(this), operandOf(other, 'other'))
    return this
  }
}

setTensorClass(Tensor)
