// A tensor's ops that move or choose elements and compute nothing: shapes, views, indexing. Views
// share the elements of the tensor they come from. Negative dimensions and indices count from the
// end.

import {
  checkDims,
  checkInteger,
  checkIntegers,
  checkNumber,
  checkObject,
  checkShape,
  kindOf,
} from './check.js'
import { binding } from './context.js'
import type { DType } from './dtype.js'
import type { Tensor } from './tensor.js'
import { handleOf, optionalHandleOf, wrap } from './tensor-core.js'
import { type Dim, TensorReductions } from './tensor-reductions.js'

export abstract class TensorShapes<D extends DType = DType> extends TensorReductions<D> {
  /** The same elements in another shape, one size of which may be -1; a view where possible. */
  reshape(shape: readonly number[]): Tensor<D> {
    return wrap(binding().ops.reshape(handleOf(this), checkIntegers(shape, 'shape')))
  }

  /** As `reshape`, always a view. @throws RangeError where the strides do not allow one. */
  view(shape: readonly number[]): Tensor<D> {
    return wrap(binding().ops.view(handleOf(this), checkIntegers(shape, 'shape')))
  }

  /** A view with two dimensions exchanged. */
  transpose(dim0: number, dim1: number): Tensor<D> {
    const dims = [checkInteger(dim0, 'dim0'), checkInteger(dim1, 'dim1')] as const
    return wrap(binding().ops.transpose(handleOf(this), ...dims))
  }

  /** A view with the dimensions in the order given. */
  permute(dims: readonly number[]): Tensor<D> {
    return wrap(binding().ops.permute(handleOf(this), checkIntegers(dims, 'dims')))
  }

  /** A view with a new dimension of size 1 before `dim`. */
  unsqueeze(dim: number): Tensor<D> {
    return wrap(binding().ops.unsqueeze(handleOf(this), checkInteger(dim, 'dim')))
  }

  /** A view without the dimension `dim`, if its size is 1, or without all of size 1. */
  squeeze(dim?: number): Tensor<D> {
    const which = dim === undefined ? null : checkInteger(dim, 'dim')
    return wrap(binding().ops.squeeze(handleOf(this), which))
  }

  /** The dimensions from `startDim` to `endDim` (both included) made one. */
  flatten(options: { startDim?: number; endDim?: number } = {}): Tensor<D> {
    const { startDim = 0, endDim = -1 } = checkObject(options)
    const dims = [
      checkInteger(startDim, 'startDim'),
      checkInteger(endDim, 'endDim'),
    ] as const
    return wrap(binding().ops.flatten(handleOf(this), ...dims))
  }

  /** A view that repeats dimensions of size 1, without a copy; -1 leaves a size as it is. */
  expand(shape: readonly number[]): Tensor<D> {
    return wrap(binding().ops.expand(handleOf(this), checkIntegers(shape, 'shape')))
  }

  /** A copy laid out `repeats[i]` times along each dimension. */
  repeat(repeats: readonly number[]): Tensor<D> {
    return wrap(binding().ops.repeat(handleOf(this), checkShape(repeats, 'repeats')))
  }

  /** A view of `start`..`end` (not included) along `dim`; null: from the first, to the last. */
  slice(
    dim: number,
    start: number | null = null,
    end: number | null = null,
    step = 1,
  ): Tensor<D> {
    const from = start === null ? null : checkInteger(start, 'start')
    const to = end === null ? null : checkInteger(end, 'end')
    if (checkInteger(step, 'step') < 1) {
      throw new RangeError(`Expected step to be 1 or more but received ${step}`)
    }
    return wrap(
      binding().ops.slice(handleOf(this), checkInteger(dim, 'dim'), from, to, step),
    )
  }

  /** A view of one position along `dim`, which falls away. */
  select(dim: number, index: number): Tensor<D> {
    const place = [checkInteger(dim, 'dim'), checkInteger(index, 'index')] as const
    return wrap(binding().ops.select(handleOf(this), ...place))
  }

  /** A copy with the order along `dims` reversed. */
  flip(dims: Dim): Tensor<D> {
    return wrap(binding().ops.flip(handleOf(this), checkDims(dims, 'dims')))
  }

