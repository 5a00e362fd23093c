// @ts-check
// A world that a user may have: a folder, an empty home, a PATH without compiler, CMake or Python, the network cut or not. Runs
// programs in it and says what they print.

import { spawn } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram, output } from '../setup/process.mjs'

/** What npm's and other tools' programs start with. */
const PROGRAMS = ['sh', 'env', 'uname', 'sed', 'dirname', 'basename', 'cat', 'ls']

/**
 * @typedef {object} World
 * @property {string} folder the user's project
 * @property {NodeJS.ProcessEnv} env
 * @property {(program: string, args: readonly string[], options?: RunOptions) => Promise<Ended>} run
 *
 * @typedef {object} RunOptions
 * @property {NodeJS.ProcessEnv} [env] beside the world's
 * @property {boolean} [isOffline] without any network but loopback
 * @property {string} [cwd] another folder than the project
 *
 * @typedef {{ code: number | null, printed: string, seconds: number }} Ended
 */

/**
 * @param {string} folder
 * @param {string} [node] the program; the one that runs this unless given
 * @returns {World}
 */
export function createWorld(folder, node = process.execPath) {
  const bin = join(folder, '..', `${folder.slice(folder.lastIndexOf('/') + 1)}-bin`)
  const home = `${bin}-home`
  for (const each of [folder, bin, home]) mkdirSync(each, { recursive: true })
  symlinkSync(node, join(bin, 'node'))
  for (const name of PROGRAMS) {
    const program = findProgram(name, process.env)
    if (program) symlinkSync(program, join(bin, name))
  }
  writeFileSync(
    join(folder, 'package.json'),
    '{"name": "app", "private": true, "type": "module"}',
  )
  const env = { PATH: bin, HOME: home, NO_COLOR: '1', CI: '1' }
  return {
    folder,
    env,
    run: (program, args, options = {}) => {
      const command = options.isOffline ? offline(program, args) : { program, args }
      return spawned(command.program, command.args, {
        cwd: options.cwd ?? folder,
        env: { ...env, ...options.env },
      })
    },
  }
}

const UNSHARE = findProgram('unshare', process.env)
const IP = findProgram('ip', { PATH: `${process.env.PATH}:/usr/sbin:/sbin` })

/** Whether a program can be run without the network here. */
export const canCutNetwork =
  UNSHARE !== null && IP !== null && output(UNSHARE, ['-n', 'true']) !== null

/**
 * In a network namespace of its own, where loopback alone is up.
 *
 * @param {string} program
 * @param {readonly string[]} args
 */
function offline(program, args) {
  if (!canCutNetwork || UNSHARE === null) return { program, args }
  const script = `${IP} link set lo up && exec "$@"`
  return { program: UNSHARE, args: ['-n', 'sh', '-c', script, 'sh', program, ...args] }
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv }} options
 * @returns {Promise<Ended>}
 */
function spawned(program, args, options) {
  const started = performance.now()
  return new Promise((resolve) => {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let printed = ''
    const take = (/** @type {string} */ text) => {
      printed += text
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    const end = (/** @type {number | null} */ code) => {
      const seconds = (performance.now() - started) / 1000
      resolve({ code, printed: printed.trim(), seconds })
    }
    child.on('error', (error) => {
      printed += error.message
      end(null)
    })
    child.on('close', end)
  })
}
