// What a bundled task is, and how its rows are read from the package. Knows no particular task.

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { LoptError } from '../../errors.js'
import { parseRecord } from '../readers/jsonl.js'
import { exampleOf, rowOf } from '../readers/row.js'
import type { Example, Metric, SplitName } from '../task.js'

/** A task that the package ships. */
export interface BundledTask {
  readonly name: string
  /** None where texts answer its rows. */
  readonly labels: readonly string[]
  readonly template: string
  /** The fields that its rows have. */
  readonly fields: readonly string[]
  readonly metric: Metric
  /** Where the text comes from. */
  readonly origin: string
  readonly licence: string
  /** The data file's name in lib/task/datasets/data. */
  readonly file: string
}

const folder = 'lib/task/datasets/data'
// Many times what the files hold: a damaged file is refused before it fills the memory.
const largestBytes = 32 * 2 ** 20

/**
 * The rows of a bundled task, by split.
 *
 * @throws LoptError `ERR_IO` if the file is missing; `ERR_DATA` if it is damaged.
 */
export async function readBundledTask(
  task: BundledTask,
): Promise<Record<SplitName, Example[]>> {
  const file = join(dataFolder(), task.file)
  const packed = await readFile(file).catch((cause: unknown) => {
    throw new LoptError(
      'ERR_IO',
      `Cannot read ${file}, which ships with lopt; install the package again`,
      {
        cause,
      },
    )
  })
  const bytes = await promisify(gunzip)(packed, { maxOutputLength: largestBytes }).catch(
    (cause: unknown) => {
      throw new LoptError(
        'ERR_DATA',
        `${file}: The file is damaged; install the package again`,
        { cause },
      )
    },
  )
  const splits: Record<SplitName, Example[]> = { train: [], dev: [], test: [] }
  bytes
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .forEach((text, i) => {
      const where = `${file}:${i + 1}`
      const record = parseRecord(text, where)
      const row = rowOf(record, i + 1, where, { fields: task.fields })
      splits[record.split as SplitName].push(exampleOf(row))
    })
  return splits
}

// The sources and the bundle lie at different depths of the package.
function dataFolder(): string {
  const start = dirname(fileURLToPath(import.meta.url))
  for (let parent = start; parent !== dirname(parent); parent = dirname(parent)) {
    if (existsSync(join(parent, folder))) return join(parent, folder)
  }
  throw new LoptError(
    'ERR_IO',
    `There is no ${folder} above ${start}; install the package again`,
  )
}
