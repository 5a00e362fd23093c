// The header of a safetensors file: text to checked entries and back. Knows no file and no tensor.
//
// Source: the format and its reference implementation, github.com/huggingface/safetensors.

import type { DType } from './dtype.js'
import { itemSize } from './dtype.js'

/** Where a tensor lies in its file. */
export interface SafetensorsTensorInfo {
  dtype: DType
  shape: readonly number[]
  /** Bytes from the beginning of the file to the first element. */
  offset: number
  sizeBytes: number
}

export interface Header {
  metadata: Record<string, string>
  /** In the order of the header. */
  tensors: Map<string, SafetensorsTensorInfo>
}

/** The reference implementation's limit: a header is parsed in memory before anything is known. */
export const MAX_HEADER_BYTES = 100_000_000
/** libtorch's own limit on the dimensions that its ops take. */
const MAX_DIMENSIONS = 64
const LENGTH_BYTES = 8
const METADATA = '__metadata__'

// In the order of the reference implementation's enum, by which it sorts: larger sizes last.
const DTYPE_OF = new Map<string, DType>([
  ['BOOL', 'bool'],
  ['U8', 'uint8'],
  ['I8', 'int8'],
  ['F8_E5M2', 'float8_e5m2'],
  ['F8_E4M3', 'float8_e4m3fn'],
  ['I16', 'int16'],
  ['U16', 'uint16'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I32', 'int32'],
  ['U32', 'uint32'],
  ['F32', 'float32'],
  ['F64', 'float64'],
  ['I64', 'int64'],
  ['U64', 'uint64'],
])
const NAMES = [...DTYPE_OF.keys()]
const NAME_OF = new Map([...DTYPE_OF].map(([name, dtype]) => [dtype, name]))

/** What is wrong with a header. */
export class HeaderError extends Error {}

/**
 * Length of the JSON text, from the first 8 bytes of a file.
 *
 * @throws HeaderError when the file cannot hold it, or it is above the limit.
 */
export function headerLength(start: Uint8Array, fileBytes: number): number {
  if (fileBytes < LENGTH_BYTES) {
    throw new HeaderError(`${fileBytes} bytes are too short for a safetensors file`)
  }
  const view = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES)
  const length = view.getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new HeaderError(
      `the header's length ${length} is above ${MAX_HEADER_BYTES} bytes: is it a safetensors file?`,
    )
  }
  if (LENGTH_BYTES + Number(length) > fileBytes) {
    throw new HeaderError(
      `the header's length ${length} goes beyond the file's ${fileBytes} bytes: cut short?`,
    )
  }
  return Number(length)
}

/**
 * Checks a header in every respect that reading the tensors relies on.
 *
 * @throws HeaderError naming the tensor and what is wrong.
 */
export function parseHeader(json: Uint8Array, fileBytes: number): Header {
  const parsed = parseJson(json)
  let metadata: Record<string, string> = {}
  const tensors = new Map<string, SafetensorsTensorInfo>()
  const dataStart = LENGTH_BYTES + json.length
  for (const [name, entry] of Object.entries(parsed)) {
    if (name === METADATA) metadata = checkMetadata(entry)
    else tensors.set(name, checkEntry(name, entry, dataStart))
  }
  checkCoverage(tensors, dataStart, fileBytes)
  return { metadata, tensors }
}

