// @ts-check
// Compiles the addon with cmake-js against a given libtorch. Knows not where libtorch came from.

import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { buildPackages } from './build-packages.mjs'
import { hashInputs, isFresh, writeStamp } from './inputs.mjs'
import { findProgram, run, SetupError, say, tail } from './process.mjs'

/** libtorch's headers take this much memory in one compiler process (measured: 1.6 GB). */
const COMPILER_BYTES = 2e9

/**
 * Builds build/Release/lopt.node unless it was built from the same inputs.
 *
 * @param {string} root
 * @param {{ folder: string, version: string }} libtorch
 * @param {NodeJS.ProcessEnv} env
 */
export async function buildNative(root, libtorch, env) {
  const build = join(root, 'build')
  const stamp = join(build, 'native-inputs.sha256')
  const packages = await buildPackages(root, env)
  const facts = nativeFacts(libtorch, packages)
  const hash = hashInputs(root, ['native', 'CMakeLists.txt'], facts)
  const addon = join(build, 'Release/lopt.node')
  if (existsSync(addon) && isFresh(stamp, hash)) return
  mkdirSync(build, { recursive: true })
  rmSync(stamp, { force: true })
  const generator = findProgram('ninja', env) ? 'Ninja' : 'Unix Makefiles'
  dropForeignCache(build, root, generator)

  const jobs = Math.max(
    1,
    Math.min(availableParallelism(), Math.floor(totalmem() / COMPILER_BYTES)),
  )
  say(
    `compiling the addon for libtorch ${libtorch.version} (the first time takes minutes)`,
  )
  const headers = [
    join(packages['node-api-headers'].folder, 'include'),
    packages['node-addon-api'].folder,
  ]
  const cmakeJs = join(packages['cmake-js'].folder, 'bin/cmake-js')
  const args = [
    ...['-d', root, '-O', build, '-G', generator, '-p', String(jobs)],
    `--CDLIBTORCH_DIR=${facts.folder}`,
    `--CDNODE_API_INCLUDE=${headers.join(';')}`,
  ]
  let log = ''
  // cmake-js's `build` alone does not configure again after a configuration that failed
  for (const command of ['configure', 'build']) {
    const result = await run(process.execPath, [cmakeJs, command, ...args], {
      cwd: root,
      env,
      show: isProgress,
    })
    log += result.log
    writeFileSync(join(build, 'native-build.log'), log)
    if (!result.ok)
      throw new SetupError(
        `the addon did not compile (its whole log: build/native-build.log):\n${tail(errors(log), 60)}`,
      )
  }
  writeStamp(stamp, hash)
}

/**
 * What the addon depends on beside its sources.
 *
 * @param {{ folder: string, version: string }} libtorch
 * @param {import('./build-packages.mjs').BuildPackages} packages
 */
function nativeFacts({ folder, version }, packages) {
  return {
    folder: realpathSync(folder),
    version,
    platform: `${process.platform}-${process.arch}`,
    nodeAddonApi: packages['node-addon-api'].version,
    nodeApiHeaders: packages['node-api-headers'].version,
  }
}

/**
 * CMake refuses a cache made for another folder, as a copied clone has, or by another generator.
 *
 * @param {string} build
 * @param {string} root
 * @param {string} generator
 */
function dropForeignCache(build, root, generator) {
  const cache = join(build, 'CMakeCache.txt')
  if (!existsSync(cache)) return
  const text = readFileSync(cache, 'utf8')
  /** @param {string} name */
  const cached = (name) => new RegExp(`^${name}:INTERNAL=(.*)$`, 'm').exec(text)?.[1]
  const home = cached('CMAKE_HOME_DIRECTORY')
  const isOwn = home === root || home === realpathSync(root)
  if (isOwn && cached('CMAKE_GENERATOR') === generator) return
  rmSync(cache)
  rmSync(join(build, 'CMakeFiles'), { recursive: true, force: true })
}

/** @param {string} line */
function isProgress(line) {
  return (
    /^\[\s*\d+(\/\d+|%)\] (Building|Linking|Built)/.test(line) ||
    /native\/\S+ warning: /.test(line)
  )
}

/**
 * From the first error on: what follows is often noise, what precedes always.
 *
 * @param {string} log
 */
function errors(log) {
  const lines = log.split('\n')
  const first = lines.findIndex((line) => /\berror: |CMake Error|FAILED/i.test(line))
  return first < 0 ? log : lines.slice(first, first + 60).join('\n')
}
