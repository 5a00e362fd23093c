// @ts-check
// Which versions of glibc and libstdc++ a shared library asks for, and whether a system has them.

import { output, SetupError } from '../setup/process.mjs'

/** GCC 8's, the oldest beside glibc 2.28 (RHEL 8); Node 20 asks for the same. */
const LIMITS = { GLIBCXX: '3.4.25', CXXABI: '1.3.11' }

/**
 * The newest version of each that the text of `objdump -p` names as asked for of other libraries.
 *
 * @param {string} text
 * @returns {Record<string, string>} such as `{ GLIBC: '2.14', GLIBCXX: '3.4.22' }`
 */
export function neededVersions(text) {
  /** @type {Record<string, string>} */
  const newest = {}
  const references = text.slice(text.indexOf('Version References:'))
  for (const line of references.split('\n')) {
    const match = /\b(GLIBC|GLIBCXX|CXXABI)_([\d.]+)$/.exec(line)
    const [, name = '', version = ''] = match ?? []
    if (name && isNewer(version, newest[name] ?? '0')) newest[name] = version
  }
  return newest
}

/**
 * @param {string} library
 * @param {string} glibc the newest that it may ask for
 * @returns {Record<string, string>} what it asks for
 * @throws SetupError that names what is too new
 */
export function checkVersions(library, glibc) {
  const text = output('objdump', ['-p', library])
  if (text === null)
    throw new SetupError(`objdump cannot read ${library}`, 'install binutils')
  const needed = neededVersions(text)
  const limits = { GLIBC: glibc, ...LIMITS }
  for (const [name, limit] of Object.entries(limits)) {
    const version = needed[name]
    if (version && isNewer(version, limit))
      throw new SetupError(
        `${library} asks for ${name}_${version}, newer than ${limit}`,
        'see native/old_system.h, or build on an older system',
      )
  }
  return needed
}

/**
 * @param {string} a
 * @param {string} b
 */
function isNewer(a, b) {
  const [own, other] = [a, b].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(own?.length ?? 0, other?.length ?? 0); i++) {
    const difference = (own?.[i] ?? 0) - (other?.[i] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return false
}
