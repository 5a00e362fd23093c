// A cell's run folder around its training: what an earlier call left in it, and how much of its passes' time is the
// cell's. Trains nothing.

import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { makeFolder, writeFileAtomic } from '../atomic-file.js'
import { LoptError } from '../errors.js'
import { readState } from '../run/checkpoint.js'
import { checkpointPathOf } from '../run/folder.js'
import { RunRecord } from '../run/index.js'
import { RESULT_FILE } from './result-file.js'

/**
 * Makes a folder for a cell that is to be run.
 *
 * @returns whether an earlier call left something of a run there
 */
export async function takeFolder(folder: string): Promise<boolean> {
  await makeFolder(folder)
  await rm(join(folder, RESULT_FILE), { force: true }) // of a run that failed
  return (await readdir(folder)).length > 0
}

/** Removes what a folder holds of another run. */
export async function clearFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder)
}

/**
 * Steps of the checkpoints from which the run in a folder can go on; none while another process writes it. What is there of
 * another run is removed.
 *
 * @param config the config.json that the run would have
 */
export async function stepsLeft(folder: string, config: object): Promise<number[]> {
  try {
    const record = await RunRecord.open(folder, { resume: true, config })
    try {
      const steps = record.states().map(({ step }) => step)
      return steps.length > 0 ? steps : [0]
    } finally {
      await record.close()
    }
  } catch (error) {
    if (error instanceof LoptError && error.code === 'ERR_LOCKED') return []
    if (!maySpeakOfFolder(error)) throw error
    await clearFolder(folder)
    return [0]
  }
}

// What says nothing of what a folder holds: the run there is not to be removed for it.
const OF_SYSTEM: readonly unknown[] = [
  'ENOSPC',
  'EDQUOT',
  'EROFS',
  'EACCES',
  'EPERM',
  'EMFILE',
]

/**
 * Whether a run that did not begin may have failed for what its folder holds: another run, with other settings, rows or
 * versions, or damaged files.
 */
export function maySpeakOfFolder(error: unknown): boolean {
  if (!(error instanceof LoptError)) return true
  if (error.code === 'ERR_OUT_OF_MEMORY') return false
  return !OF_SYSTEM.includes((error.cause as NodeJS.ErrnoException | undefined)?.code)
}

const PASS_FILE = 'pass.json'

const passSchema = z.object({
  /** Cells of the pass that trains the cell. */
  together: z.int().min(1),
  /** Seconds of training, by the run's own count, before this pass took it. */
  since: z.number(),
  /** The cell's share of those. */
  share: z.number(),
})

type Pass = z.infer<typeof passSchema>

const ALONE: Pass = { together: 1, since: 0, share: 0 }

/** Notes that a run that has begun, or goes on, is trained by a pass of so many cells. */
export async function beginShare(folder: string, together: number): Promise<void> {
  const before = await readPass(folder)
  if (before === undefined && together === 1) return
  const since = readState(checkpointPathOf(folder))?.seconds ?? 0
  const pass: Pass = { together, since, share: shareAt(since, before) }
  const text = `${JSON.stringify(pass)}\n`
  await writeFileAtomic(join(folder, PASS_FILE), Buffer.from(text))
}

/** A cell's share of the time that its training took: that of a pass counts for its cells in equal parts. */
export async function shareOf(folder: string, seconds: number): Promise<number> {
  return shareAt(seconds, await readPass(folder))
}

function shareAt(seconds: number, pass = ALONE): number {
  return pass.share + (seconds - pass.since) / pass.together
}

/** Undefined where there is none, or a damaged one: a time is no result. */
async function readPass(folder: string): Promise<Pass | undefined> {
  try {
    return passSchema.parse(JSON.parse(await readFile(join(folder, PASS_FILE), 'utf8')))
  } catch {
    return undefined
  }
}
