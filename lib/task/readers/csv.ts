// CSV: commas, double quotes, header row (RFC 4180).

import type { Readable } from 'node:stream'
import { readDelimited } from './delimited.js'
import type { FileRecord } from './jsonl.js'
import type { ReaderLimits } from './lines.js'

/** The rows of a CSV file below its header row. */
export function readCsv(
  file: string,
  limits: ReaderLimits,
  input?: Readable,
): AsyncGenerator<FileRecord> {
  return readDelimited(
    file,
    { delimiter: ',', quote: '"', called: 'comma' },
    limits,
    input,
  )
}
