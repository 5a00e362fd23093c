// A repository's files as a folder: from the cache, or downloaded into it. Knows no model.

import { LoptError } from '../errors.js'
import { RepositoryCache } from './cache.js'
import { downloadFile } from './download.js'
import { withLock } from './lock.js'
import {
  checkRepository,
  describe,
  listRepository,
  type RemoteFile,
  type Repository,
} from './repository.js'
import { checkAborted, type RequestOptions } from './request.js'
import { type HubSettings, hubSettings } from './settings.js'

/** How a download goes on. */
export type DownloadEvent =
  | {
      readonly type: 'progress'
      readonly path: string
      /** Of this file. */
      readonly doneBytes: number
      readonly sizeBytes: number
      /** Of all files, those that were in the cache already not counted. */
      readonly totalDoneBytes: number
      readonly totalBytes: number
    }
  /** Something that a person should know. */
  | { readonly type: 'notice'; readonly message: string }

export interface SnapshotOptions {
  /** `NAME` or `ORG/NAME`. */
  id: string
  /** Default `model`. */
  type?: Repository['type']
  /** A branch, tag or commit; default `main`. */
  revision?: string | undefined
  /** Which of the repository's files are needed; throws when what is needed is not there. */
  select: (paths: readonly string[]) => readonly string[]
  onEvent?: ((event: DownloadEvent) => void) | undefined
  signal?: AbortSignal | undefined
  /** Default: what the environment says. */
  settings?: HubSettings
  /** Pause before a request is repeated the first time, default 500 ms. */
  firstDelayMs?: number | undefined
}

/**
 * A folder with the selected files of a revision. What is in the cache, put there by this library or by
 * Python's, is not asked for again. When the hub cannot be reached, what the cache has of the revision
 * is taken, with a notice; with HF_HUB_OFFLINE the hub is not asked at all.
 *
 * @throws TypeError for an id or revision that cannot be; LoptError `ERR_NETWORK`, `ERR_IO`,
 *   `ERR_ABORTED`; what `select` throws.
 */
export async function downloadSnapshot({
  id,
  type = 'model',
  revision = 'main',
  select,
  onEvent = () => {},
  signal,
  settings = hubSettings(),
  firstDelayMs,
}: SnapshotOptions): Promise<string> {
  const repository: Repository = { id, type, revision }
  checkRepository(repository)
  const cache = new RepositoryCache(settings.cacheDir, repository)
  if (settings.offline) return await fromCache(cache, repository, select, settings)

  const request: RequestOptions = { timeoutMs: settings.timeoutMs, signal, firstDelayMs }
  const listed = await listRepository(repository, settings, request).catch(
    async (error: unknown) => {
      checkAborted(signal)
      // A repository that the hub refuses is not taken from the cache behind its back.
      const unreachable = error instanceof LoptError && error.cause !== undefined
      const kept = unreachable ? await cache.find() : undefined
      if (kept === undefined) throw error
      select(kept.paths)
      const message = `${settings.endpoint} cannot be reached: ${describe(repository)} is taken from the cache`
      onEvent({ type: 'notice', message })
      return kept.folder
    },
  )
  if (typeof listed === 'string') return listed

  const { commit, files } = listed
  const wanted = new Set(select(files.map(({ path }) => path)))
  const chosen = files.filter(({ path }) => wanted.has(path))
  await cache.prepare()
  const missing: RemoteFile[] = []
  for (const file of chosen) if (!(await cache.hasBlob(file))) missing.push(file)
  const totalBytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  let before = 0
  for (const file of missing) {
    const url = fileUrl(settings, repository, commit, file)
    const { path, sizeBytes } = file
    const onBytes = (doneBytes: number) =>
      onEvent({
        type: 'progress',
        ...{ path, doneBytes, sizeBytes, totalBytes },
        totalDoneBytes: before + doneBytes,
      })
    await withLock(cache.lock(file), signal, async () => {
      if (await cache.hasBlob(file)) return // another process was first
      const { token } = settings
      await downloadFile(file, cache.blob(file), { ...request, url, token, onBytes })
    })
    before += sizeBytes
  }
  // The links come last: a snapshot that has them is whole.
  await cache.link(commit, chosen)
  return cache.snapshot(commit)
}

async function fromCache(
  cache: RepositoryCache,
  repository: Repository,
  select: SnapshotOptions['select'],
  { cacheDir }: HubSettings,
): Promise<string> {
  const kept = await cache.find()
  if (kept === undefined) {
    throw new LoptError(
      'ERR_NETWORK',
      `${describe(repository)} is not in the cache ${cacheDir}, and HF_HUB_OFFLINE forbids to download ` +
        'it: unset it, or name the cache that has it by HF_HOME',
    )
  }
  select(kept.paths)
  return kept.folder
}

function fileUrl(
  { endpoint }: HubSettings,
  { id, type }: Repository,
  commit: string,
  { path }: RemoteFile,
): string {
  const place = type === 'dataset' ? `datasets/${id}` : id
  const encoded = path.split('/').map(encodeURIComponent).join('/')
  return `${endpoint}/${place}/resolve/${commit}/${encoded}`
}
