// Records the ops that libtorch runs: for profiles, and to see where an op's inputs lie. Knows no
// op and no file format.

import type { NativeRecordedOp } from '../native.js'
import { checkFunction, checkObject } from './check.js'
import { binding } from './context.js'

/**
 * An op that ran, in PyTorch's names (`aten::addmm`, `AddmmBackward0`). An op that calls others ran
 * around them on the same thread.
 */
export type RecordedOp = NativeRecordedOp

/**
 * Runs `fn` and gives what libtorch ran meanwhile, in the order in which the ops ended: the ops of
 * the whole process, those of other environments too. Recording costs microseconds an op.
 *
 * @param options.inputs also keep the device, dtype and shape of each op's tensor inputs
 * @returns `startMs` says when the ops' clock began, as `performance.now()`, to some microseconds; `dropped`
 *   counts the ops past the five millionth, which are not kept
 * @throws RangeError while another recording goes on; what `fn` throws.
 */
export async function recordOps<T>(
  fn: () => T | Promise<T>,
  options: { inputs?: boolean } = {},
): Promise<{ value: T; startMs: number; ops: RecordedOp[]; dropped: number }> {
  const { inputs = false } = checkObject(options)
  checkFunction(fn)
  const addon = binding()
  const startMs = performance.now()
  addon.recorderStart(inputs)
  let value: T
  try {
    value = await fn()
  } catch (error) {
    addon.recorderStop()
    throw error
  }
  return { value, startMs, ...addon.recorderStop() }
}
