// @ts-check
// A registry on the loopback address that has lopt's own tarballs, and everything else from the registry that npm is set to.

import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** The last that runs on Node 20. */
const VERDACCIO = 'verdaccio@6.8.0'

/**
 * @typedef {{ url: string, npmrc: string, stop: () => void }} Registry
 */

/**
 * @param {string} folder of its own
 * @param {readonly string[]} tarballs published to it, in this order
 * @returns {Promise<Registry>}
 */
export async function startRegistry(folder, tarballs) {
  mkdirSync(folder, { recursive: true })
  // it asks for a distribution tag that not every registry has
  const overrides = { 'node-fetch': '2.7.0' }
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ private: true, overrides }),
  )
  npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', VERDACCIO], folder)
  const port = await freePort()
  writeFileSync(join(folder, 'config.yaml'), configuration(folder))
  const log = openSync(join(folder, 'verdaccio.log'), 'w')
  const program = join(folder, 'node_modules/verdaccio/bin/verdaccio')
  const args = [
    program,
    '--config',
    join(folder, 'config.yaml'),
    '--listen',
    `127.0.0.1:${port}`,
  ]
  const server = spawn(process.execPath, args, { stdio: ['ignore', log, log] })
  const stop = () => server.kill()
  process.once('exit', stop)
  const url = `http://127.0.0.1:${port}/`
  await answers(url, server)
  const npmrc = join(folder, 'npmrc')
  writeFileSync(npmrc, `registry=${url}\n//127.0.0.1:${port}/:_authToken=anyone\n`)
  for (const tarball of tarballs) {
    // npm takes libtorch's version for a prerelease, which must be told a tag
    npm(
      ['publish', tarball, '--tag', 'latest', '--userconfig', npmrc, '--registry', url],
      folder,
    )
  }
  return { url, npmrc, stop }
}

/** @param {string} folder */
function configuration(folder) {
  const setting = (/** @type {string} */ name) =>
    spawnSync('npm', ['config', 'get', name], { encoding: 'utf8' }).stdout.trim()
  const certificates = setting('cafile')
  const uplink = {
    url: setting('registry'),
    ...(certificates === 'null' ? {} : { ca: readFileSync(certificates, 'utf8') }),
  }
  const own = { access: '$all', publish: '$all' }
  return JSON.stringify({
    storage: join(folder, 'storage'),
    uplinks: { upstream: uplink },
    packages: { lopt: own, '@lopt/*': own, '**': { access: '$all', proxy: 'upstream' } },
    // libtorch as JSON
    max_body_size: '400mb',
    log: { type: 'stdout', format: 'pretty', level: 'warn' },
  })
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

/**
 * @param {string} url
 * @param {import('node:child_process').ChildProcess} server
 */
async function answers(url, server) {
  for (let i = 0; i < 120; i++) {
    if (server.exitCode !== null) break
    const answer = await fetch(`${url}-/ping`).catch(() => undefined)
    if (answer?.ok) return
    await delay(250)
  }
  throw new Error('Verdaccio does not answer: see verdaccio.log')
}

/**
 * @param {readonly string[]} args
 * @param {string} cwd
 */
export function npm(args, cwd) {
  const { status, stdout, stderr } = spawnSync('npm', args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1e8,
  })
  if (status !== 0) throw new Error(`npm ${args[0]} failed:\n${stdout}${stderr}`)
}
