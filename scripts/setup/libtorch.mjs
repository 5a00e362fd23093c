// @ts-check
// Finds a libtorch on this machine and says whether it can be used. Used by set-up and by `lopt
// doctor`. Fetches nothing: that is torch-wheel.mjs.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { output, SetupError } from './process.mjs'
import { pythons } from './tools.mjs'

/** Another minor version has another C++ interface: the addon is compiled for one. */
export const DEFAULT_TORCH_VERSION = '2.13.0'

/**
 * @typedef {object} Libtorch
 * @property {'LIBTORCH' | 'cache' | 'python'} source where it was found
 * @property {string} folder holds `include/` and `lib/`
 * @property {string} version such as `2.13.0`
 */

/**
 * The version that set-up builds for: `LOPT_TORCH_VERSION`, or the default.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function wantedVersion(env) {
  const version = env.LOPT_TORCH_VERSION || DEFAULT_TORCH_VERSION
  if (!/^\d+\.\d+\.\d+$/.test(version))
    throw new SetupError(
      `Expected LOPT_TORCH_VERSION like ${DEFAULT_TORCH_VERSION} but received ${version}`,
      'correct or unset it',
    )
  return version
}

/**
 * The folder that holds what set-up fetched, a folder a version and flavour.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function cacheFolder(env) {
  return join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'lopt')
}

/**
 * The version of the libtorch in a folder, from its headers; null when it holds none.
 *
 * @param {string} folder
 */
export function versionOf(folder) {
  if (!existsSync(join(folder, 'include/torch/script.h'))) return null
  if (!existsSync(join(folder, 'lib', libraryName('torch_cpu')))) return null
  for (const header of ['headeronly/version.h', 'version.h']) {
    const path = join(folder, 'include/torch', header)
    if (!existsSync(path)) continue
    const match = /#define TORCH_VERSION[\s\\]+"(\d+\.\d+\.\d+)/.exec(
      readFileSync(path, 'utf8'),
    )
    if (match) return match[1] ?? null
  }
  return null
}

/**
 * The libtorch to build against, or null when one must be fetched. In this order: the folder in
 * `LIBTORCH`, a copy fetched before, the torch of a Python on the PATH.
 *
 * The official archive is no source: it would have to be pinned by a SHA-256 of a file that was
 * really hashed, and its host could not be reached where this was written. The wheel has the same
 * content.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {{ findPythonTorch?: (env: NodeJS.ProcessEnv) => string[] }} [probes]
 * @returns {Libtorch | null}
 * @throws SetupError when `LIBTORCH` is set and cannot be used: another one would surprise
 */
export function locateLibtorch(env, { findPythonTorch = pythonTorchFolders } = {}) {
  const wanted = wantedVersion(env)
  if (env.LIBTORCH) {
    const folder = resolve(env.LIBTORCH)
    const version = versionOf(folder)
    if (!version)
      throw new SetupError(
        `LIBTORCH is ${folder}, which holds no libtorch`,
        `set it to a folder with include/torch/script.h and lib/${libraryName('torch_cpu')}`,
      )
    if (!sameMinor(version, wanted))
      throw new SetupError(
        `LIBTORCH is ${folder}, which holds libtorch ${version}, but ${wanted} is expected`,
        `set LOPT_TORCH_VERSION=${version} to build for it`,
      )
    return { source: 'LIBTORCH', folder, version }
  }
  const cached = cachedFolder(env, wanted)
  if (cached) return { source: 'cache', folder: cached, version: wanted }
  for (const folder of findPythonTorch(env)) {
    const version = versionOf(folder)
    if (version && sameMinor(version, wanted))
      return { source: 'python', folder, version }
  }
  return null
}

/**
 * A copy fetched before, the CPU flavour first.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {string} version
 */
function cachedFolder(env, version) {
  const root = cacheFolder(env)
  const prefix = `libtorch-${version}-`
  const names = existsSync(root) ? readdirSync(root) : []
  return names
    .filter((name) => name.startsWith(prefix))
    .sort((a, b) => Number(b.endsWith('-cpu')) - Number(a.endsWith('-cpu')))
    .map((name) => join(root, name))
    .find((folder) => versionOf(folder) === version)
}

/**
 * Folders of the torch packages of the Pythons on the PATH, found without importing them (seconds).
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function pythonTorchFolders(env) {
  const script =
    'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")'
  return pythons(env)
    .map((program) => output(program, ['-c', script], { env }))
    .filter((folder) => folder !== null && folder !== '')
    .map(String)
}

/**
 * Shared libraries that the libtorch in a folder needs and the system does not find.
 *
 * @param {string} folder
 * @param {(library: string) => string | null} [ldd] what `ldd` prints for a library
 */
export function missingLibraries(folder, ldd = (library) => output('ldd', [library])) {
  if (process.platform !== 'linux') return []
  const missing = new Set()
  for (const name of ['torch_cpu', 'torch_cuda', 'c10_cuda']) {
    const library = join(folder, 'lib', libraryName(name))
    if (!existsSync(library)) continue
    for (const line of (ldd(library) ?? '').split('\n')) {
      const match = /^\s*(\S+) => not found/.exec(line)
      if (match) missing.add(match[1])
    }
  }
  return /** @type {string[]} */ ([...missing].sort())
}

/**
 * A libtorch whose libraries are not all there: one for CUDA does not bring NVIDIA's own.
 *
 * @param {{ folder: string, version: string, origin?: string }} libtorch `origin` is told in place of
 *   the folder
 * @param {(library: string) => string | null} [ldd]
 * @throws SetupError that names them
 */
export function requireLibraries({ folder, version, origin = folder }, ldd) {
  const missing = missingLibraries(folder, ldd).join(', ')
  if (!missing) return
  if (existsSync(join(folder, 'lib', libraryName('torch_cuda'))))
    throw new SetupError(
      `libtorch ${version} (${origin}) is built for CUDA and lacks NVIDIA libraries: ${missing}`,
      `install torch ${version} with pip into the Python on the PATH, which brings them, or set LIBTORCH to a CPU libtorch`,
    )
  throw new SetupError(
    `libtorch ${version} (${origin}) lacks libraries: ${missing}`,
    'install them, or set LIBTORCH to another libtorch folder',
  )
}

/** @param {string} name */
export function libraryName(name) {
  return process.platform === 'darwin' ? `lib${name}.dylib` : `lib${name}.so`
}

/**
 * @param {string} a
 * @param {string} b
 */
export function sameMinor(a, b) {
  const minor = (/** @type {string} */ version) =>
    version.split('.').slice(0, 2).join('.')
  return minor(a) === minor(b)
}
