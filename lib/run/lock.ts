// One process at a time writes a run folder: lock files that say who holds it. The lock of a process
// that is gone, however it ended, does not count. Knows no run.

import { randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import { removeFile, writeFileAtomic } from '../atomic-file.js'
import { cannotRead, LoptError } from '../errors.js'

// Two that come at the same moment both step back; one of them is first another time.
const ATTEMPTS = 5
const LONGEST_WAIT_MS = 100

const holderSchema = z.object({
  host: z.string(),
  pid: z.int().min(1),
  /** The pid counts among these processes only: the kernel's PID namespace; null where there is none. */
  processes: z.string().nullable(),
  /** When the process began, as the kernel says it: its number may be given to another. */
  began: z.string().nullable(),
  since: z.string(),
})

type Holder = z.infer<typeof holderSchema>

/** Whether a file in a run folder is a lock. */
export function isLockFile(name: string): boolean {
  return /^lock-[\da-f-]{36}\.json$/.test(name)
}

/**
 * Takes the lock of a folder that exists.
 *
 * Each process writes a lock under a name of its own, then looks for others: of two, the one that
 * wrote last sees the other. No name is used twice, so that removing a lock whose holder is gone can
 * never remove a living one's.
 *
 * @returns what gives it back
 * @throws LoptError `ERR_LOCKED` naming the holder; `ERR_IO` where no file can be written.
 */
export async function lockRun(folder: string): Promise<() => Promise<void>> {
  const text = `${JSON.stringify(ownHolder())}\n`
  for (let attempt = 1; ; attempt += 1) {
    const name = `lock-${randomUUID()}.json`
    const path = join(folder, name)
    const giveBack = () => removeFile(path)
    try {
      await writeFileAtomic(path, Buffer.from(text))
    } catch (error) {
      // A holder sweeps away what killed writes left, and may take this one's for such.
      if (attempt === ATTEMPTS || !isSweptAway(error)) throw error
      continue
    }
    try {
      const other = await otherHolder(folder, name)
      if (other === undefined) return giveBack
      if (attempt === ATTEMPTS) throw locked(folder, other)
    } catch (error) {
      await giveBack()
      throw error
    }
    await giveBack()
    await wait(Math.random() * LONGEST_WAIT_MS)
  }
}

function isSweptAway(error: unknown): boolean {
  const cause = error instanceof LoptError ? error.cause : undefined
  return (cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
}

function locked(folder: string, { file, holder }: Found): LoptError {
  const { pid, host, since } = holder
  return new LoptError(
    'ERR_LOCKED',
    `Another process writes the run folder ${folder}: process ${pid} on ${host}, since ${since}. Wait ` +
      `for it, name another folder, or remove ${join(folder, file)} if there is no such process`,
  )
}

interface Found {
  readonly file: string
  readonly holder: Holder
}

/** The first living holder beside `own`; the locks of those that are gone are removed. */
async function otherHolder(folder: string, own: string): Promise<Found | undefined> {
  const names = await readdir(folder).catch((cause) => {
    throw cannotRead(folder, cause)
  })
  for (const file of names) {
    if (file === own || !isLockFile(file)) continue
    const holder = await holderOf(join(folder, file))
    if (holder === undefined) continue
    if (isAlive(holder)) return { file, holder }
    await removeFile(join(folder, file))
  }
  return undefined
}

/** Undefined where the lock was given back meanwhile. */
async function holderOf(path: string): Promise<Holder | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new LoptError('ERR_IO', `Cannot read ${path}: ${error.message}`, {
      cause: error,
    })
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

function ownHolder(): Holder {
  return {
    host: hostname(),
    pid: process.pid,
    processes: namespaceOfProcesses(),
    began: beginOf(process.pid),
    since: new Date().toISOString(),
  }
}

/** Of a process on another host, or in another container, nothing is known: it counts as alive. */
function isAlive({ host, pid, processes, began }: Holder): boolean {
  if (host !== hostname() || processes !== namespaceOfProcesses()) return true
  try {
    process.kill(pid, 0) // sends nothing
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
    // there, and another user's: who it is can be read all the same
  }
  return began === beginOf(pid)
}

function namespaceOfProcesses(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return null
  }
}

/**
 * Start of a process (field 22 of /proc/PID/stat, in ticks, with the id of the boot they count from);
 * `ended` for one that its parent has yet to reap. Null where there is no /proc.
 */
function beginOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // behind the name, which may hold anything
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return 'ended'
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${boot} ${fields[19]}`
  } catch {
    return null
  }
}
