// One process at a time downloads a file. A lock file that its holder keeps fresh: the lock of a
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
  while (!(await take(path))) {
    checkAborted(signal)
    await wait(LOOK_AGAIN_MS)
  }
  const freshen = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {}) // it was removed: the next look will tell
  }, FRESHEN_MS)
  try {
    return await work()
  } finally {
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
