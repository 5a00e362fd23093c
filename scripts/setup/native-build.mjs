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
import { dirname, join } from 'node:path'
import { hashInputs, isFresh, writeStamp } from './inputs.mjs'
import { run, SetupError, say, tail } from './process.mjs'

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
  const facts = nativeFacts(root, libtorch)
  const hash = hashInputs(root, ['native', 'CMakeLists.txt'], facts)
  const addon = join(build, 'Release/lopt.node')
  if (existsSync(addon) && isFresh(stamp, hash)) return
  mkdirSync(build, { recursive: true })
  rmSync(stamp, { force: true })
  dropForeignCache(build, root)

  const jobs = Math.max(
    1,
    Math.min(availableParallelism(), Math.floor(totalmem() / COMPILER_BYTES)),
  )
  say(
    `compiling the addon for libtorch ${libtorch.version} (the first time takes minutes)`,
  )
  const cmakeJs = join(packageFolder(root, 'cmake-js'), 'bin/cmake-js')
  const args = [
    '-d',
    root,
    '-O',
    build,
    '-p',
    String(jobs),
    `--CDLIBTORCH_DIR=${facts.folder}`,
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
 * @param {string} root
 * @param {{ folder: string, version: string }} libtorch
 */
function nativeFacts(root, { folder, version }) {
  /** @param {string} name */
  const installed = (name) => {
    const path = join(packageFolder(root, name), 'package.json')
    return JSON.parse(readFileSync(path, 'utf8')).version
  }
  return {
    folder: realpathSync(folder),
    version,
    platform: `${process.platform}-${process.arch}`,
    nodeAddonApi: installed('node-addon-api'),
    nodeApiHeaders: installed('node-api-headers'),
  }
}

/**
 * Where npm has put a package: beside lopt when lopt is itself installed in a project.
 *
 * @param {string} root
 * @param {string} name
 */
function packageFolder(root, name) {
  for (let folder = root; ; folder = dirname(folder)) {
    const found = join(folder, 'node_modules', name)
    if (existsSync(join(found, 'package.json'))) return found
    if (folder === dirname(folder))
      throw new SetupError(`the npm package ${name} is missing`, 'run `npm install`')
  }
}

/**
 * CMake refuses a cache made for another folder, as a copied clone has.
 *
 * @param {string} build
 * @param {string} root
 */
function dropForeignCache(build, root) {
  const cache = join(build, 'CMakeCache.txt')
  if (!existsSync(cache)) return
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(
    readFileSync(cache, 'utf8'),
  )?.[1]
  if (home === root || home === realpathSync(root)) return
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
