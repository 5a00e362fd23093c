// Where the hub is, where its cache lies, and who asks: the environment variables that Python's
// huggingface_hub reads. Knows no network.

import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string
  /** The folder that holds `models--ORG--NAME`. */
  readonly cacheDir: string
  /** Sent to the endpoint alone. */
  readonly token: string | undefined
  /** Nothing is asked of the network. */
  readonly offline: boolean
  /** How long an answer, or the next bytes of one, may take. */
  readonly timeoutMs: number
}

const DEFAULT_ENDPOINT = 'https://huggingface.co'
const DEFAULT_TIMEOUT_SECONDS = 10

export function hubSettings(env: Environment = process.env): HubSettings {
  const home =
    env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
  const seconds = Number(env.HF_HUB_DOWNLOAD_TIMEOUT ?? DEFAULT_TIMEOUT_SECONDS)
  return {
    endpoint: (env.HF_ENDPOINT || DEFAULT_ENDPOINT).replace(/\/+$/, ''),
    cacheDir: env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub'),
    token: tokenOf(env, home),
    offline: isSet(env.HF_HUB_OFFLINE) || isSet(env.TRANSFORMERS_OFFLINE),
    timeoutMs: 1000 * (seconds > 0 ? seconds : DEFAULT_TIMEOUT_SECONDS),
  }
}

function isSet(value: string | undefined): boolean {
  return ['1', 'true', 'yes', 'on'].includes((value ?? '').toLowerCase())
}

/** HF_TOKEN, else what `hf auth login` left. */
function tokenOf(env: Environment, home: string): string | undefined {
  const given = env.HF_TOKEN ?? env.HUGGING_FACE_HUB_TOKEN
  if (given !== undefined) return given.trim() || undefined
  if (isSet(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined
  const file = env.HF_TOKEN_PATH ?? join(home, 'token')
  if (!existsSync(file)) return undefined
  return readFileSync(file, 'utf8').trim() || undefined
}
