// Comma- or tab-separated text with a header row, by csv-parse. Knows nothing of which columns a
// row should have.

import { pipeline, Readable } from 'node:stream'
import { CsvError, parse } from 'csv-parse'
import { LoptError } from '../../errors.js'
import type { FileRecord } from './jsonl.js'
import { type ReaderLimits, readLines } from './lines.js'

export interface Delimiters {
  delimiter: string
  /** The quote character, or null if quotes mean nothing. */
  quote: string | null
  /** What separates columns, for messages. */
  called: string
  /** The columns' names, where the file has no header row. */
  header?: string[]
}

// Why csv-parse refuses a record, by its error codes.
const faults: Record<string, string> = {
  CSV_INVALID_CLOSING_QUOTE:
    'Text follows a closing quote; write "" for a quote inside quotes',
  INVALID_OPENING_QUOTE:
    'A quote stands inside a value without quotes; quote the whole value and write "" for each quote in it',
  CSV_QUOTE_NOT_CLOSED: 'A quote is opened in this row and never closed',
  CSV_MAX_RECORD_SIZE: 'The row is too long; is a quote opened in it and never closed?',
}

/** The rows below the header as records by column name; blank lines are passed over. */
export async function* readDelimited(
  file: string,
  delimiters: Delimiters,
  limits: ReaderLimits,
  input?: Readable,
): AsyncGenerator<FileRecord> {
  const { delimiter, quote, called } = delimiters
  // the line on which the row starts that is being parsed, which may be ahead of the loop below
  let next = 1
  const parser = parse({
    delimiter,
    quote,
    info: true,
    skip_empty_lines: true,
    // counted below, where the message can say what was expected
    relax_column_count: true,
    max_record_size: limits.lineBytes,
    on_record: (record: string[], { lines }) => {
      next = lines + 1
      return record
    },
  })
  let { header } = delimiters
  try {
    // a fault of either stream ends the other, and the loop below throws it
    const parsed = pipeline(Readable.from(text(file, limits, input)), parser, () => {})
    for await (const item of parsed as AsyncIterable<{
      record: string[]
      info: { lines: number }
    }>) {
      const { record, info } = item
      // csv-parse says the line on which a record ends; values may have line breaks
      const line = info.lines - record.reduce((sum, value) => sum + breaksIn(value), 0)
      if (header === undefined) {
        header = checkHeader(record, `${file}:${line}`)
        continue
      }
      if (record.length !== header.length) {
        throw new LoptError(
          'ERR_DATA',
          `${file}:${line}: Expected ${header.length} columns${delimiters.header ? '' : ', as in the header row,'} but received ` +
            `${record.length}; is there a ${called} inside a value?`,
        )
      }
      yield {
        record: Object.fromEntries(header.map((name, i) => [name, record[i]])),
        line,
      }
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error
    const fault = faults[error.code] ?? error.message
    throw new LoptError('ERR_DATA', `${file}:${next}: ${fault}`, { cause: error })
  }
}

async function* text(
  file: string,
  limits: ReaderLimits,
  input: Readable | undefined,
): AsyncGenerator<string> {
  for await (const line of readLines(file, limits, input)) yield `${line.text}\n`
}

function breaksIn(value: string): number {
  return value.split('\n').length - 1
}

function checkHeader(names: string[], where: string): string[] {
  const trimmed = names.map((name) => name.trim())
  const empty = trimmed.indexOf('')
  if (empty >= 0) {
    throw new LoptError(
      'ERR_DATA',
      `${where}: Column ${empty + 1} of the header row has no name`,
    )
  }
  const twice = trimmed.find((name, i) => trimmed.indexOf(name) !== i)
  if (twice !== undefined) {
    throw new LoptError(
      'ERR_DATA',
      `${where}: The header row names the column "${twice}" twice`,
    )
  }
  return trimmed
}
