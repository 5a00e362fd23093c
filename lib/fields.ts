// Checks the fields of options, settings and files against a schema, and says what is wrong with them in this
// package's words. Knows no field.

import type { z } from 'zod'
import { kindOf } from './torch/check.js'

/**
 * A configuration's fields.
 *
 * @param where what stands before each path: a file's name, or nothing for an object
 * @throws RangeError naming every field that is wrong by its path.
 */
export function checked<T>(schema: z.ZodType<T>, value: unknown, where = ''): T {
  const result = schema.safeParse(value, { reportInput: true })
  if (result.success) return result.data
  throw new RangeError(
    (where === '' ? '' : `${where}: `) + wrongFields(result.error, value),
  )
}

/**
 * A function's options.
 *
 * @throws TypeError for one of another type, RangeError for one out of range or that there is not.
 */
export function checkOptions<S extends z.ZodType>(
  schema: S,
  options: unknown,
): z.output<S> {
  const result = schema.safeParse(options, { reportInput: true })
  if (result.success) return result.data
  const { issues } = result.error
  const message = issues
    .flatMap((issue) => {
      const keys = unknownKeys(issue, options)
      if (keys.length > 0) return keys.map((key) => `There is no option ${key}`)
      const name = pathText(issue.path, options) || 'the options'
      const wanted = expectation(issue, OPTION_WORDS)
      if (wanted === undefined) return `${name}: ${issue.message}`
      return `Expected ${name} to be ${wanted} but received ${shown(issue.input)}`
    })
    .join('; ')
  throw issues.some(isOfType) ? new TypeError(message) : new RangeError(message)
}

/** Whether a value is of another type; of several that there may be, of none. */
function isOfType(issue: z.core.$ZodIssue): boolean {
  if (issue.code === 'invalid_union') {
    return issue.errors.every((own) => own.some(isOfType))
  }
  if (issue.code !== 'invalid_type') return false
  // 1.5 in the place of an integer, or NaN, is of the right type
  const isNumber = ['int', 'number'].includes(issue.expected)
  return !(isNumber && typeof issue.input === 'number')
}

/**
 * Every field that is wrong, by its path: `grid.rank[2]: Expected a number but received "two"; …`.
 *
 * @param error of a parse with `reportInput`
 */
export function wrongFields(error: z.ZodError, root: unknown): string {
  return error.issues
    .flatMap((issue) => {
      const keys = unknownKeys(issue, root)
      if (keys.length > 0) return keys.map((key) => `${key}: There is no such setting`)
      const path = pathText(issue.path, root)
      const wanted = expectation(issue, SETTING_WORDS)
      const text =
        wanted === undefined
          ? issue.message
          : `Expected ${wanted} but received ${shown(issue.input)}`
      return path === '' ? text : `${path}: ${text}`
    })
    .join('; ')
}

function unknownKeys(issue: z.core.$ZodIssue, root: unknown): string[] {
  if (issue.code !== 'unrecognized_keys') return []
  return issue.keys.map((key) => pathText([...issue.path, key], root))
}

type Words = Readonly<Record<string, string>>

const COMMON_WORDS: Words = {
  int: 'an integer',
  object: 'an object',
  record: 'an object',
  boolean: 'true or false',
}
/** For who writes a program. */
const OPTION_WORDS: Words = { ...COMMON_WORDS, array: 'an array', string: 'a string' }
/** For who writes a file. */
const SETTING_WORDS: Words = { ...COMMON_WORDS, array: 'a list', string: 'text' }

/** What stands behind `Expected`; undefined where the schema's own message is all there is. */
function expectation(issue: z.core.$ZodIssue, words: Words): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return words[issue.expected] ?? `a ${issue.expected}`
    case 'invalid_value':
      return issue.values.length === 1
        ? String(issue.values[0])
        : `one of ${issue.values.join(', ')}`
    case 'too_small':
      if (issue.origin === 'array') return `${issue.minimum} or more values`
      if (issue.origin === 'string') return `${words.string} that is not empty`
      return issue.inclusive
        ? `a number of ${issue.minimum} or more`
        : `a number above ${issue.minimum}`
    case 'too_big':
      if (issue.origin === 'array') return `${issue.maximum} values at most`
      return issue.inclusive
        ? `a number of ${issue.maximum} or less`
        : `a number below ${issue.maximum}`
    default:
      return /^Expected (.*)$/is.exec(issue.message)?.[1]
  }
}

/** `grid.rank[2]`; the place in a list is left away where one value stands for it. */
function pathText(path: readonly PropertyKey[], root: unknown): string {
  let value = root
  let text = ''
  for (const key of path) {
    if (typeof key === 'number' && !Array.isArray(value)) break
    text += typeof key === 'number' ? `[${key}]` : `${text && '.'}${String(key)}`
    value = (value as Record<PropertyKey, unknown> | undefined)?.[key]
  }
  return text
}

const MOST_SHOWN = 80

/** A value in a message: short, whatever it is. */
function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return JSON.stringify(shortened(value))
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function' || typeof value === 'symbol') return typeof value
  if (typeof value !== 'object' || value === null) return String(value)
  if (!Array.isArray(value) || !value.every(isScalar)) return kindOf(value)
  return shortened(`[${value.map(shown).join(',')}]`)
}

function isScalar(value: unknown): boolean {
  return typeof value !== 'object' || value === null
}

function shortened(text: string): string {
  return text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN)}…`
}
