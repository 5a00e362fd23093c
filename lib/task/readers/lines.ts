// A text file, or a stream in its place, as lines within limits. Knows UTF-8 and line ends, nothing of rows.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { cannotRead, LoptError } from '../../errors.js'

/** How big a data file may be. */
export interface ReaderLimits {
  /** Bytes of a file. Its rows are all kept in memory, as strings of up to twice the size. */
  fileBytes: number
  /** Bytes of a line, or of a quoted record: far beyond any model's positions, and small enough
   * that a binary file, or a quote that is never closed, does not fill the memory. */
  lineBytes: number
  /** Rows of a file. A row costs some hundred bytes of memory however short it is. */
  rows: number
  /** Milliseconds, besides one second a MiB of the file, after which the decoding of a row group of Parquet
   * is given up: a damaged file may have it loop for ever. Far above what a group takes. */
  decodeMs: number
}

export const readerLimits: Readonly<ReaderLimits> = {
  fileBytes: 2 ** 30,
  lineBytes: 16 * 2 ** 20,
  rows: 5_000_000,
  decodeMs: 20_000,
}

export interface Line {
  text: string
  /** From 1. */
  line: number
}

/**
 * The lines of a UTF-8 file, without their ends (`\n` or `\r\n`) and without a byte order mark.
 * The file is streamed: no more than a line of it is in memory.
 *
 * @param input read in the place of the file, whose name then only stands in messages
 * @throws LoptError `ERR_IO` if the file cannot be read; `ERR_DATA` beyond a limit, or for bytes
 * that are not UTF-8.
 */
export async function* readLines(
  file: string,
  limits: ReaderLimits,
  input?: Readable,
): AsyncGenerator<Line> {
  if (input === undefined) await checkFile(file, limits)
  let line = 1
  let fileBytes = 0
  let pending: Buffer[] = []
  let pendingBytes = 0
  const stream = input ?? createReadStream(file)
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      fileBytes += chunk.length
      if (fileBytes > limits.fileBytes) throw tooBig(file, limits)
      let start = 0
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        pending.push(chunk.subarray(start, end))
        checkLine(file, line, pendingBytes + end - start, limits)
        yield { text: decode(Buffer.concat(pending), file, line), line }
        pending = []
        pendingBytes = 0
        start = end + 1
        line++
      }
      pending.push(chunk.subarray(start))
      pendingBytes += chunk.length - start
      checkLine(file, line, pendingBytes, limits)
    }
    // a last line without an end
    if (pendingBytes > 0) yield { text: decode(Buffer.concat(pending), file, line), line }
  } catch (error) {
    throw error instanceof LoptError ? error : cannotRead(file, error)
  } finally {
    stream.destroy()
  }
}

/** @throws LoptError `ERR_IO` unless it is a file, `ERR_DATA` for one that is too big. */
export async function checkFile(file: string, limits: ReaderLimits): Promise<void> {
  const info = await stat(file).catch((error: unknown) => {
    throw cannotRead(file, error)
  })
  if (info.isDirectory())
    throw new LoptError('ERR_IO', `Cannot read ${file}: it is a folder`)
  if (info.size > limits.fileBytes) throw tooBig(file, limits)
}

function checkLine(
  file: string,
  line: number,
  bytes: number,
  limits: ReaderLimits,
): void {
  if (bytes <= limits.lineBytes) return
  throw new LoptError(
    'ERR_DATA',
    `${file}:${line}: The line is longer than ${limits.lineBytes} bytes; is this a text file with one row a line?`,
  )
}

function decode(bytes: Buffer, file: string, line: number): string {
  if (
    line === 1 &&
    ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
  ) {
    throw new LoptError('ERR_DATA', `${file}:1: The file is UTF-16; save it as UTF-8`)
  }
  try {
    // only the file's own byte order mark is dropped
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: line > 1 }).decode(
      bytes,
    )
    return text.endsWith('\r') ? text.slice(0, -1) : text
  } catch (cause) {
    throw new LoptError('ERR_DATA', `${file}:${line}: The line is not UTF-8 text`, {
      cause,
    })
  }
}

function tooBig(file: string, limits: ReaderLimits): LoptError {
  return new LoptError(
    'ERR_DATA',
    `${file}: The file is larger than ${limits.fileBytes} bytes, and all rows are kept in memory; take a part of it`,
  )
}
