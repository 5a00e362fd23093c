// Reads a configuration file, YAML or JSON, and says what is wrong with it by the path of the field.
// Knows no setting.

import { readFileSync, statSync } from 'node:fs'
import { isMap, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { cannotRead } from '../errors.js'

// Far more than any grid that can be written by hand: a slip (a data file, a model) is told at once.
const MAX_BYTES = 2 ** 20

/**
 * What the file holds; an empty one holds nothing, `{}`.
 *
 * @throws LoptError `ERR_IO` when it cannot be read; RangeError with the line for what is no YAML.
 */
export function readConfigFile(file: string): unknown {
  const source = readText(file)
  const lineCounter = new LineCounter()
  const document = parseDocument(source, { lineCounter })
  const [error] = document.errors
  if (error) {
    const { line, col } = lineCounter.linePos(error.pos[0])
    const [what] = error.message.split(/ at line \d+/)
    throw new RangeError(`${file}:${line}:${col}: ${what}`)
  }
  if (document.contents === null) return {}
  if (!isMap(document.contents)) {
    throw new RangeError(`${file}: Expected names with values, such as \`steps: 1000\``)
  }
  try {
    return document.toJS()
  } catch (cause) {
    // aliases without end
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new RangeError(`${file}: ${reason}`, { cause })
  }
}

function readText(file: string): string {
  try {
    const { size } = statSync(file)
    if (size > MAX_BYTES) {
      throw new RangeError(
        `${file}: Expected at most ${MAX_BYTES} bytes of configuration but received ${size}`,
      )
    }
    return readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof RangeError) throw cause
    throw cannotRead(file, cause)
  }
}

/**
 * Checks a value against a schema.
 *
 * @param where what stands before each path: a file's name, or nothing for an object
 * @throws RangeError naming every field that is wrong by its path.
 */
export function checked<T>(schema: z.ZodType<T>, value: unknown, where = ''): T {
  const result = schema.safeParse(value, { reportInput: true })
  if (result.success) return result.data
  const lines = result.error.issues.flatMap((issue) => describe(issue, value))
  throw new RangeError((where === '' ? '' : `${where}: `) + lines.join('; '))
}

function describe(issue: z.core.$ZodIssue, root: unknown): string[] {
  const path = pathText(issue.path, root)
  const at = (text: string) => (path === '' ? text : `${path}: ${text}`)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const full = pathText([...issue.path, key], root)
      return `${full}: There is no such setting`
    })
  }
  return [at(`${expectation(issue)} but received ${shown(issue.input)}`)]
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `Expected ${{ int: 'an integer', array: 'a list', object: 'an object' }[issue.expected as string] ?? `a ${issue.expected}`}`
    case 'invalid_value':
      return `Expected one of ${issue.values.join(', ')}`
    case 'too_small':
      if (issue.origin === 'array') return `Expected ${issue.minimum} or more values`
      if (issue.origin === 'string') return 'Expected text'
      return `Expected a number ${issue.inclusive ? 'of' : 'above'} ${issue.minimum}${issue.inclusive ? ' or more' : ''}`
    default:
      return issue.message
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

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : (JSON.stringify(value) ?? typeof value)
}
