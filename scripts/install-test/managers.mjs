// @ts-check
// The package managers that lopt is installed with, each with scripts off, and how each is told of the registry.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @typedef {object} Manager
 * @property {string} name
 * @property {string} source the npm package that brings it; npm itself is there
 * @property {string} program its file in that package
 * @property {(folder: string, url: string) => void} configure
 * @property {readonly string[]} add the command that installs what is named behind it
 */

/** @type {readonly Manager[]} */
export const MANAGERS = [
  {
    name: 'npm',
    source: '',
    program: '',
    configure: npmrc,
    add: ['install', '--ignore-scripts', '--no-audit', '--no-fund'],
  },
  {
    name: 'pnpm',
    source: 'pnpm@10',
    program: 'bin/pnpm.cjs',
    configure: npmrc,
    add: ['add', '--ignore-scripts'],
  },
  {
    name: 'yarn',
    source: '@yarnpkg/cli-dist@4',
    program: 'bin/yarn.js',
    configure: (folder, url) => {
      const settings = {
        npmRegistryServer: url,
        unsafeHttpWhitelist: ['127.0.0.1'],
        nodeLinker: 'node-modules',
        enableScripts: false,
        enableGlobalCache: false,
        // what was published a moment ago is installed
        npmMinimalAgeGate: 0,
        enableTelemetry: false,
      }
      writeFileSync(join(folder, '.yarnrc.yml'), JSON.stringify(settings))
      writeFileSync(join(folder, 'yarn.lock'), '')
    },
    add: ['add'],
  },
  {
    name: 'bun',
    // the package `bun` fetches this one by a script
    source: '@oven/bun-linux-x64@1',
    program: 'bin/bun',
    configure: npmrc,
    add: ['add', '--ignore-scripts'],
  },
]

/**
 * @param {string} folder
 * @param {string} url
 */
function npmrc(folder, url) {
  writeFileSync(join(folder, '.npmrc'), `registry=${url}\n`)
}
