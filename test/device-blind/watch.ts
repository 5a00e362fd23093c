// Runs work on libtorch's `meta` device and tells which ops read a tensor that lies on the CPU: on a
// GPU such an op fails or stalls. What is read back is made up, since `meta` holds no elements.

import { vi } from 'vitest'
import { type RecordedOp, recordOps, Tensor } from '../../lib/torch/index.js'

/** How a batch's ids and masks come to a device: whole numbers that JavaScript counted out, or a figure of each row. */
const TRANSFERS = ['aten::to', 'aten::_to_copy', 'aten::copy_']
const COUNTED = ['int64', 'uint8', 'bool']
const isColumn = (shape: readonly number[]) => shape.length === 2 && shape[1] === 1

/** Ops with an input on the CPU that has a dimension: a single number may lie there. */
export function cpuInputs(ops: readonly RecordedOp[]): string[] {
  return ops.flatMap(({ name, inputs }) => {
    const isTransfer = TRANSFERS.includes(name)
    // A copy writes to its first input.
    return (name === 'aten::copy_' ? inputs.slice(1) : inputs)
      .filter(({ device, shape }) => device === 'cpu' && shape.length > 0)
      .filter(
        ({ dtype, shape }) =>
          !(isTransfer && (COUNTED.includes(dtype) || isColumn(shape))),
      )
      .map(
        ({ dtype, shape }) => `${name} reads ${dtype} [${shape.join(', ')}] on the CPU`,
      )
  })
}

/**
 * @returns what `fn` gives, the ops that read the CPU (none in device-blind code), how many ops ran, and
 *   the shapes of what was read back, in order
 */
export async function watched<T>(fn: () => Promise<T>): Promise<{
  value: T
  cpuInputs: string[]
  count: number
  reads: (readonly number[])[]
}> {
  const reads: (readonly number[])[] = []
  const spy = vi.spyOn(Tensor.prototype, 'read').mockImplementation(async function (
    this: Tensor,
  ) {
    if (this.device !== 'meta') throw new Error(`${this} was read and is not on meta`)
    reads.push(this.shape)
    const values = Array.from({ length: this.numel }, (_, i) => i)
    return this.dtype === 'int64'
      ? BigInt64Array.from(values, BigInt)
      : Float32Array.from(values)
  })
  try {
    const { value, ops, dropped } = await recordOps(fn, { inputs: true })
    if (dropped > 0) throw new Error(`${dropped} ops were not kept`)
    return { value, cpuInputs: cpuInputs(ops), count: ops.length, reads }
  } finally {
    spy.mockRestore()
  }
}
