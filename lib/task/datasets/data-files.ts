// The rows of a named data set: from the hub's Parquet files by way of the cache, or from a folder of the
// original files. Knows no template and no split.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { LoptError } from '../../errors.js'
import { type DownloadEvent, downloadSnapshot } from '../../hub/index.js'
import { readDelimited } from '../readers/delimited.js'
import { readRecords } from '../readers/index.js'
import type { FileRecord } from '../readers/jsonl.js'
import { type ReaderLimits, readerLimits } from '../readers/lines.js'
import { Cells } from './cells.js'
import type { DataRow, NamedTask } from './named.js'

export interface DataFileOptions {
  /** A folder of the original files; without it they come from the hub. */
  folder?: string
  /** A branch, tag or commit of the data set's repository; default `main`. */
  revision?: string
  /** What is downloaded, as it comes. */
  onDownload?: (event: DownloadEvent) => void
  signal?: AbortSignal
  limits?: Partial<ReaderLimits>
}

/** The rows of a data set's training split, and of the one that it evaluates on. */
export interface DataRows {
  readonly train: readonly DataRow[]
  readonly evaluation: readonly DataRow[]
}

/**
 * @throws LoptError `ERR_DATA`, beginning with `file:row: `, for a row that is not the data set's;
 * `ERR_IO`, `ERR_NETWORK` and `ERR_ABORTED` for the files.
 */
export async function readDataSet(
  task: NamedTask,
  options: DataFileOptions,
): Promise<DataRows> {
  const { folder, limits } = options
  const files =
    folder === undefined ? await hubFiles(task, options) : originalFiles(task, folder)
  const rowsOf = async (paths: readonly string[]) => {
    const rows: DataRow[] = []
    for (const path of paths) {
      for await (const { record, line } of records(task, path, limits)) {
        for (const row of task.rows(new Cells(record, { file: path, line })))
          rows.push(row)
      }
    }
    return rows
  }
  return { train: await rowsOf(files.train), evaluation: await rowsOf(files.evaluation) }
}

function records(
  { original: { header } }: NamedTask,
  path: string,
  limits: Partial<ReaderLimits> | undefined,
): AsyncGenerator<FileRecord> {
  if (header === undefined || !path.endsWith('.csv')) return readRecords(path, limits)
  const delimiters = { delimiter: ',', quote: '"', called: 'comma', header }
  return readDelimited(path, delimiters, { ...readerLimits, ...limits })
}

interface Files {
  readonly train: readonly string[]
  readonly evaluation: readonly string[]
}

/** `FOLDER/SPLIT-00000-of-00001.parquet`: how the hub names a split's parts. */
async function hubFiles(task: NamedTask, options: DataFileOptions): Promise<Files> {
  const { repository, folder } = task.hub
  const { revision, onDownload, signal } = options
  let chosen: Files = { train: [], evaluation: [] }
  const select = (paths: readonly string[]) => {
    const partsOf = (split: string) => {
      const parts = paths
        .filter((path) => path.startsWith(`${folder}/${split}-`))
        .filter((path) => /-\d{5}-of-\d{5}\.parquet$/.test(path))
        .sort()
      const count = Number(
        parts[0]?.slice(-'00001.parquet'.length, -'.parquet'.length) ?? 0,
      )
      if (parts.length > 0 && parts.length === count) return parts
      throw new LoptError(
        'ERR_DATA',
        `${repository} has ${parts.length} files ${folder}/${split}-*.parquet where ${count || 'some'} ` +
          'were expected: name another revision, or give the original files in `folder`',
      )
    }
    chosen = { train: partsOf('train'), evaluation: partsOf(task.evaluation) }
    return [...chosen.train, ...chosen.evaluation]
  }
  const snapshot = await downloadSnapshot({
    ...{ id: repository, type: 'dataset', revision, select, signal },
    onEvent: onDownload,
  })
  const placed = (paths: readonly string[]) => paths.map((path) => join(snapshot, path))
  return { train: placed(chosen.train), evaluation: placed(chosen.evaluation) }
}

/** In the folder itself, or in that of the archive's name inside it. */
function originalFiles({ name, original }: NamedTask, given: string): Files {
  const { train, evaluation } = original.files
  const inside = join(given, original.folder)
  const folder = existsSync(join(given, train)) ? given : inside
  for (const file of [train, evaluation]) {
    if (existsSync(join(folder, file))) continue
    throw new LoptError(
      'ERR_IO',
      `The task "${name}" needs ${train} and ${evaluation} in ${given} or in ${inside}: there is no ${file}`,
    )
  }
  return { train: [join(folder, train)], evaluation: [join(folder, evaluation)] }
}
