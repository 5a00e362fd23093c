// The files that a prompt is made of: checked to lie where they should, and copied. Knows no format.

import { type FileHandle, mkdtemp, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cannotRead, LoptError } from '../errors.js'
import { openFile, realPathIn } from './contained.js'

export type PromptFiles = {
  readonly names: readonly string[]
  readonly isAdapter?: boolean
} & (
  | {
      /** The real folder that all of them must lie in, whatever they link to. */
      readonly root: string
      readonly folder: string
      readonly bytes?: undefined
    }
  | { readonly bytes: Uint8Array; readonly folder?: undefined }
)

/** @throws LoptError `ERR_IO` for a folder that is not there */
export async function realFolder(folder: string): Promise<string> {
  const real = await realpath(folder).catch((cause) => {
    throw cannotRead(folder, cause)
  })
  if ((await stat(real)).isDirectory()) return real
  throw new LoptError('ERR_IO', `Cannot read ${folder}: it is no folder`)
}

/** What tells a file from the one that was there before. */
export async function signatureOf(files: PromptFiles): Promise<string> {
  if (files.folder === undefined) return ''
  const { root, folder, names } = files
  const parts = await Promise.all(
    names.map(async (name) => {
      const { ino, size, mtimeMs } = await stat(await contained(root, join(folder, name)))
      return `${name} ${ino} ${size} ${mtimeMs}`
    }),
  )
  return parts.join('; ')
}

/** Runs `use` with a folder of copies, which is gone afterwards. */
export async function copied<T>(
  files: PromptFiles,
  maxBytes: number,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const copy = await mkdtemp(join(tmpdir(), 'lopt-prompt-'))
  try {
    let left = maxBytes
    for (const name of files.names) {
      const bytes =
        files.folder === undefined
          ? files.bytes
          : await readWhole(files.root, join(files.folder, name), left)
      left -= bytes.byteLength
      await writeFile(join(copy, name), bytes)
    }
    return await use(copy)
  } finally {
    await rm(copy, { recursive: true, force: true }).catch(() => {}) // what it was for is done
  }
}

async function readWhole(root: string, path: string, maxBytes: number): Promise<Buffer> {
  const real = await contained(root, path)
  let file: FileHandle | undefined
  try {
    file = await openFile(real)
    if (file === undefined) throw new LoptError('ERR_PROMPT_FILE', `${path} is no file`)
    if ((await file.stat()).size > maxBytes) {
      throw new LoptError(
        'ERR_PROMPT_FILE',
        `${path}: more than ${maxBytes} bytes, which no prompt has`,
      )
    }
    return await file.readFile()
  } catch (cause) {
    if (cause instanceof LoptError) throw cause
    throw cannotRead(path, cause)
  } finally {
    await file?.close()
  }
}

async function contained(root: string, path: string): Promise<string> {
  const real = await realPathIn(root, path).catch((cause) => {
    throw cannotRead(path, cause)
  })
  if (real !== undefined) return real
  throw new LoptError('ERR_PROMPT_FILE', `${path} leads out of the folder of prompts`)
}
