// Writes a file so that a reader sees the old one or the new one whole: temporary name in the same
// folder, flush, rename. Knows nothing of formats.

import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LoptError } from './errors.js'

/**
 * Replaces `path` by `chunks`, in order. On any failure the old file is as it was and nothing is
 * left behind; what the chunks' own source throws passes through.
 *
 * @throws LoptError `ERR_IO` naming the folder and what to do.
 */
export async function writeFileAtomic(
  path: string,
  chunks: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  await replaceFile(path, async (temporary) => {
    const file = await attempt(path, open(temporary, 'w'))
    try {
      if (chunks instanceof Uint8Array) await attempt(path, file.writeFile(chunks))
      else for await (const chunk of chunks) await attempt(path, file.writeFile(chunk))
    } finally {
      await attempt(path, file.close())
    }
  })
}

/**
 * Replaces `path` by the file that `write` makes under the temporary name that it is given.
 *
 * @throws LoptError `ERR_IO` naming the folder and what to do.
 */
export async function replaceFile(
  path: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.lopt-${randomUUID()}.tmp`)
  // Made first, so that a folder that takes no file is refused here, with what to do.
  const file = await attempt(path, open(temporary, 'wx'))
  try {
    await attempt(path, file.close())
    await write(temporary)
    await attempt(path, flush(temporary))
    await attempt(path, rename(temporary, path))
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}) // the first failure is the one to report
    throw error
  }
  // Makes the rename itself last through a power cut; some file systems cannot, and lose nothing else.
  await flush(folder).catch(() => {})
}

/**
 * Lets a file take another's place.
 *
 * @throws LoptError `ERR_IO` naming the folder and what to do.
 */
export async function renameFile(from: string, to: string): Promise<void> {
  await attempt(to, rename(from, to))
}

/**
 * Removes a file, where it is there.
 *
 * @throws LoptError `ERR_IO` naming the folder and what to do.
 */
export async function removeFile(path: string): Promise<void> {
  await attempt(path, rm(path, { force: true }))
}

/**
 * Makes a folder and those that it lies in; one that is there stays as it is.
 *
 * @throws LoptError `ERR_IO` naming the folder.
 */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LoptError('ERR_IO', `Cannot make the folder ${folder}: ${reason}`, {
      cause,
    })
  }
}

async function flush(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function attempt<R>(path: string, work: Promise<R>): Promise<R> {
  try {
    return await work
  } catch (cause) {
    throw new LoptError('ERR_IO', explain(path, cause), { cause })
  }
}

function explain(path: string, cause: unknown): string {
  const folder = dirname(path)
  const { code, message } = cause as NodeJS.ErrnoException
  const what = `Cannot write ${basename(path)} in ${folder}`
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return `${what}: no space left on its disk. Free some, or write to another folder.`
    case 'EACCES':
    case 'EPERM':
      return `${what}: permission denied. Change the folder's permissions, or write to another one.`
    case 'EROFS':
      return `${what}: its file system is read-only. Write to another folder.`
    case 'ENOENT':
    case 'ENOTDIR':
      return `${what}: there is no such folder. Create it first.`
    case 'EISDIR':
      return `${what}: a folder of that name is there. Choose another name.`
    default:
      return `${what}: ${message}`
  }
}
