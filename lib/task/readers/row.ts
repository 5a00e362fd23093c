// From one record of a data file to one row: the one place that says what a value may be. Knows no
// file format.

import { LoptError } from '../../errors.js'
import type { Example } from '../task.js'
import { fillTemplate, parseTemplate } from '../template.js'

/** One row of a data file. */
export interface Row {
  fields: Record<string, string>
  /** Absent if the row has none, which only `label: 'optional'` allows, and where it has targets. */
  label?: string
  /** The texts that answer it, the one to learn first. */
  targets?: string[]
  /** The file's line on which the row starts, from 1. */
  line: number
}

export interface RowOptions {
  /** The fields to keep, which every row must have. Without it all fields are kept. */
  fields?: readonly string[]
  /** The name of the label's field; `label` by default. */
  labelField?: string
  /** Whether a row must have a label or a target (the default). */
  label?: 'required' | 'optional'
  /** What answers a row is a text of these fields, and no label is looked for. */
  targetTemplate?: string | undefined
}

/**
 * Checks a record and makes a row of it. Text is kept as it is; numbers and booleans become text;
 * white space around a label is dropped, so that `great, positive` in a CSV means `positive`. A row with a field `target`,
 * or a list `targets`, is answered by a text, unless the template reads a field of that name.
 *
 * @param where the record's place, as messages begin with it: `file:line`
 * @throws LoptError `ERR_DATA` for a field or a label that is missing, null, an object or an array,
 * for an
 * empty label or target, and for a row with both.
 */
export function rowOf(
  record: Readonly<Record<string, unknown>>,
  line: number,
  where: string,
  options: RowOptions = {},
): Row {
  const { labelField = 'label' } = options
  const answers = [labelField, ...TARGET_FIELDS]
  const names =
    options.fields ?? Object.keys(record).filter((name) => !answers.includes(name))
  const fields = fieldsOf(record, names, where, 'template')
  const targets = targetsOf(record, where, { ...options, labelField })
  if (targets !== undefined) return { fields, targets, line }
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

const TARGET_FIELDS = ['target', 'targets']

/** The texts that answer a row; undefined for one that a label answers. */
function targetsOf(
  record: Readonly<Record<string, unknown>>,
  where: string,
  { fields = [], labelField, targetTemplate, label }: RowOptions,
): string[] | undefined {
  const has = (name: string) =>
    Object.hasOwn(record, name) && record[name] !== undefined && record[name] !== null
  if (targetTemplate === undefined) {
    const isField = (name: string) => fields.includes(name) || name === labelField
    const found = TARGET_FIELDS.filter((name) => has(name) && !isField(name))
    if (found.length === 0) return undefined
    if (labelField !== undefined && has(labelField)) {
      throw new LoptError(
        'ERR_DATA',
        `${where}: The row has both "${labelField}" and "${found[0]}": is it answered by a label or by a text?`,
      )
    }
  } else if (label === 'optional' && !isComplete(targetTemplate, has)) return undefined
  const template = targetTemplate ?? '{target}'
  const names = parseTemplate(template).fields
  const listed = names.includes('target') && has('targets') ? record.targets : undefined
  if (listed !== undefined && !(Array.isArray(listed) && listed.length > 0)) {
    throw new LoptError(
      'ERR_DATA',
      `${where}: Expected "targets" to be a list of one text or more`,
    )
  }
  const records = (listed ?? [record.target]).map((target: unknown) =>
    listed === undefined ? record : { ...record, target },
  )
  return records.map((one) => {
    const values = fieldsOf(one, names, where, 'target template')
    const text = fillTemplate(template, values)
    if (text.trim() !== '') return text
    throw new LoptError('ERR_DATA', `${where}: The target is empty`)
  })
}

function isComplete(template: string, has: (name: string) => boolean): boolean {
  return parseTemplate(template).fields.every(
    (name) => has(name) || (name === 'target' && has('targets')),
  )
}

/** Values of named fields, as texts. */
function fieldsOf(
  record: Readonly<Record<string, unknown>>,
  names: readonly string[],
  where: string,
  user: 'template' | 'target template',
): Record<string, string> {
  const entries = names.map((name) => {
    if (!Object.hasOwn(record, name)) {
      throw new LoptError(
        'ERR_DATA',
        `${where}: Missing field "${name}", which the ${user} uses; the row has ${namesOf(record)}`,
      )
    }
    return [name, textOf(record[name], name, where)]
  })
  return Object.fromEntries(entries)
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

/** A row's example. @param source where it was read, if from a file */
export function exampleOf(
  { fields, label, targets }: Row,
  source?: Example['source'],
): Example {
  return {
    fields,
    label: targets?.[0] ?? (label as string),
    ...(targets && { targets }),
    ...(source && { source }),
  }
}

function namesOf(record: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(record)
  const shown = names.slice(0, 10).map((name) => JSON.stringify(name))
  if (names.length > 10) shown.push('…')
  return shown.join(', ') || 'no fields'
}
