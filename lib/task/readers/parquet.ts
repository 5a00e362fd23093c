// Parquet, a row group at a time, decoded by hyparquet in a process of its own. Knows nothing of which
// columns a row should have.

import { open } from 'node:fs/promises'
import { cannotRead, LoptError } from '../../errors.js'
import type { FileRecord } from './jsonl.js'
import { checkFile, type ReaderLimits } from './lines.js'
import { type ParquetSummary, startParquetProcess } from './parquet-process.js'

/** The rows of a Parquet file; structs and lists become objects and arrays. `line` counts rows. */
export async function* readParquet(
  file: string,
  limits: ReaderLimits,
): AsyncGenerator<FileRecord> {
  await checkFile(file, limits)
  const handle = await open(file).catch((error: unknown) => {
    throw cannotRead(file, error)
  })
  const fileMiB = (await handle.stat()).size / 2 ** 20
  const timeoutMs = Math.ceil(limits.decodeMs + fileMiB * 1000)
  // An array of 2^27 values, which a damaged count may ask for, takes 1 GiB; text unpacks to less than 8 times.
  const decoder = startParquetProcess(handle.fd, 1024 + Math.ceil(8 * fileMiB))
  try {
    const summary = await decoder.request('summary', [], timeoutMs).catch((cause) => {
      throw damaged(file, cause)
    })
    checkSummary(file, summary, limits)
    let line = 0
    for (const [index, group] of summary.groups.entries()) {
      for (let from = 0; from < group.rows; ) {
        const where = `${file}:${line + 1}`
        const rows = await decoder
          .request('read', [index, from], timeoutMs)
          .catch((cause) => {
            throw damaged(where, cause)
          })
        if (rows.length === 0) throw damaged(where, 'a row group ends too early')
        for (const row of rows) {
          line += 1
          yield { record: record(row, `${file}:${line}`), line }
        }
        from += rows.length
      }
    }
  } finally {
    decoder.end()
    await handle.close()
  }
}

/** A small file may hold a great many bytes: what its rows unpack to is limited too. */
function checkSummary(
  file: string,
  { rows, groups }: ParquetSummary,
  limits: ReaderLimits,
): void {
  const counts = groups.flatMap((group) => [group.rows, group.bytes])
  if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0)) {
    throw damaged(file, 'a row group has no valid count of rows or bytes')
  }
  const inGroups = groups.reduce((sum, group) => sum + group.rows, 0)
  if (inGroups !== rows) {
    throw damaged(file, `it has ${rows} rows, but ${inGroups} in its row groups`)
  }
  const bytes = groups.reduce((sum, group) => sum + group.bytes, 0)
  if (bytes > limits.fileBytes) {
    throw new LoptError(
      'ERR_DATA',
      `${file}: The rows unpack to ${bytes} bytes, more than ${limits.fileBytes}, and all are kept in memory; take a part of them`,
    )
  }
  if (rows > limits.rows) {
    throw new LoptError(
      'ERR_DATA',
      `${file}: The file has more than ${limits.rows} rows, and all are kept in memory; take a part of it`,
    )
  }
}

/** A missing value is null: it is undefined where a column has fewer values than there are rows. */
function record(row: Record<string, unknown>, where: string): FileRecord['record'] {
  for (const [column, value] of Object.entries(row)) {
    if (value === undefined) throw damaged(where, `column "${column}" ends too early`)
  }
  return plain(row) as FileRecord['record']
}

function damaged(where: string, cause: unknown): LoptError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new LoptError('ERR_DATA', `${where}: Cannot be read as Parquet: ${reason}`, {
    cause,
  })
}

/** 64-bit integers as numbers, or as text beyond 2^53; the rest as it is. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') {
    return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  }
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object') return value
  if (Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, plain(inner)]),
  )
}
