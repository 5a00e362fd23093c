// One process at a time writes a run folder: a lock file that says who holds it. The lock of a process
// that is gone, however it ended, is taken over. Knows no run.

import { randomUUID } from 'node:crypto'
import { constants, readFileSync } from 'node:fs'
import { copyFile, link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { LoptError } from '../errors.js'

export const LOCK_FILE = 'lock.json'

const holderSchema = z.object({
  host: z.string(),
  pid: z.int().min(1),
  /** When the process began, in the kernel's ticks: its number may be given to another. */
  began: z.string().nullable(),
  since: z.string(),
  /** Tells a holder's lock from any other. */
  id: z.string(),
})

type Holder = z.infer<typeof holderSchema>

/**
 * Takes the lock of a folder that exists.
 *
 * @returns what gives it back
 * @throws LoptError `ERR_LOCKED` naming the holder; `ERR_IO` where no file can be written.
 */
export async function lockRun(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, LOCK_FILE)
  const own: Holder = {
    host: hostname(),
    pid: process.pid,
    began: beginOf(process.pid),
    since: new Date().toISOString(),
    id: randomUUID(),
  }
  // Linked under its name when it is whole: nobody reads half of one, and only one link succeeds.
  const draft = join(folder, `.lopt-${own.id}.tmp`)
  try {
    await writeFile(draft, `${JSON.stringify(own)}\n`, { flag: 'wx' })
    while (!(await linked(draft, path))) await dropStale(folder, path)
  } catch (cause) {
    if (cause instanceof LoptError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LoptError('ERR_IO', `Cannot lock the run folder ${folder}: ${reason}`, {
      cause,
    })
  } finally {
    await rm(draft, { force: true })
  }
  return async () => {
    const holder = await holderOf(path)
    if (holder?.id === own.id) await rm(path, { force: true })
  }
}

async function linked(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (NO_LINKS.includes(code)) return await copied(draft, path)
    throw error
  }
}

// What file systems say that have no hard links.
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']

async function copied(draft: string, path: string): Promise<boolean> {
  try {
    await copyFile(draft, path, constants.COPYFILE_EXCL)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** @throws LoptError `ERR_LOCKED` unless the holder is gone. */
async function dropStale(folder: string, path: string): Promise<void> {
  const holder = await holderOf(path)
  if (holder === undefined) return // given back meanwhile
  if (isAlive(holder)) {
    throw new LoptError(
      'ERR_LOCKED',
      `Another process writes the run folder ${folder}: process ${holder.pid} on ${holder.host}, since ` +
        `${holder.since}. Wait for it, name another folder, or remove ${path} if there is no such process`,
    )
  }
  // Moved away first: of several processes that find it stale, one moves it. If what was moved is
  // another's lock by now, it goes back.
  const moved = join(folder, `.lopt-${randomUUID()}.tmp`)
  try {
    await rename(path, moved)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  const found = await holderOf(moved)
  if (found?.id !== holder.id) await linked(moved, path)
  await rm(moved, { force: true })
}

async function holderOf(path: string): Promise<Holder | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  try {
    return holderSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new LoptError(
      'ERR_LOCKED',
      `${path} does not say who holds it: remove it if no process writes the folder`,
      { cause },
    )
  }
}

/** Of a process on another host nothing is known: it counts as alive. */
function isAlive({ host, pid, began }: Holder): boolean {
  if (host !== hostname()) return true
  try {
    process.kill(pid, 0) // sends nothing
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' // there, and another user's
  }
  return began === beginOf(pid)
}

/** Field 22 of /proc/PID/stat, behind the name, which may hold anything; null where there is none. */
function beginOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
