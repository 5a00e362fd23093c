// The standard cache of Hugging Face libraries: blobs by checksum, a folder of links a commit, and
// which commit a branch was at. What Python put there is found, and the other way round.

import { copyFile, mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { writeFileAtomic } from '../atomic-file.js'
import { LoptError } from '../errors.js'
import type { RemoteFile, Repository } from './repository.js'

export class RepositoryCache {
  readonly #folder: string
  readonly #locks: string
  readonly #revision: string

  constructor(cacheDir: string, { id, type, revision }: Repository) {
    const name = [`${type}s`, ...id.split('/')].join('--')
    this.#folder = join(cacheDir, name)
    this.#locks = join(cacheDir, '.locks', name)
    this.#revision = revision
  }

  /** @throws LoptError `ERR_IO` when the cache cannot be written. */
  async prepare(): Promise<void> {
    for (const folder of [join(this.#folder, 'blobs'), this.#locks]) {
      await mkdir(folder, { recursive: true }).catch((cause: Error) => {
        throw new LoptError(
          'ERR_IO',
          `Cannot make the cache folder ${folder}: ${cause.message}. HF_HOME names another place`,
          { cause },
        )
      })
    }
  }

  blob({ etag }: RemoteFile): string {
    return join(this.#folder, 'blobs', etag)
  }

  lock({ etag }: RemoteFile): string {
    return join(this.#locks, `${etag}.lopt.lock`)
  }

  snapshot(commit: string): string {
    return join(this.#folder, 'snapshots', commit)
  }

  async hasBlob(file: RemoteFile): Promise<boolean> {
    const info = await stat(this.blob(file)).catch(() => undefined)
    return info?.size === file.sizeBytes
  }

  /** The files of a snapshot, by path, and the revision's commit. */
  async link(commit: string, files: readonly RemoteFile[]): Promise<void> {
    for (const file of files) {
      const path = join(this.snapshot(commit), file.path)
      if ((await stat(path).catch(() => undefined)) !== undefined) continue
      await mkdir(dirname(path), { recursive: true })
      const blob = this.blob(file)
      await symlink(relative(dirname(path), blob), path).catch(async (error) => {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') return
        await copyFile(blob, path) // no links here, as on Windows without the right to make them
      })
    }
    if (this.#revision === commit) return
    const ref = join(this.#folder, 'refs', this.#revision)
    await mkdir(dirname(ref), { recursive: true })
    await writeFileAtomic(ref, Buffer.from(commit))
  }

  /** The revision's snapshot as it is in the cache, or undefined. */
  async find(): Promise<{ folder: string; paths: string[] } | undefined> {
    const ref = join(this.#folder, 'refs', this.#revision)
    const commit = (await readFile(ref, 'utf8').catch(() => this.#revision)).trim()
    if (!/^[0-9a-f]{40}$/.test(commit)) return undefined
    const folder = this.snapshot(commit)
    const entries = await readdir(folder, { recursive: true }).catch(() => undefined)
    if (entries === undefined) return undefined
    return { folder, paths: entries.map((path) => path.replaceAll('\\', '/')) }
  }
}
