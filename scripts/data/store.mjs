// The bundled data files: where they lie, and reading and writing them.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'

const folder = new URL('../../lib/task/datasets/data/', import.meta.url)

/** A bundled file's text, or undefined if there is none. */
export function readStored(name) {
  const path = fileURLToPath(new URL(name, folder))
  if (!existsSync(path)) return undefined
  const bytes = readFileSync(path)
  return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
}

/**
 * Writes a bundled file unless it has that text already: compressed bytes differ between versions
 * of zlib, the text does not.
 *
 * @returns {boolean} whether it was written
 */
export function writeStored(name, text) {
  if (readStored(name) === text) return false
  const path = fileURLToPath(new URL(name, folder))
  mkdirSync(dirname(path), { recursive: true })
  const bytes = Buffer.from(text, 'utf8')
  writeFileSync(
    `${path}.tmp`,
    name.endsWith('.gz') ? gzipSync(bytes, { level: 9 }) : bytes,
  )
  renameSync(`${path}.tmp`, path)
  return true
}

/** The rows of a bundled data set: `{ split, label, … }`. */
export function storedRows(name) {
  const text = readStored(`${name}.jsonl.gz`)
  if (text === undefined)
    throw new Error(`There is no ${name}.jsonl.gz; run: node scripts/prepare-data.mjs`)
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}
