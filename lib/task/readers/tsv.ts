// TSV: tabs, header row, and no quoting, as GLUE's files are: a quote is a character like others.

import type { Readable } from 'node:stream'
import { readDelimited } from './delimited.js'
import type { FileRecord } from './jsonl.js'
import type { ReaderLimits } from './lines.js'

/** The rows of a TSV file below its header row. */
export function readTsv(
  file: string,
  limits: ReaderLimits,
  input?: Readable,
): AsyncGenerator<FileRecord> {
  return readDelimited(
    file,
    { delimiter: '\t', quote: null, called: 'tab' },
    limits,
    input,
  )
}
