// @ts-check
// Runs other programs for set-up and says on stderr what is done. Knows none of the programs.

import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * A failure that the user can mend: told by what is wrong and what to do, without a stack.
 */
export class SetupError extends Error {
  /** @override */
  name = 'SetupError'

  /**
   * @param {string} detail what is wrong
   * @param {string} [fix] what to do, where `detail` does not say it
   */
  constructor(detail, fix) {
    super(fix ? `${detail}: ${fix}` : detail)
    this.detail = detail
    this.fix = fix
  }
}

/** @param {string} line */
export function say(line) {
  process.stderr.write(`setup: ${line}\n`)
}

/**
 * The path of a program on the PATH, or null.
 *
 * @param {string} name a bare name, or a path, which is taken as it is
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | null}
 */
export function findProgram(name, env) {
  const candidates = name.includes('/')
    ? [name]
    : (env.PATH ?? '')
        .split(delimiter)
        .filter(Boolean)
        .map((folder) => join(folder, name))
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK)
      if (statSync(candidate).isFile()) return candidate
    } catch {
      // not here: the next folder
    }
  }
  return null
}

/**
 * Runs a program to its end and gives what it printed; null when it failed or is not there.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, input?: string, timeoutMs?: number }} [options]
 * @returns {string | null}
 */
export function output(program, args, { env, input = '', timeoutMs = 30_000 } = {}) {
  const { status, stdout } = spawnSync(program, args, {
    encoding: 'utf8',
    env,
    input,
    timeout: timeoutMs,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  return status === 0 ? stdout.trim() : null
}

/**
 * Runs a program, shows the lines of its output that `show` asks for, and gives all of it.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, show?: (line: string) => boolean }} [options]
 * @returns {Promise<{ ok: boolean, log: string }>}
 */
export function run(program, args, { cwd, env, show = () => false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let log = ''
    let rest = ''
    /** @param {string} text */
    const take = (text) => {
      log += text
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (show(line)) say(`  ${line}`)
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('error', (error) => resolve({ ok: false, log: `${log}${error.message}\n` }))
    child.on('close', (code) => resolve({ ok: code === 0, log }))
  })
}

/**
 * The end of a long log.
 *
 * @param {string} log
 * @param {number} lines
 */
export function tail(log, lines) {
  return log.trimEnd().split('\n').slice(-lines).join('\n')
}
