// JSON Lines: one object a line. Knows nothing of which fields a row should have.

import type { Readable } from 'node:stream'
import { LoptError } from '../../errors.js'
import { type ReaderLimits, readLines } from './lines.js'

/** What a reader gives: a record as it stands in the file, and the line on which it starts. */
export interface FileRecord {
  record: Readonly<Record<string, unknown>>
  line: number
}

/** The objects of a JSON Lines file; blank lines are passed over. */
export async function* readJsonl(
  file: string,
  limits: ReaderLimits,
  input?: Readable,
): AsyncGenerator<FileRecord> {
  for await (const { text, line } of readLines(file, limits, input)) {
    if (text.trim() !== '') yield { record: parseRecord(text, `${file}:${line}`), line }
  }
}

/** @throws LoptError `ERR_DATA` unless `text` is one JSON object. */
export function parseRecord(text: string, where: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const hint = /^\s*\[/.test(text)
      ? ' (is the file one JSON array? It should be one object a line)'
      : ''
    throw new LoptError(
      'ERR_DATA',
      `${where}: Expected a JSON object but the line is not valid JSON${hint}`,
      {
        cause,
      },
    )
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  const kind =
    value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`
  throw new LoptError('ERR_DATA', `${where}: Expected a JSON object but received ${kind}`)
}
