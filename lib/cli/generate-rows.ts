// `lopt generate --data`: texts of a file's rows, a line a row, going on behind those that are there. Knows no option.

import { open, readFile, truncate } from 'node:fs/promises'
import { cannotRead, LoptError } from '../errors.js'
import { type GenerateManyOptions, generate } from '../index.js'
import { parseTemplate, type Row, readRows } from '../task/index.js'
import { askedEvents } from './failure.js'
import type { Context } from './interrupt.js'

/** The rows of a file, with the fields of a template; labels and targets are not asked for. */
export async function rowsOf(file: string, template: string): Promise<Row[]> {
  const { fields } = parseTemplate(template)
  const rows: Row[] = []
  for await (const row of readRows(file, { fields, label: 'optional' })) rows.push(row)
  return rows
}

/**
 * Writes a line when a text ends, which need not be in the rows' order.
 *
 * @param out a file that is gone on with; undefined: standard output
 */
export async function continueRows(
  rows: readonly Row[],
  options: Omit<GenerateManyOptions, 'signal' | 'rows'>,
  out: string | undefined,
  { output, signal }: Context,
): Promise<void> {
  const done = out === undefined ? new Set<number>() : await doneRows(out, rows.length)
  const left = [...rows.keys()].filter((row) => !done.has(row))
  if (done.size > 0) output.note(`${done.size} of ${rows.length} rows are in ${out}`)
  const file = out === undefined ? undefined : await open(out, 'a')
  try {
    const texts = left.map((row) => ({ text: (rows[row] as Row).fields }))
    for await (const event of askedEvents(
      generate({ ...options, rows: texts, signal }),
    )) {
      if (event.type === 'failed') throw event.error
      if (event.type !== 'done') continue
      const row = left[event.row] as number
      const { fields, label, targets } = rows[row] as Row
      const line = {
        row,
        ...fields,
        ...(label !== undefined && { label }),
        ...(targets && { targets }),
        generated: event.text,
        finishReason: event.finishReason,
      }
      const text = JSON.stringify(line)
      if (file !== undefined) await file.appendFile(`${text}\n`)
      else if (output.json) output.event(line)
      else output.print(text)
    }
  } finally {
    await file?.close()
  }
}

/** Rows that a file has already; a line that was cut off is taken away. */
async function doneRows(out: string, count: number): Promise<Set<number>> {
  const text = await readFile(out, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw cannotRead(out, error)
  })
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  const lines = whole.split('\n').filter((line) => line !== '')
  const rows = lines.map((line, i) => {
    const { row } = parsed(line) ?? {}
    if (Number.isSafeInteger(row) && (row as number) >= 0 && (row as number) < count) {
      return row as number
    }
    throw new LoptError('ERR_DATA', `${out}:${i + 1}: The line is of no row of --data`)
  })
  if (whole.length < text.length) await truncate(out, Buffer.byteLength(whole))
  return new Set(rows)
}

function parsed(line: string): { row?: unknown } | undefined {
  try {
    return JSON.parse(line) as { row?: unknown }
  } catch {
    return undefined
  }
}
