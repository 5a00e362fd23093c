// One file from the hub to the disk: goes on from what is there, and checks length and checksum. Knows
// no repository and no cache layout.

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open as openFile, rename, rm, stat } from 'node:fs/promises'
import { LoptError } from '../errors.js'
import { type RemoteFile, refusal } from './repository.js'
import {
  asTransient,
  open,
  type RequestOptions,
  Transient,
  withRetries,
} from './request.js'

export interface DownloadOptions extends RequestOptions {
  readonly url: string
  readonly token: string | undefined
  /** Called as bytes come, with how many of the file are there. */
  readonly onBytes?: ((bytes: number) => void) | undefined
}

/**
 * Downloads `file` to `target`, by way of `target.incomplete`, which a later call goes on from.
 *
 * @throws LoptError `ERR_NETWORK` for what the server refuses or does wrong, `ERR_IO` for the disk,
 *   `ERR_ABORTED`.
 */
export async function downloadFile(
  file: RemoteFile,
  target: string,
  options: DownloadOptions,
): Promise<void> {
  const incomplete = `${target}.incomplete`
  try {
    await withRetries(`download ${file.path}`, options, () =>
      fetchRest(file, incomplete, options),
    )
    await rename(incomplete, target)
  } catch (error) {
    if (error instanceof LoptError) throw error
    const { message } = error as Error
    throw new LoptError('ERR_IO', `Cannot write ${target}: ${message}`, { cause: error })
  }
}

/** Appends what is missing, then checks the whole. */
async function fetchRest(
  file: RemoteFile,
  incomplete: string,
  options: DownloadOptions,
): Promise<void> {
  const { sizeBytes, path } = file
  const there = (await stat(incomplete).catch(() => undefined))?.size ?? 0
  if (there > sizeBytes) await rm(incomplete)
  const from = there > sizeBytes ? 0 : there
  if (from < sizeBytes || from === 0) {
    const length = await append(file, incomplete, from, options)
    if (length < sizeBytes) {
      throw new Transient(`${length} of ${sizeBytes} bytes came`, {})
    }
    if (length > sizeBytes) {
      await rm(incomplete)
      throw new LoptError(
        'ERR_NETWORK',
        `${path}: more than the ${sizeBytes} bytes came that the hub lists`,
      )
    }
  }
  if ((await hashOf(incomplete, file)) === file.etag) return
  // Some of it may be of another time: from the beginning, once.
  await rm(incomplete)
  if (from > 0) throw new Transient('the parts did not fit together', { delayMs: 0 })
  throw new LoptError(
    'ERR_NETWORK',
    `${path}: the checksum of what came is not the one that the hub lists: try again, or ask who keeps ` +
      'the repository',
  )
}

/** @returns the file's length afterwards */
async function append(
  file: RemoteFile,
  incomplete: string,
  from: number,
  options: DownloadOptions,
): Promise<number> {
  const { url, token, onBytes, timeoutMs } = options
  const { response, alive, done } = await open(
    url,
    {
      headers: {
        // As it is: a compressed answer would have another length.
        'accept-encoding': 'identity',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(from > 0 && { range: `bytes=${from}-` }),
      },
    },
    options,
  )
  let disk: FileHandle | undefined
  try {
    if (!response.ok) throw refusal(response.status, `${file.path} (${url})`, token)
    const goesOn = response.status === 206
    disk = await openFile(incomplete, goesOn ? 'a' : 'w')
    let length = goesOn ? from : 0
    const body = response.body?.getReader()
    for (;;) {
      const read = await body?.read().catch((error: unknown) => {
        throw asTransient(error, false, timeoutMs)
      })
      if (read?.value === undefined) break
      alive()
      await disk.write(read.value)
      length += read.value.length
      onBytes?.(length)
      if (length > file.sizeBytes) {
        await body?.cancel().catch(() => {})
        break
      }
    }
    await disk.sync()
    return length
  } finally {
    done()
    await disk?.close()
  }
}

/** The SHA-256, or for a small file git's hash of it, whichever its etag is. */
async function hashOf(path: string, { etag, sizeBytes }: RemoteFile): Promise<string> {
  const hash: Hash = createHash(etag.length === 64 ? 'sha256' : 'sha1')
  if (etag.length === 40) hash.update(`blob ${sizeBytes}\0`)
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
