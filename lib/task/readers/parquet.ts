// Parquet, by hyparquet, a row group at a time. Knows nothing of which columns a row should have.

import { open, stat } from 'node:fs/promises'
import type { AsyncBuffer, FileMetaData } from 'hyparquet'
import { LoptError } from '../../errors.js'
import type { FileRecord } from './jsonl.js'
import { cannotRead, checkFile, type ReaderLimits } from './lines.js'

/** The rows of a Parquet file; structs and lists become objects and arrays. `line` counts rows. */
export async function* readParquet(
  file: string,
  limits: ReaderLimits,
): AsyncGenerator<FileRecord> {
  await checkFile(file, limits)
  // Modules without a CommonJS form, which `require` cannot load in Node 20.
  const { parquetMetadataAsync, parquetReadObjects } = await import('hyparquet')
  const { compressors } = await import('hyparquet-compressors')
  const handle = await open(file).catch((error: unknown) => {
    throw cannotRead(file, error)
  })
  try {
    const buffer: AsyncBuffer = {
      byteLength: (await stat(file)).size,
      slice: async (start, end = buffer.byteLength) => {
        const bytes = Buffer.alloc(Math.max(0, end - start))
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start)
        return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytesRead)
      },
    }
    const metadata = await parquetMetadataAsync(buffer).catch((cause: unknown) => {
      throw damaged(file, cause)
    })
    checkSize(file, metadata, limits)
    let rowStart = 0
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows)
      const options = { file: buffer, metadata, compressors, rowStart, rowEnd }
      const rows = await parquetReadObjects(options).catch((cause: unknown) => {
        throw damaged(`${file}:${rowStart + 1}`, cause)
      })
      for (const row of rows) {
        rowStart += 1
        yield { record: plain(row) as FileRecord['record'], line: rowStart }
      }
      rowStart = rowEnd
    }
  } finally {
    await handle.close()
  }
}

/** A small file may hold a great many bytes: what its rows unpack to is limited too. */
function checkSize(
  file: string,
  { num_rows, row_groups }: FileMetaData,
  limits: ReaderLimits,
): void {
  const bytes = row_groups.reduce((sum, group) => sum + Number(group.total_byte_size), 0)
  if (bytes > limits.fileBytes) {
    throw new LoptError(
      'ERR_DATA',
      `${file}: The rows unpack to ${bytes} bytes, more than ${limits.fileBytes}, and all are kept in memory; take a part of them`,
    )
  }
  if (Number(num_rows) > limits.rows) {
    throw new LoptError(
      'ERR_DATA',
      `${file}: The file has more than ${limits.rows} rows, and all are kept in memory; take a part of it`,
    )
  }
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
