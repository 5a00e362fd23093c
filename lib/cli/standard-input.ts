// Standard input as a text or as rows, where `-` stands in the place of either. Knows no command.

import { fstatSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { addAbortSignal } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { cannotRead, checkAborted, LoptError } from '../errors.js'
import {
  type Example,
  exampleOf,
  type Row,
  type RowOptions,
  readRows,
  type StreamFormat,
} from '../task/index.js'
import { UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import { choice, optional } from './options.js'

/** What `--data` and `--text` say for standard input. */
export const STDIN = '-'
/** Its name in messages, where a file's would stand. */
export const STDIN_NAME = 'standard input'

const FORMATS = ['jsonl', 'csv', 'tsv'] as const satisfies readonly StreamFormat[]

export const formatOption = optional(
  '--format <name>',
  `of the rows of --data ${STDIN}: ${FORMATS.join(', ')}`,
  choice(FORMATS),
  'jsonl',
)

/** @throws UsageError for a format that no rows of standard input would have. */
export function checkFormatOption(
  format: StreamFormat | undefined,
  data: string | undefined,
): void {
  if (format === undefined || data === STDIN) return
  const why = data === undefined ? '' : ": a file's name says its format"
  throw new UsageError(`--format is for --data ${STDIN}${why}`)
}

/**
 * All of it, without a line break at the end.
 *
 * @throws LoptError `ERR_ABORTED` once the signal is aborted, not when the input ends; `ERR_IO` for what cannot be
 *   read.
 */
export async function readText(context: Context): Promise<string> {
  try {
    return (await readAll(opened(context, 'text'))).replace(/\r?\n$/, '')
  } catch (error) {
    checkAborted(context.signal)
    throw error instanceof LoptError ? error : cannotRead(STDIN_NAME, error)
  }
}

/** Its rows as `readRows` gives a file's. @throws LoptError as `readRows` and as `readText`. */
export async function* readInputRows(
  context: Context,
  format: StreamFormat = 'jsonl',
  options: RowOptions = {},
): AsyncGenerator<Row> {
  const input = { stream: opened(context, 'rows'), format }
  try {
    yield* readRows(STDIN_NAME, { ...options, input })
  } catch (error) {
    checkAborted(context.signal)
    throw error
  }
}

/** Its rows as examples, with a label or a target each. @throws LoptError as `readInputRows`. */
export async function readInputExamples(
  context: Context,
  format: StreamFormat | undefined,
  wanted: Pick<RowOptions, 'fields' | 'targetTemplate'>,
): Promise<Example[]> {
  const examples: Example[] = []
  for await (const row of readInputRows(context, format, wanted)) {
    examples.push(exampleOf(row, { file: STDIN_NAME, line: row.line }))
  }
  return examples
}

function opened({ output, signal }: Context, what: 'text' | 'rows'): Readable {
  // Some versions of Node take a folder for an empty input.
  if (fstatSync(0).isDirectory()) {
    throw new LoptError('ERR_IO', `Cannot read ${STDIN_NAME}: it is a folder`)
  }
  if (process.stdin.isTTY)
    output.note(`Reading the ${what} from the terminal; Ctrl-D ends it.`)
  // Who reads learns of an error; nobody listens yet if it was aborted while the model was opened.
  return addAbortSignal(signal, process.stdin).on('error', () => {})
}
