// Files below a folder, wherever links lead. Knows no format.

import { constants, type FileHandle, open, realpath } from 'node:fs/promises'
import { sep } from 'node:path'

/**
 * The path behind all links, or undefined where that lies outside.
 *
 * @param root the real path of the folder
 */
export async function realPathIn(
  root: string,
  path: string,
): Promise<string | undefined> {
  const real = await realpath(path)
  return real.startsWith(root.endsWith(sep) ? root : `${root}${sep}`) ? real : undefined
}

/** A file for reading; undefined for what is none. */
export async function openFile(path: string): Promise<FileHandle | undefined> {
  // a pipe in a file's place would keep its reader waiting
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if ((await file.stat()).isFile()) return file
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  return undefined
}
