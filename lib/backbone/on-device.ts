// Puts weights where a model computes, in the dtype that it computes in. Knows no file and no model.

import { binding } from '../torch/context.js'
import { itemSize, synchronize, type Tensor } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'

/** Bytes that are on their way at once: a wait for every so many costs a GPU nothing. */
const BYTES_AHEAD = 2 ** 29

/** A CPU tensor, and the dtype that it is wanted in. */
export interface Weight {
  readonly name: string
  readonly tensor: Tensor
  readonly dtype: Tensor['dtype']
}

/**
 * Each weight on a device, one after the other, and disposes of those given. The bytes go there as they are, straight from where
 * they lie, and are converted there: beside a mapped file the host needs no memory, and the device that of one tensor more.
 */
export async function onDevice(
  weights: Iterable<Weight>,
  device: string,
): Promise<Map<string, Tensor>> {
  const placed = new Map<string, Tensor>()
  // The host reads the next tensor while a GPU still takes the last one, which must stay until then.
  const isAhead = device.startsWith('cuda')
  const given: Tensor[] = []
  const taken = async () => {
    if (isAhead) await synchronize(device)
    for (const one of given.splice(0)) one.dispose()
  }
  let bytes = 0 // that the host may hold for tensors that are on their way: those of a file that cannot be read in place
  try {
    for (const { name, tensor, dtype } of weights) {
      given.push(tensor)
      placed.set(name, await moved(tensor, { device, dtype }, isAhead))
      bytes += tensor.numel * itemSize(tensor.dtype)
      if (isAhead && bytes < BYTES_AHEAD) continue
      await taken()
      bytes = 0
    }
  } finally {
    await taken()
  }
  return placed
}

/**
 * A tensor on a device, in a dtype that it is converted to there.
 *
 * @param isAhead it may still be read when this returns, until the device is waited for
 */
export async function moved(
  tensor: Tensor,
  { device, dtype }: Pick<Tensor, 'device' | 'dtype'>,
  isAhead = false,
): Promise<Tensor> {
  const { jobs } = binding()
  // An Apple GPU has no float64, which a file may have.
  const first = device.startsWith('mps') ? dtype : null
  const there = wrap(await jobs.to(handleOf(tensor), first, device, isAhead))
  if (there.dtype === dtype) return there
  const converted = wrap(await jobs.to(handleOf(there), dtype, null, false))
  there.dispose()
  return converted
}
