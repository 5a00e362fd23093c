// Loads the addon that the table names, or says all that was tried and what to do. Knows nothing of what the addon can do.

import { createRequire } from 'node:module'
import { sameMinor } from '../../scripts/setup/libtorch.mjs'
import { LoptError } from '../errors.js'
import { type Absent, type Candidate, type Found, findAddons } from './candidates.js'
import { thisSystem } from './system.js'
import { tryAddon } from './trial.js'

interface Versions {
  torchVersion: string
  torchVersionBuilt: string
}

/**
 * The first addon of the table that is there. One that is there and does not load is an error: another one in its place would
 * surprise. Only one that was put on trial, or is installed without what it needs, makes way, and a warning says so.
 *
 * @param root the package's folder
 * @throws LoptError `ERR_ADDON_LOAD`
 */
export function loadAddon(root: string): unknown {
  const { env } = process
  const absent: Absent[] = []
  for (const found of findAddons({ root, env, system: thisSystem() })) {
    const usable = 'problem' in found ? found : onTrial(found, env)
    if (!('problem' in usable)) {
      for (const other of absent) warnOf(other)
      return load(usable)
    }
    absent.push(usable)
  }
  throw noAddon(absent)
}

function onTrial(candidate: Candidate, env: NodeJS.ProcessEnv): Found {
  if (!candidate.isOnTrial) return candidate
  const trial = tryAddon(candidate, env)
  if (trial.ok) return candidate
  const { name, fix } = candidate
  return { name, problem: trial.reason, fix, isInstalled: true }
}

function warnOf({ name, problem, fix, isInstalled }: Absent): void {
  if (!isInstalled) return
  const advice = fix === undefined ? '' : ` (${fix})`
  process.emitWarning(`${name} is installed and passed over: ${problem}${advice}`)
}

function noAddon(absent: readonly Absent[]): LoptError {
  const tried = absent.map(({ name, problem }) => `- ${name}: ${problem}`)
  const fixes = absent.flatMap(({ fix }) => (fix === undefined ? [] : [`- ${fix}`]))
  return new LoptError(
    'ERR_ADDON_LOAD',
    `There is no native addon to load. Tried:\n${tried.join('\n')}\nPossible solutions:\n` +
      [...new Set(fixes), '- run `npx lopt doctor`, which says more'].join('\n'),
  )
}

function load(candidate: Candidate): unknown {
  const { name, reason, addon, fix } = candidate
  let binding: Versions
  try {
    binding = withWaits(() => open(candidate)) as Versions
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new LoptError(
      'ERR_ADDON_LOAD',
      `The native addon did not load: ${said}\nIt is ${name} (${reason}): ${addon}\nPossible solutions:\n` +
        `- ${fix}\n- run \`npx lopt doctor\`, which says what is missing`,
      { cause },
    )
  }
  const { torchVersion, torchVersionBuilt } = binding
  if (!sameMinor(torchVersion, torchVersionBuilt)) {
    throw new LoptError(
      'ERR_ADDON_LOAD',
      `The addon (${name}) was compiled against libtorch ${torchVersionBuilt} but found ${torchVersion}: ${fix}`,
    )
  }
  return binding
}

/** By path, so that it does not matter where packages lie to each other; the addon then asks for what is loaded already. */
function open({ opener, libraries, addon }: Candidate): unknown {
  const require = createRequire(import.meta.url)
  if (opener !== undefined) {
    const { open } = require(opener) as { open: (paths: readonly string[]) => void }
    open(libraries)
  }
  return require(addon)
}

// Between two ops OpenMP's threads wait for the next one. JavaScript's thread has a team of its own, so that there are more of
// them than cores, and GNU's library then lets them sleep nearly at once: each small op wakes one up. `active` makes that a
// hundredth of a millisecond. The count is its own default for as many threads as cores, some milliseconds, without which
// `active` would let them never sleep. It reads both as it is loaded (libgomp, env.c). LLVM's library, which macOS has, knows
// `active` and not the count.
const WAITS = { OMP_WAIT_POLICY: 'active', GOMP_SPINCOUNT: '300000' }

/** What `load` gives; what the user has set counts, and child processes inherit nothing. */
function withWaits<T>(load: () => T): T {
  const { env } = process
  const isSet = Object.keys(WAITS).some((name) => env[name] !== undefined)
  if (isSet || process.platform !== 'linux') return load()
  Object.assign(env, WAITS)
  try {
    return load()
  } finally {
    for (const name of Object.keys(WAITS)) delete env[name]
  }
}
