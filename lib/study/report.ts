// Makes a report of run folders: reads them, writes one page. Trains nothing, draws nothing itself.

import { basename, resolve } from 'node:path'
import { z } from 'zod'
import { writeFileAtomic } from '../atomic-file.js'
import { checked } from '../fields.js'
import { createPage } from './page.js'
import { readRuns } from './read-runs.js'

/** What `report` takes. */
export interface ReportOptions {
  /** Run folders, sweeps, or folders that hold them. */
  folders: readonly string[]
  /** The page to write. */
  out: string
  /** Default: the folders' names. */
  title?: string
}

/** What a report's page has. */
export interface ReportSummary {
  readonly path: string
  /** All of them, impossible ones not counted. */
  readonly runs: number
  readonly unfinished: number
  /** Failed or diverged. */
  readonly failed: number
  readonly impossible: number
}

const optionsSchema = z.strictObject({
  folders: z.array(z.string().min(1)).min(1),
  out: z.string().min(1),
  title: z.string().min(1).optional(),
})

/**
 * Writes one HTML page of all runs in the folders: figures, curves, accuracy against parameters, length
 * against rank, and every run's configuration. It needs no network to be read.
 *
 * @throws RangeError for options that do not fit; LoptError `ERR_DATA` for a folder without runs or a
 *   damaged file, which is named; `ERR_IO`.
 */
export async function report(options: ReportOptions): Promise<ReportSummary> {
  const { folders, out, title } = checked(optionsSchema, options)
  const runs = await readRuns(folders)
  const names = folders.map((folder) => basename(resolve(folder)))
  const page = await createPage(title ?? names.join(', '), runs)
  await writeFileAtomic(out, Buffer.from(page))
  const counted = (...states: readonly string[]) =>
    runs.filter(({ status }) => states.includes(status)).length
  return {
    path: out,
    runs: runs.length - counted('impossible'),
    unfinished: counted('unfinished'),
    failed: counted('failed', 'diverged'),
    impossible: counted('impossible'),
  }
}
