// From one record of a data file to one row: the one place that says what a value may be. Knows no
// file format.

import { LoptError } from '../../errors.js'

/** One row of a data file. */
export interface Row {
  fields: Record<string, string>
  /** Absent if the row has none, which only `label: 'optional'` allows. */
  label?: string
  /** The file's line on which the row starts, from 1. */
  line: number
}

export interface RowOptions {
  /** The fields to keep, which every row must have. Without it all fields are kept. */
  fields?: readonly string[]
  /** The name of the label's field; `label` by default. */
  labelField?: string
  /** Whether a row must have a label (the default). */
  label?: 'required' | 'optional'
}

/**
 * Checks a record and makes a row of it. Text is kept as it is; numbers and booleans become text;
 * white space around a label is dropped, so that `great, positive` in a CSV means `positive`.
 *
 * @param where the record's place, as messages begin with it: `file:line`
 * @throws LoptError `ERR_DATA` for a field or a label that is missing, null, an object or an array,
 * and for an empty label.
 */
export function rowOf(
  record: Readonly<Record<string, unknown>>,
  line: number,
  where: string,
  options: RowOptions = {},
): Row {
  const { labelField = 'label' } = options
  const names =
    options.fields ?? Object.keys(record).filter((name) => name !== labelField)
  const fields = Object.fromEntries(
    names.map((name) => {
      if (!Object.hasOwn(record, name)) {
        throw new LoptError(
          'ERR_DATA',
          `${where}: Missing field "${name}", which the template uses; the row has ${namesOf(record)}`,
        )
      }
      return [name, textOf(record[name], name, where)]
    }),
  )
  const value = Object.hasOwn(record, labelField) ? record[labelField] : undefined
  if (value === undefined || value === null) {
    if (options.label === 'optional') return { fields, line }
    throw new LoptError(
      'ERR_DATA',
      `${where}: Missing label field "${labelField}"; the row has ${namesOf(record)}`,
    )
  }
  const label = textOf(value, labelField, where).trim()
  if (label === '') {
    if (options.label === 'optional') return { fields, line }
    throw new LoptError('ERR_DATA', `${where}: The label is empty`)
  }
  return { fields, label, line }
}

function textOf(value: unknown, name: string, where: string): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const kind =
    value === null ? 'null' : Array.isArray(value) ? 'an array' : `an ${typeof value}`
  throw new LoptError(
    'ERR_DATA',
    `${where}: Expected field "${name}" to be text but received ${kind}`,
  )
}

function namesOf(record: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(record)
  const shown = names.slice(0, 10).map((name) => JSON.stringify(name))
  if (names.length > 10) shown.push('…')
  return shown.join(', ') || 'no fields'
}
