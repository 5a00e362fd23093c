// Which reader a data file gets, by its extension, and the rows of any of them.

import { extname } from 'node:path'
import type { Readable } from 'node:stream'
import { LoptError } from '../../errors.js'
import { readCsv } from './csv.js'
import { type FileRecord, readJsonl } from './jsonl.js'
import { type ReaderLimits, readerLimits } from './lines.js'
import { readParquet } from './parquet.js'
import { type Row, type RowOptions, rowOf } from './row.js'
import { readTsv } from './tsv.js'

type Reader = (
  file: string,
  limits: ReaderLimits,
  input?: Readable,
) => AsyncGenerator<FileRecord>

const readers: Record<string, Reader> = {
  '.jsonl': readJsonl,
  '.ndjson': readJsonl,
  '.json': readJsonl,
  '.csv': readCsv,
  '.tsv': readTsv,
  '.parquet': readParquet,
}

const streamReaders = { jsonl: readJsonl, csv: readCsv, tsv: readTsv }

/** What rows that come in a stream may be written in. */
export type StreamFormat = keyof typeof streamReaders

/** Rows that come in a stream, not in a file. */
export interface RowStream {
  stream: Readable
  format: StreamFormat
}

/** The extensions that `readRows` knows. */
export const dataFileExtensions: readonly string[] = Object.keys(readers)

/** Whether a name looks like a data file's: it ends in an extension of one. */
export function isDataFileName(name: string): boolean {
  return Object.hasOwn(readers, extname(name).toLowerCase())
}

/**
 * The rows of a data file: JSON Lines (`.jsonl`, `.ndjson`, `.json`), `.parquet`, `.csv` or `.tsv`, the
 * last two with a header row. The file is streamed.
 *
 * @param options.input read in the place of the file, whose name then only stands in messages
 * @throws LoptError `ERR_IO` if the file cannot be read; `ERR_UNSUPPORTED` for another extension;
 * `ERR_DATA`, beginning with `file:line: `, for a malformed line, an empty file, a missing field or
 * label, and beyond a limit.
 */
export async function* readRows(
  file: string,
  options: RowOptions & { limits?: Partial<ReaderLimits>; input?: RowStream } = {},
): AsyncGenerator<Row> {
  const { limits, input } = options
  for await (const { record, line } of readRecords(file, limits, input)) {
    yield rowOf(record, line, `${file}:${line}`, options)
  }
}

/** The records of a data file as they stand in it, nested ones too. @throws LoptError as `readRows`. */
export async function* readRecords(
  file: string,
  given: Partial<ReaderLimits> = {},
  input?: RowStream,
): AsyncGenerator<FileRecord> {
  const limits = { ...readerLimits, ...given }
  const reader = input === undefined ? readerOf(file) : streamReaders[input.format]
  let rows = 0
  for await (const { record, line } of reader(file, limits, input?.stream)) {
    if (++rows > limits.rows) {
      throw new LoptError(
        'ERR_DATA',
        `${file}:${line}: The file has more than ${limits.rows} rows, and all are kept in memory; take a part of it`,
      )
    }
    yield { record, line }
  }
  if (rows === 0) throw new LoptError('ERR_DATA', `${file}: The file has no rows`)
}

function readerOf(file: string): Reader {
  const extension = extname(file).toLowerCase()
  const reader = Object.hasOwn(readers, extension) ? readers[extension] : undefined
  if (reader !== undefined) return reader
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `${file}: Expected a data file that ends in ${dataFileExtensions.join(', ')}`,
  )
}
