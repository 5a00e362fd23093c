// @ts-check
// Installs the npm packages that package-lock.json names when node_modules differs from it.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, SetupError, say, tail } from './process.mjs'

/**
 * @typedef {{ version?: string, optional?: boolean, devOptional?: boolean }} LockedPackage
 * @typedef {{ packages?: Record<string, LockedPackage> }} Lock
 */

/**
 * Whether what is installed (`node_modules/.package-lock.json`, which npm writes last) is what the
 * lock names. Optional packages are of other platforms and may lack.
 *
 * @param {Lock} lock
 * @param {Lock} installed
 */
export function isInstalled(lock, installed) {
  const present = installed.packages ?? {}
  return Object.entries(lock.packages ?? {}).every(([path, { version, optional }]) => {
    if (path === '') return true
    const found = present[path]
    return found ? found.version === version : optional === true
  })
}

/**
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 */
export async function installPackages(root, env) {
  const lock = join(root, 'package-lock.json')
  const installed = join(root, 'node_modules/.package-lock.json')
  // a package that was itself installed by npm has no lock: npm has installed what it needs
  if (!existsSync(lock)) return
  if (existsSync(installed) && isInstalled(readJson(lock), readJson(installed))) return
  say('installing npm packages')
  // No package needs its install script: addons are prebuilt, the own one is built below.
  const args = ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund']
  await runNpm(args, { cwd: root, env })
}

/**
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv }} options
 */
export async function runNpm(args, options) {
  // the npm that runs this, if it does and is none of its like
  const npm = options.env.npm_execpath
  const result = npm?.endsWith('npm-cli.js')
    ? await run(process.execPath, [npm, ...args], options)
    : await run('npm', args, options)
  if (result.ok) return
  // the first errors say what is wrong, what follows is npm's own help
  const errors = result.log.split('\n').filter((line) => /^npm err(or)?!? \S/i.test(line))
  throw new SetupError(
    `npm ${args[0]} failed:\n${errors.slice(0, 12).join('\n') || tail(result.log, 12)}`,
  )
}

/**
 * @param {string} path
 * @returns {Lock}
 */
function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'))
}