  /** Zeros above the diagonal, of the last two dimensions. */
  tril(diagonal = 0): Tensor<D> {
    return wrap(binding().ops.tril(handleOf(this), checkInteger(diagonal, 'diagonal')))
  }

  /** Zeros below the diagonal, of the last two dimensions. */
  triu(diagonal = 0): Tensor<D> {
    return wrap(binding().ops.triu(handleOf(this), checkInteger(diagonal, 'diagonal')))
  }

  /** Views along `dim`: of the sizes given, or all of one size but for a smaller last one. */
  split(sizes: number | readonly number[], dim = 0): Tensor<D>[] {
    const handle = handleOf(this)
    const along = checkInteger(dim, 'dim')
    const lengths = typeof sizes === 'number' ? evenly(sizes, this.shape, along) : sizes
    const parts = binding().ops.split(handle, checkShape(lengths, 'sizes'), along)
    return parts.map((part) => wrap<D>(part))
  }

  /** Itself, or a copy in row-major order when it is not in that order. */
  contiguous(): Tensor<D> {
    return wrap(binding().ops.contiguous(handleOf(this)))
  }

  /** A copy of the elements; the gradient flows through. */
  clone(): Tensor<D> {
    return wrap(binding().ops.clone(handleOf(this)))
  }

  /** A view that the gradient does not flow through. */
  detach(): Tensor<D> {
    return wrap(binding().ops.detach(handleOf(this)))
  }

  /** out[i][j] = this[index[i][j]][j] for dim 0, and so on; the shape is the index's. */
  gather(dim: number, index: Tensor): Tensor<D> {
    const along = checkInteger(dim, 'dim')
    return wrap(binding().ops.gather(handleOf(this), along, handleOf(index, 'index')))
  }

  /** A copy with out[index[i][j]][j] = source[i][j] for dim 0, and so on. */
  scatter(dim: number, index: Tensor, source: Tensor<D>): Tensor<D> {
    const along = checkInteger(dim, 'dim')
    const handles = [handleOf(index, 'index'), handleOf(source, 'source')] as const
    return wrap(binding().ops.scatter(handleOf(this), along, ...handles))
  }

  /** The positions along `dim` that `index`, one-dimensional, names. */
  indexSelect(dim: number, index: Tensor): Tensor<D> {
    const along = checkInteger(dim, 'dim')
    return wrap(
      binding().ops.indexSelect(handleOf(this), along, handleOf(index, 'index')),
    )
  }

  /** One index tensor a leading dimension, broadcast together; null for a whole dimension. */
  index(indices: readonly (Tensor | null)[]): Tensor<D> {
    if (!Array.isArray(indices)) {
      throw new TypeError(
        `Expected indices to be an array but received ${kindOf(indices)}`,
      )
    }
    const handles = indices.map((index, i) => optionalHandleOf(index, `indices[${i}]`))
    if (handles.every((handle) => handle === null)) {
      throw new RangeError('index: expected at least one index tensor')
    }
    return wrap(binding().ops.index(handleOf(this), handles))
  }

  /** A copy with `value` where `mask`, bool, is true. */
  maskedFill(mask: Tensor<'bool'>, value: number): Tensor<D> {
    const fill = checkNumber(value, 'value')
    return wrap(binding().ops.maskedFill(handleOf(this), handleOf(mask, 'mask'), fill))
  }

  /** Positions of the elements that are not zero: [count, dimensions]. */
  nonzero(): Tensor<'int64'> {
    return wrap(binding().ops.nonzero(handleOf(this)))
  }
}

/** Sizes of the parts of `shape` along `dim` that have `size` positions each, but for the last. */
function evenly(size: number, shape: readonly number[], dim: number): number[] {
  if (checkInteger(size, 'sizes') < 1) {
    throw new RangeError(`Expected sizes to be 1 or more but received ${size}`)
  }
  const { length } = shape
  const total = shape.at(dim)
  if (total === undefined || dim < -length) {
    throw new RangeError(`Expected dim in ${-length}..${length - 1} but received ${dim}`)
  }
  const count = Math.max(1, Math.ceil(total / size))
  return Array.from({ length: count }, (_, i) => Math.min(size, total - i * size))
}
