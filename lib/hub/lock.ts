// One process at a time downloads a file, or runs a cell of a sweep. A lock file that its holder keeps fresh: the lock of a
// process that was killed goes stale by itself. Knows no network.

import { open, rm, stat, utimes } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { checkAborted } from './request.js'

const FRESHEN_MS = 2_000
const STALE_MS = 10_000
const LOOK_AGAIN_MS = 200

/** Runs `work` while holding `path`; waits for whoever holds it. */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  let release = await tryLock(path)
  while (release === undefined) {
    checkAborted(signal)
    await wait(LOOK_AGAIN_MS)
    release = await tryLock(path)
  }
  try {
    return await work()
  } finally {
    await release()
  }
}

/** Takes `path` and gives what releases it again; undefined while another process holds it. */
export async function tryLock(path: string): Promise<(() => Promise<void>) | undefined> {
  if (!(await take(path))) return undefined
  const freshen = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {}) // it was removed: the next look will tell
  }, FRESHEN_MS)
  return async () => {
    clearInterval(freshen)
    await rm(path, { force: true })
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx')).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const held = await stat(path).catch(() => undefined)
    if (held !== undefined && Date.now() - held.mtimeMs > STALE_MS) {
      await rm(path, { force: true })
    }
    return false
  }
}
