// @ts-check
// Lets one process at a time work in a folder, so that two set-ups of one clone do not build over
// each other. Knows nothing of what is built.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { say } from './process.mjs'

/**
 * Runs `work` while this process holds the lock file; waits for another living process to end.
 *
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(file, work) {
  mkdirSync(dirname(file), { recursive: true })
  let waiting = false
  while (!take(file)) {
    if (!waiting) say(`waiting for another set-up of this folder (${file})`)
    waiting = true
    await delay(500)
  }
  const release = () => rmSync(file, { force: true })
  process.once('exit', release)
  try {
    return await work()
  } finally {
    process.off('exit', release)
    release()
  }
}

/** @param {string} file */
function take(file) {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error
  }
  if (ownerLives(file)) return false
  rmSync(file, { force: true })
  return take(file)
}

/** @param {string} file */
function ownerLives(file) {
  try {
    const owner = Number(readFileSync(file, 'utf8'))
    // not yet written: its owner is at it
    if (!owner) return true
    process.kill(owner, 0)
    return true
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'
  }
}
