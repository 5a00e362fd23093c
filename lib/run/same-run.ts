// Whether a run that is to go on is the run that was begun, but for the prompts that share its passes: they change no more
// than rounding. Reads and writes nothing.

import { createHash } from 'node:crypto'
import { LoptError } from '../errors.js'
import type { Task } from '../task/index.js'

/** Of the rows that are learned and evaluated, as they are: files change. */
export function rowsHash({ train, dev }: Task): string {
  const hash = createHash('sha256')
  for (const rows of [train, dev]) {
    for (const { source, ...row } of rows) hash.update(`${JSON.stringify(row)}\n`)
    hash.update('\n')
  }
  return hash.digest('hex')
}

// What may differ and changes no number: where a model lies, how a data file was typed (task.source has
// its whole path), how often the run is saved, Node itself.
const FREE = [
  'versions.node',
  'backbone.source',
  'task.name',
  'training.out',
  'training.checkpointEvery',
]

/**
 * @param stored config.json as it was written
 * @param now what it would be for the options that are given
 * @throws LoptError `ERR_UNSUPPORTED` for another lopt or libtorch, `ERR_MODEL_FILE` for another
 *   backbone, `ERR_DATA` for other rows; RangeError naming every option that differs.
 */
export function checkSameRun(folder: string, stored: unknown, now: object): void {
  const differing = differences(stored, JSON.parse(JSON.stringify(now)), '')
  const of = (prefix: string) =>
    differing.filter(({ path }) => path.startsWith(prefix)).map(({ text }) => text)
  const told = (found: readonly string[]) =>
    `The run in ${folder} cannot go on: ${found.join('; ')}`
  const versions = of('versions.')
  if (versions.length > 0) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${told(versions)}. Another version may compute other numbers`,
    )
  }
  const backbone = of('backbone.fingerprint')
  if (backbone.length > 0) throw new LoptError('ERR_MODEL_FILE', told(backbone))
  const rows = of('task.rows.')
  if (rows.length > 0) {
    throw new LoptError('ERR_DATA', `${told(rows)}: its rows are not what they were`)
  }
  if (differing.length > 0) throw new RangeError(told(differing.map(({ text }) => text)))
}

function differences(
  stored: unknown,
  now: unknown,
  path: string,
): { path: string; text: string }[] {
  if (FREE.includes(path)) return []
  // The labels' order is a part of the task.
  if (isObject(stored) && isObject(now) && path !== 'task.labels') {
    const keys = new Set([...Object.keys(stored), ...Object.keys(now)])
    return [...keys].flatMap((key) =>
      differences(stored[key], now[key], path === '' ? key : `${path}.${key}`),
    )
  }
  const [before, after] = [JSON.stringify(stored), JSON.stringify(now)]
  if (before === after) return []
  return [
    { path, text: `${path} was ${before ?? 'not set'} and is ${after ?? 'not set'}` },
  ]
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
