// @ts-check
// Probes the programs that set-up needs: compiler, CMake, make or ninja, pip. Used by set-up and by
// `lopt doctor`. Knows nothing of libtorch.

import { findProgram, output } from './process.mjs'

/**
 * What a probe found. `fix` says how to mend it, in one line, when `ok` is false.
 *
 * @typedef {{ name: string, ok: boolean, detail: string, fix?: string }} Finding
 */

const MINIMUM_CMAKE = [3, 18]

/**
 * The libraries' and the language's parts of C++20 that libtorch's headers and native/ use.
 */
const CXX20 = '#include <bit>\n#include <compare>\n#include <concepts>\n#include <span>\n'

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Finding}
 */
export function probeCompiler(env) {
  const fix =
    process.platform === 'darwin'
      ? 'install the Xcode command line tools (xcode-select --install)'
      : 'install g++ 11 or newer, or clang++ 14 or newer (Debian, Ubuntu: apt-get install g++)'
  let tooOld = ''
  // CXX and then CMake's own order
  for (const name of [env.CXX, 'c++', 'g++', 'clang++']) {
    const program = name ? findProgram(name, env) : null
    if (!program) continue
    const version = output(program, ['--version'], { env })?.split('\n')[0] ?? program
    const args = ['-std=c++20', '-fsyntax-only', '-x', 'c++', '-']
    if (output(program, args, { env, input: CXX20 }) !== null)
      return { name: 'compiler', ok: true, detail: version }
    tooOld ||= version
  }
  const detail = tooOld
    ? `the C++ compiler has no C++20: ${tooOld}`
    : 'no C++ compiler on the PATH'
  return { name: 'compiler', ok: false, detail, fix }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Finding}
 */
export function probeCMake(env) {
  const minimum = MINIMUM_CMAKE.join('.')
  const fix = `install CMake ${minimum} or newer (Debian, Ubuntu: apt-get install cmake; macOS: brew install cmake)`
  const program = findProgram('cmake', env)
  if (!program) return { name: 'cmake', ok: false, detail: 'no cmake on the PATH', fix }
  const version = /(\d+)\.(\d+)[.\d]*/.exec(output(program, ['--version'], { env }) ?? '')
  if (!version)
    return { name: 'cmake', ok: false, detail: `${program} does not run`, fix }
  if (!atLeast([Number(version[1]), Number(version[2])], MINIMUM_CMAKE))
    return { name: 'cmake', ok: false, detail: `CMake ${version[0]} is too old`, fix }
  return { name: 'cmake', ok: true, detail: `CMake ${version[0]}` }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Finding}
 */
export function probeBuildTool(env) {
  for (const name of ['ninja', 'make']) {
    const program = findProgram(name, env)
    const version = program && output(program, ['--version'], { env })?.split('\n')[0]
    if (version) {
      return {
        name: 'make',
        ok: true,
        detail: name === 'ninja' ? `ninja ${version}` : version,
      }
    }
  }
  return {
    name: 'make',
    ok: false,
    detail: 'neither ninja nor make on the PATH',
    fix: 'install ninja or make (Debian, Ubuntu: apt-get install ninja-build; macOS: brew install ninja)',
  }
}

/**
 * Python programs on the PATH, the usual name first.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function pythons(env) {
  return ['python3', 'python']
    .map((name) => findProgram(name, env))
    .filter((program) => program !== null)
}

/**
 * The Python whose pip can be asked for the torch wheel, or null.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function pythonWithPip(env) {
  const script =
    'import pip, sys, zipfile; print(pip.__version__, sys.version.split()[0])'
  for (const program of pythons(env)) {
    const versions = output(program, ['-c', script], { env })?.split(' ')
    if (versions) return { program, pip: versions[0] ?? '', python: versions[1] ?? '' }
  }
  return null
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Finding}
 */
export function probePip(env) {
  const found = pythonWithPip(env)
  if (found)
    return { name: 'pip', ok: true, detail: `pip ${found.pip} of Python ${found.python}` }
  return {
    name: 'pip',
    ok: false,
    detail: pythons(env).length ? 'Python has no pip' : 'no Python on the PATH',
    fix: 'install Python 3 with pip (Debian, Ubuntu: apt-get install python3-pip), or set LIBTORCH to a libtorch folder',
  }
}

/**
 * @param {readonly number[]} version
 * @param {readonly number[]} minimum
 */
function atLeast(version, minimum) {
  for (const [i, part] of minimum.entries()) {
    const own = version[i] ?? 0
    if (own !== part) return own > part
  }
  return true
}
