// Reads the small files of a checkpoint folder. Knows no format but JSON.

import { readFile, stat } from 'node:fs/promises'
import { LoptError } from '../errors.js'

// A config.json has a few KB; the index of a checkpoint with a million tensors stays below this.
const MAX_JSON_BYTES = 64 * 2 ** 20

/**
 * The text of a file, or undefined when there is none.
 *
 * @throws LoptError `ERR_MODEL_FILE` when it is larger than `maxBytes`; `ERR_IO` when it cannot be
 *   read.
 */
export async function readText(
  path: string,
  maxBytes: number,
): Promise<string | undefined> {
  return (await readBytes(path, maxBytes))?.toString('utf8')
}

/** As `readText`: the bytes. */
export async function readBytes(
  path: string,
  maxBytes: number,
): Promise<Buffer | undefined> {
  try {
    const info = await stat(path)
    if (!info.isFile()) throw new LoptError('ERR_MODEL_FILE', `${path}: not a file`)
    if (info.size > maxBytes) {
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${path}: ${info.size} bytes, more than the ${maxBytes} that such a file may have`,
      )
    }
    return await readFile(path)
  } catch (cause) {
    if (cause instanceof LoptError) throw cause
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new LoptError('ERR_IO', `Cannot read ${path}: ${message}`, { cause })
  }
}

/**
 * The object in a JSON file, or undefined when there is no file.
 *
 * @throws LoptError `ERR_MODEL_FILE` for what is no JSON or no object.
 */
export async function readJson(
  path: string,
): Promise<Record<string, unknown> | undefined> {
  const text = await readText(path, MAX_JSON_BYTES)
  return text === undefined ? undefined : parseJson(text, path)
}

/**
 * The object in a JSON text.
 *
 * @param path names it in errors
 * @throws LoptError `ERR_MODEL_FILE` for what is no JSON or no object.
 */
export function parseJson(text: string, path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LoptError('ERR_MODEL_FILE', `${path}: not JSON: ${reason}`, { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw new LoptError('ERR_MODEL_FILE', `${path}: expected a JSON object`)
}
