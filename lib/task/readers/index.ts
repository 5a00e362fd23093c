// Which reader a data file gets, by its extension, and the rows of any of them.

import { extname } from 'node:path'
import { LoptError } from '../../errors.js'
import { readCsv } from './csv.js'
import { type FileRecord, readJsonl } from './jsonl.js'
import { type ReaderLimits, readerLimits } from './lines.js'
import { type Row, type RowOptions, rowOf } from './row.js'
import { readTsv } from './tsv.js'

const readers: Record<
  string,
  (file: string, limits: ReaderLimits) => AsyncGenerator<FileRecord>
> = {
  '.jsonl': readJsonl,
  '.ndjson': readJsonl,
  '.json': readJsonl,
  '.csv': readCsv,
  '.tsv': readTsv,
}

/** The extensions that `readRows` knows. */
export const dataFileExtensions: readonly string[] = Object.keys(readers)

/** Whether a name looks like a data file's: it ends in an extension of one, or of a refused one. */
export function isDataFileName(name: string): boolean {
  const extension = extname(name).toLowerCase()
  return Object.hasOwn(readers, extension) || extension === '.parquet'
}

/**
 * The rows of a data file: JSON Lines (`.jsonl`, `.ndjson`, `.json`), `.csv` or `.tsv`, the last
 * two with a header row. The file is streamed.
 *
 * @throws LoptError `ERR_IO` if the file cannot be read; `ERR_UNSUPPORTED` for another extension;
 * `ERR_DATA`, beginning with `file:line: `, for a malformed line, an empty file, a missing field or
 * label, and beyond a limit.
 */
export async function* readRows(
  file: string,
  options: RowOptions & { limits?: Partial<ReaderLimits> } = {},
): AsyncGenerator<Row> {
  const limits = { ...readerLimits, ...options.limits }
  const extension = extname(file).toLowerCase()
  const reader = Object.hasOwn(readers, extension) ? readers[extension] : undefined
  if (reader === undefined) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      extension === '.parquet'
        ? `${file}: Parquet is not read yet; convert the file to JSON Lines, CSV or TSV`
        : `${file}: Expected a data file that ends in ${dataFileExtensions.join(', ')}`,
    )
  }
  let rows = 0
  for await (const { record, line } of reader(file, limits)) {
    if (++rows > limits.rows) {
      throw new LoptError(
        'ERR_DATA',
        `${file}:${line}: The file has more than ${limits.rows} rows, and all are kept in memory; take a part of it`,
      )
    }
    yield rowOf(record, line, `${file}:${line}`, options)
  }
  if (rows === 0) throw new LoptError('ERR_DATA', `${file}: The file has no rows`)
}
