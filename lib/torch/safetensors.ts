// safetensors files: memory-mapped tensors without a copy, and a writer. Knows no model.
//
// A file that is cut short while it is mapped makes the system end the process (SIGBUS): replace
// such a file by renaming, as the writer here does, never in place.

import { types } from 'node:util'
import { writeFileAtomic } from '../atomic-file.js'
import { LoptError } from '../errors.js'
import { type MappedFileHandle, native } from '../native.js'
import { checkInteger, checkObject, checkReceiver, checkString } from './check.js'
import { binding } from './context.js'
import {
  formatHeader,
  type Header,
  HeaderError,
  headerLength,
  parseHeader,
  type SafetensorsTensorInfo,
} from './safetensors-header.js'
import { handleOf, type Tensor, wrap } from './tensor.js'

export type { SafetensorsTensorInfo }

/** An open safetensors file. Tensors taken from it stay valid after it is disposed of. */
export class SafetensorsFile {
  readonly path: string
  readonly #handle: MappedFileHandle
  readonly #header: Header

  /** @internal `openSafetensors` makes one. */
  constructor(path: string, handle: MappedFileHandle, header: Header) {
    if (!types.isExternal(handle)) {
      throw new TypeError('Expected a SafetensorsFile to be made by openSafetensors')
    }
    this.path = path
    this.#handle = handle
    this.#header = header
  }

  static #own(value: SafetensorsFile): SafetensorsFile {
    return checkReceiver(value, (object) => #handle in object, 'a SafetensorsFile')
  }

  /** The strings under `__metadata__`; empty when there are none. */
  get metadata(): Readonly<Record<string, string>> {
    return SafetensorsFile.#own(this).#header.metadata
  }

  /** The tensors' names in the order of the header. */
  get names(): string[] {
    return [...SafetensorsFile.#own(this).#header.tensors.keys()]
  }

  /** Whether the file has a tensor of this name. */
  has(name: string): boolean {
    return SafetensorsFile.#own(this).#header.tensors.has(checkString(name, 'name'))
  }

  /** @throws LoptError `ERR_MODEL_FILE` when the file has no tensor of that name. */
  info(name: string): SafetensorsTensorInfo {
    const { tensors } = SafetensorsFile.#own(this).#header
    const info = tensors.get(checkString(name, 'name'))
    if (info !== undefined) return info
    throw new LoptError('ERR_MODEL_FILE', `${this.path}: there is no tensor ${name}`)
  }

  /**
   * The tensor on the file's own pages, on the CPU: nothing is read until it is used, and a change
   * in place stays in this process. It is copied when it is not aligned to its dtype's size.
   */
  tensor(name: string): Tensor {
    const { offset, shape, dtype } = SafetensorsFile.#own(this).info(name)
    return wrap(native().mappedTensor(this.#handle, offset, shape, dtype))
  }

  /**
   * A copy of bytes `begin`..`end` (not included), counted from the tensor's first.
   *
   * @throws RangeError for bytes outside the tensor.
   */
  bytes(name: string, begin = 0, end?: number): Uint8Array {
    const { offset, sizeBytes } = SafetensorsFile.#own(this).info(name)
    const last = end === undefined ? sizeBytes : checkInteger(end, 'end')
    if (checkInteger(begin, 'begin') < 0 || last < begin || last > sizeBytes) {
      throw new RangeError(
        `Expected bytes in 0..${sizeBytes} of tensor ${name} but received ${begin}..${last}`,
      )
    }
    return native().mappedBytes(this.#handle, offset + begin, offset + last)
  }

  /** Closes the file; its pages stay mapped while tensors on them live. */
  dispose(): void {
    native().mappedDispose(SafetensorsFile.#own(this).#handle)
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    SafetensorsFile.prototype.dispose.call(this)
  }
}

/**
 * Maps a file and checks its header: takes milliseconds however large the file is.
 *
 * @example
 * const file = openSafetensors('model.safetensors')
 * console.log(file.names, file.metadata)
 *
 * @throws LoptError `ERR_IO` for a file that cannot be opened; `ERR_MODEL_FILE` with the path, the
 *   tensor and what is wrong for a header that lies. The header may have 100 MB, the reference
 *   implementation's limit.
 */
export function openSafetensors(path: string): SafetensorsFile {
  const handle = native().mapFile(checkString(path, 'path'))
  try {
    const fileBytes = native().mappedSize(handle)
    const read = (begin: number, end: number) => native().mappedBytes(handle, begin, end)
    const length = headerLength(read(0, Math.min(8, fileBytes)), fileBytes)
    return new SafetensorsFile(path, handle, parseHeader(read(8, 8 + length), fileBytes))
  } catch (cause) {
    native().mappedDispose(handle)
    if (!(cause instanceof HeaderError)) throw cause
    throw new LoptError('ERR_MODEL_FILE', `${path}: ${cause.message}`, { cause })
  }
}

/**
 * Writes tensors in the order and layout of the reference implementation, one at a time in memory,
 * under a temporary name that replaces `path` at the end. Jobs asked for before it are in the
 * file.
 *
 * @example
 * await writeSafetensors('weights.safetensors', { w: randn([2, 3]) }, { metadata: { format: 'pt' } })
 *
 * @throws LoptError `ERR_IO` naming the folder and what to do; TypeError for what is no Tensor, or
 *   metadata that is not strings.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>,
  options: { metadata?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const { metadata } = checkObject(options)
  checkString(path, 'path')
  const given = checkObject(tensors, 'tensors')
  const named = new Map(given instanceof Map ? given : Object.entries(given))
  const texts = metadata === undefined ? {} : checkObject(metadata, 'metadata')
  for (const [key, text] of Object.entries(texts)) checkString(text, `metadata ${key}`)
  const described = [...named].map(([name, tensor]) => {
    handleOf(tensor, checkString(name, 'the name of a tensor'))
    if (name === '__metadata__')
      throw new RangeError('No tensor can be named __metadata__')
    return { name, dtype: tensor.dtype, shape: tensor.shape }
  })
  const { bytes, order } = formatHeader(described, metadata)
  await writeFileAtomic(
    path,
    contents(
      bytes,
      order.map((name) => handleOf(named.get(name))),
    ),
  )
}

async function* contents(
  header: Uint8Array,
  tensors: readonly ReturnType<typeof handleOf>[],
): AsyncIterable<Uint8Array> {
  yield header
  for (const tensor of tensors) yield await binding().readBytes(tensor)
}
