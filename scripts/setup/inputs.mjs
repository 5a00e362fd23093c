// @ts-check
// Remembers what a step was last built from, so that it can be skipped: a hash of its input files
// and of named facts, kept in a stamp file. Knows none of the steps.

import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'

/**
 * SHA-256 of the names and contents of files, and of named facts. Times do not count: a checkout
 * changes them.
 *
 * @param {string} root names count from here
 * @param {readonly string[]} paths files and folders; one that is missing counts as such
 * @param {Record<string, string>} [facts]
 */
export function hashInputs(root, paths, facts = {}) {
  const hash = createHash('sha256')
  for (const path of paths.flatMap((path) => filesIn(join(root, path))).sort()) {
    const content = existsSync(path) ? readFileSync(path) : Buffer.from('missing')
    hash.update(`${relative(root, path)}\0${content.length}\0`).update(content)
  }
  for (const name of Object.keys(facts).sort()) hash.update(`${name}=${facts[name]}\0`)
  return hash.digest('hex')
}

/**
 * @param {string} stamp
 * @param {string} hash
 */
export function isFresh(stamp, hash) {
  return existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === hash
}

/**
 * @param {string} stamp
 * @param {string} hash
 */
export function writeStamp(stamp, hash) {
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, `${hash}\n`)
}

/**
 * @param {string} path
 * @returns {string[]}
 */
function filesIn(path) {
  if (!existsSync(path) || !statSync(path).isDirectory()) return [path]
  return readdirSync(path).flatMap((name) => filesIn(join(path, name)))
}
