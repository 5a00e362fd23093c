// Who may ask: keys, and how they are compared. Knows no route.

import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { cannotRead, LoptError } from '../errors.js'
import { ApiError } from './api-error.js'

const hashOf = (key: string) => createHash('sha256').update(key).digest()

/**
 * A check of the header `authorization`: `Bearer KEY`, or `Basic` with the key as the password, which is what a browser
 * asks its user for. Hashes are compared, all of them and in constant time, so that nothing tells how much of a key is right.
 *
 * @returns a function that throws ApiError 401
 */
export function keyCheck(
  keys: readonly string[],
): (header: string | undefined, forPage: boolean) => void {
  const hashes = keys.map(hashOf)
  return (header, forPage) => {
    const given = hashOf(givenKey(header) ?? '')
    let isKnown = false
    for (const hash of hashes) {
      if (timingSafeEqual(hash, given)) isKnown = true
    }
    if (isKnown) return
    const message =
      header === undefined
        ? 'This server asks for a key: send `authorization: Bearer KEY`'
        : 'The key is not known here'
    throw new ApiError(401, message, {
      type: 'authentication_error',
      code: 'invalid_api_key',
      headers: { 'www-authenticate': forPage ? 'Basic realm="lopt"' : 'Bearer' },
    })
  }
}

function givenKey(header: string | undefined): string | undefined {
  const [, scheme = '', value = ''] =
    /^(bearer|basic) +(\S+) *$/i.exec(header ?? '') ?? []
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme === '') return undefined
  const pair = Buffer.from(value, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  return colon === -1 ? undefined : pair.slice(colon + 1)
}

const MAX_BYTES = 2 ** 20

/**
 * The keys in a file, one a line; `#` begins a comment.
 *
 * @throws LoptError `ERR_IO` for a file that cannot be read, `ERR_DATA` for one without keys
 */
export async function readKeyFile(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw cannotRead(path, cause)
  })
  if (text.length > MAX_BYTES) throw new LoptError('ERR_DATA', `${path}: no file of keys`)
  const keys = text
    .split(/\r?\n/)
    .map((line) => line.replace(/(^|\s)#.*/, '').trim())
    .filter((line) => line !== '')
  const wrong = keys.findIndex((key) => /\s/.test(key))
  if (wrong !== -1) {
    throw new LoptError('ERR_DATA', `${path}: key ${wrong + 1} has a space inside`)
  }
  if (keys.length === 0) {
    throw new LoptError('ERR_DATA', `${path}: there is no key in it; write one a line`)
  }
  return [...new Set(keys)]
}