/** A header as text, padded with spaces to 8 bytes, and the tensors in the order they must follow. */
export function formatHeader(
  tensors: readonly { name: string; dtype: DType; shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>> | undefined,
): { bytes: Uint8Array; order: string[] } {
  const sorted = [...tensors].sort(
    (a, b) =>
      rank(b.dtype) - rank(a.dtype) ||
      Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  )
  const entries: [string, unknown][] =
    metadata === undefined ? [] : [[METADATA, metadata]]
  let end = 0
  for (const { name, dtype, shape } of sorted) {
    const begin = end
    end += shape.reduce((count, size) => count * size, itemSize(dtype))
    entries.push([name, { dtype: NAME_OF.get(dtype), shape, data_offsets: [begin, end] }])
  }
  // By hand: an object would put names such as "0" first.
  const members = entries.map(
    ([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`,
  )
  const json = Buffer.from(`{${members.join(',')}}`)
  const padded = Math.ceil(json.length / 8) * 8
  if (padded > MAX_HEADER_BYTES) {
    throw new HeaderError(`the header of ${padded} bytes is above ${MAX_HEADER_BYTES}`)
  }
  const bytes = Buffer.alloc(LENGTH_BYTES + padded, ' ')
  bytes.writeBigUInt64LE(BigInt(padded))
  json.copy(bytes, LENGTH_BYTES)
  return { bytes, order: sorted.map(({ name }) => name) }
}

function rank(dtype: DType): number {
  return NAMES.indexOf(NAME_OF.get(dtype) as string)
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new HeaderError('the header is not UTF-8')
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw new HeaderError(`the header is not JSON: ${(error as Error).message}`)
  }
  if (!isObject(parsed)) throw new HeaderError('the header is not a JSON object')
  const twice = firstDuplicateKey(text)
  if (twice !== undefined) throw new HeaderError(`tensor ${twice}: it is there twice`)
  return parsed
}

/** Of the outermost object of valid JSON: JSON.parse keeps the last of two keys and says nothing. */
function firstDuplicateKey(json: string): string | undefined {
  const seen = new Set<string>()
  let depth = 0
  let string = ''
  for (let i = 0; i < json.length; i++) {
    const char = json[i]
    if (char === '"') {
      const begin = i
      for (i++; json[i] !== '"'; i++) if (json[i] === '\\') i++
      if (depth === 1) string = json.slice(begin, i + 1)
    } else if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    else if (char === ':' && depth === 1) {
      const key = JSON.parse(string) as string
      if (seen.has(key)) return key
      seen.add(key)
    }
  }
  return undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function checkMetadata(value: unknown): Record<string, string> {
  if (!isObject(value)) throw new HeaderError(`${METADATA} is not an object`)
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string')
      throw new HeaderError(`${METADATA}: ${key} is not a string`)
  }
  return value as Record<string, string>
}

function checkEntry(
  name: string,
  entry: unknown,
  dataStart: number,
): SafetensorsTensorInfo {
  const refuse = (what: string) => new HeaderError(`tensor ${name}: ${what}`)
  if (!isObject(entry)) throw refuse('its entry is not an object')
  const { dtype: dtypeName, shape, data_offsets: offsets } = entry
  const dtype = DTYPE_OF.get(dtypeName as string)
  if (dtype === undefined) {
    throw refuse(
      `unknown dtype ${JSON.stringify(dtypeName)}; known are ${NAMES.join(', ')}`,
    )
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw refuse('its shape is not an array of integers of 0 or more')
  }
  if (shape.length > MAX_DIMENSIONS) {
    throw refuse(`${shape.length} dimensions are more than ${MAX_DIMENSIONS}`)
  }
  // A size of 0 must not hide an overflow: libtorch multiplies the other sizes to strides.
  const extent = shape.reduce(
    (product, size) => product * Math.max(size, 1),
    itemSize(dtype),
  )
  if (!Number.isSafeInteger(extent))
    throw refuse(`its shape [${shape.join(', ')}] overflows`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw refuse('its data_offsets are not two integers of 0 or more')
  }
  const [begin, end] = offsets as [number, number]
  if (end < begin) throw refuse(`its data ends at ${end}, before it begins at ${begin}`)
  const sizeBytes = shape.includes(0) ? 0 : extent
  if (end - begin !== sizeBytes) {
    throw refuse(
      `its data has ${end - begin} bytes but ${dtypeName as string} ` +
        `[${shape.join(', ')}] needs ${sizeBytes}`,
    )
  }
  return { dtype, shape, offset: dataStart + begin, sizeBytes }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** The format asks for data without overlaps and without holes, up to the file's end. */
function checkCoverage(
  tensors: ReadonlyMap<string, SafetensorsTensorInfo>,
  dataStart: number,
  fileBytes: number,
): void {
  const inOrder = [...tensors].sort(
    ([, a], [, b]) => a.offset - b.offset || a.sizeBytes - b.sizeBytes,
  )
  let end = dataStart
  for (const [name, { offset, sizeBytes }] of inOrder) {
    const refuse = (what: string) => new HeaderError(`tensor ${name}: ${what}`)
    if (offset + sizeBytes > fileBytes) {
      throw refuse(
        `its data ends at byte ${offset + sizeBytes} but the file at ${fileBytes}: cut short?`,
      )
    }
    if (offset < end)
      throw refuse(`its data overlaps another tensor's by ${end - offset} bytes`)
    if (offset > end)
      throw refuse(`${offset - end} bytes before its data belong to no tensor`)
    end = offset + sizeBytes
  }
  if (end !== fileBytes) {
    throw new HeaderError(
      `${fileBytes - end} bytes at the end of the file belong to no tensor`,
    )
  }
}
