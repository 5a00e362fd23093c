// Devices: which are there, what they hold, how many threads a CPU op may use. Knows no tensor.

import { LoptError } from '../errors.js'
import { native } from '../native.js'
import { checkInteger, checkString, kindOf } from './check.js'
import { binding } from './context.js'

/** Bytes on a device: in use by tensors, held by the allocator, and their peaks; zeros on a CPU. */
export interface DeviceMemory {
  allocated: number
  reserved: number
  peakAllocated: number
  peakReserved: number
}

/** The devices of this machine that libtorch can use, such as `['cpu', 'cuda:0']`. */
export function availableDevices(): string[] {
  return native().availableDevices()
}

/**
 * A device's full name: `cuda` is `cuda:0`. `meta` (shapes without elements) is always there.
 *
 * @param text `cpu`, `cuda`, `cuda:N`, `mps` or `meta`
 * @throws RangeError for other text; LoptError `ERR_DEVICE` naming the devices that are there.
 */
export function parseDevice(text: string): string {
  if (text === 'cpu' || text === 'meta') return text
  if (
    !/^(cpu|meta|mps)(:0)?$|^cuda(:(0|[1-9]\d{0,2}))?$/.test(checkString(text, 'device'))
  ) {
    throw new RangeError(
      `Expected a device: cpu, cuda, cuda:N, mps or meta, but received ${text}`,
    )
  }
  if (text === 'cpu:0' || text === 'meta:0') return text.slice(0, -2)
  const there = availableDevices()
  const found = there.find(
    (name) => name === text || `${text}:0` === name || `${name}:0` === text,
  )
  if (found !== undefined) return found
  throw new LoptError(
    'ERR_DEVICE',
    `The device ${text} is not there. Choose one of: ${there.join(', ')}.` +
      (text.startsWith('cuda') ? whyNoCuda(there) : ''),
  )
}

function whyNoCuda(there: readonly string[]): string {
  if (there.some((name) => name.startsWith('cuda'))) return ''
  const { cudaVersion, torchVersion } = native()
  return cudaVersion === null
    ? ` libtorch ${torchVersion}, which is in use, is for the CPU alone: docs/devices.md says how to ` +
        'build for CUDA.'
    : ` libtorch ${torchVersion} is built for CUDA ${cudaVersion}, and finds no NVIDIA GPU or no driver.`
}

/** @throws LoptError `ERR_DEVICE` where the CPU is the only device. */
export function requireAccelerator(what: string): void {
  if (availableDevices().length > 1) return
  throw new LoptError(
    'ERR_DEVICE',
    `${what} is for copies to an accelerator, and the CPU is the only device here`,
  )
}

/** Waits until `device` has done all that this thread asked of it. */
export async function synchronize(device: string): Promise<void> {
  await binding().synchronize(parseDevice(device))
}

/** @throws LoptError `ERR_DEVICE` when the device is not there. */
export function deviceMemory(device: string): DeviceMemory {
  return native().deviceMemory(parseDevice(device))
}

/** Gives memory that the allocator holds and no tensor uses back to the device; none while a graph is captured there. */
export function emptyCache(device: string): void {
  native().emptyCache(parseDevice(device))
}

/** Threads that one op may use on a CPU. */
export function getNumThreads(): number {
  return native().getNumThreads()
}

/**
 * Whether float32 products on CUDA may round their factors to TF32, 10 bits of mantissa, which is several times as fast. Off
 * by default; for the whole process.
 *
 * Source: `torch.backends.cuda.matmul.allow_tf32`.
 */
export function allowTf32(enabled: boolean): void {
  if (typeof enabled !== 'boolean') {
    throw new TypeError(`Expected a boolean for enabled but received ${kindOf(enabled)}`)
  }
  native().allowTf32(enabled)
}

/**
 * What `allowTf32` said last.
 *
 * @internal
 */
export function isTf32Allowed(): boolean {
  return native().isTf32Allowed()
}

/**
 * Sets the threads that one op may use on a CPU, from the next job on.
 *
 * @throws RangeError unless `threads` is in 1..1024.
 */
export async function setNumThreads(threads: number): Promise<void> {
  checkInteger(threads, 'threads')
  // More threads than any machine has cores: a bound against a typing slip that starts a million.
  if (threads < 1 || threads > 1024) {
    throw new RangeError(`Expected threads in 1..1024 but received ${threads}`)
  }
  await native().setNumThreads(threads)
}
