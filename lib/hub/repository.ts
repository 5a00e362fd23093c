// What the hub has of a repository: the commit of a revision, and its files with sizes and checksums.
// Knows no cache. The hub's API is @huggingface/hub's affair.

import {
  datasetInfo,
  HubApiError,
  type ListFileEntry,
  listFiles,
  modelInfo,
} from '@huggingface/hub'
import { LoptError } from '../errors.js'
import { open, type RequestOptions, Transient, withRetries } from './request.js'
import type { HubSettings } from './settings.js'

export interface Repository {
  /** `NAME` or `ORG/NAME`. */
  readonly id: string
  readonly type: 'model' | 'dataset'
  /** A branch, tag or commit. */
  readonly revision: string
}

export interface RemoteFile {
  /** Path in the repository, with slashes. */
  readonly path: string
  readonly sizeBytes: number
  /** SHA-256 of a large file's bytes, or the git hash of a small one's: 64 or 40 hex digits. */
  readonly etag: string
}

// A repository with more files than this is none that a model or a data set lies in.
const MAX_FILES = 100_000

/** @throws TypeError for an id or a revision that no repository can have. */
export function checkRepository({ id, revision }: Repository): void {
  const name = /^[A-Za-z0-9](?:[\w.-]{0,95})$/
  const parts = id.split('/')
  const wrong = (part: string) => !name.test(part) || /--|\.\./.test(part)
  if (parts.length > 2 || parts.some(wrong)) {
    throw new TypeError(`Expected a repository such as org/name but received ${id}`)
  }
  if (!/^[\w./-]{1,200}$/.test(revision) || revision.split('/').some(isStep)) {
    throw new TypeError(`Expected a branch, tag or commit but received ${revision}`)
  }
}

function isStep(part: string): boolean {
  return part === '' || part === '.' || part === '..'
}

/**
 * @throws LoptError `ERR_NETWORK` saying what to do: another name, a token, another time.
 */
export async function listRepository(
  repository: Repository,
  settings: HubSettings,
  options: RequestOptions,
): Promise<{ commit: string; files: RemoteFile[] }> {
  const { id, type, revision } = repository
  const what = `find ${describe(repository)}`
  const common = {
    hubUrl: settings.endpoint,
    ...(settings.token !== undefined && { accessToken: settings.token }),
    fetch: (url: string | URL | Request, init?: RequestInit) =>
      withRetries(what, options, async () => {
        const { response, done } = await open(String(url), init ?? {}, options)
        done()
        return response
      }),
  }
  try {
    const asked = { ...common, name: id, revision, additionalFields: ['sha' as const] }
    const { sha } = type === 'model' ? await modelInfo(asked) : await datasetInfo(asked)
    const commit = checkHash(sha, `the commit of ${id}`)
    const listed = listFiles({
      ...common,
      repo: { type, name: id },
      revision: commit,
      recursive: true,
    })
    const files: RemoteFile[] = []
    for await (const entry of listed) {
      if (entry.type !== 'file') continue
      if (files.length === MAX_FILES) {
        throw new LoptError(
          'ERR_NETWORK',
          `${id} lists more than ${MAX_FILES} files, more than a model or data set has`,
        )
      }
      files.push(remoteFile(entry, id))
    }
    return { commit, files }
  } catch (error) {
    if (error instanceof HubApiError) throw refused(repository, error, settings)
    if (error instanceof LoptError || error instanceof Transient) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new LoptError('ERR_NETWORK', `Cannot ${what}: ${reason}`, { cause: error })
  }
}

/** For messages: `openai-community/gpt2 (main)`. */
export function describe({ id, type, revision }: Repository): string {
  return `${type === 'dataset' ? 'the data set ' : ''}${id} (${revision})`
}

/** Names come from a server: none may lead out of the cache. */
function remoteFile({ path, size, oid, lfs }: ListFileEntry, id: string): RemoteFile {
  const leadsOut =
    /^[/\\]|[\\:\0]/.test(path) || path.split('/').some(isStep) || path.length > 1000
  if (leadsOut) {
    throw new LoptError(
      'ERR_NETWORK',
      `${id} lists the file ${JSON.stringify(path)}, which is no path inside a repository`,
    )
  }
  const sizeBytes = lfs?.size ?? size
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
    throw new LoptError('ERR_NETWORK', `${id} lists ${path} with the size ${sizeBytes}`)
  }
  return { path, sizeBytes, etag: checkHash(lfs?.oid ?? oid, `${path} of ${id}`) }
}

function checkHash(value: unknown, what: string): string {
  if (typeof value === 'string' && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(value))
    return value
  throw new LoptError('ERR_NETWORK', `The hub gives no hash for ${what}`)
}

function refused(
  repository: Repository,
  error: HubApiError,
  { endpoint, token }: HubSettings,
): LoptError {
  return refusal(error.statusCode, `${describe(repository)} at ${endpoint}`, token)
}

/** An answer that no repetition mends. */
export function refusal(
  status: number,
  what: string,
  token: string | undefined,
): LoptError {
  const advice: Record<number, string> = {
    401:
      token === undefined
        ? 'it does not exist, or is private or gated: check the name, or give a token in HF_TOKEN'
        : 'it does not exist, or the token of HF_TOKEN may not read it: check both',
    403: "the token may not read it: accept its licence on the hub's page, or give another HF_TOKEN",
    404: 'it does not exist: check name and revision',
  }
  const reason = advice[status] ?? 'the server refuses'
  return new LoptError('ERR_NETWORK', `Cannot read ${what} (${status}): ${reason}`)
}
