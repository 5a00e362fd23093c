// @ts-check
// Finds the headers of Node-API that the addon is compiled with, or fetches them: they are two npm packages, which a server
// that compiles nothing does without.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cacheFolder } from './libtorch.mjs'
import { runNpm } from './packages.mjs'
import { say } from './process.mjs'

/** Package, folder of its headers in it. */
const PACKAGES = [
  ['node-api-headers', 'include'],
  ['node-addon-api', '.'],
]

/**
 * @typedef {{ name: string, version: string, folder: string }} Headers
 */

/**
 * Those beside the package, as a clone has them, else a copy in the cache folder.
 *
 * @param {string} root the package's folder
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Headers[]>}
 */
export async function nodeApiHeaders(root, env) {
  const near = headersIn(root)
  if (near) return near
  const wanted = wantedPackages(root)
  const folder = join(
    cacheFolder(env),
    ['headers', ...wanted].join('-').replace(/[^\w.-]/g, ''),
  )
  const cached = headersIn(folder)
  if (cached) return cached
  say(`fetching ${wanted.join(' and ')} into ${folder}`)
  mkdirSync(folder, { recursive: true })
  const args = ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
  await runNpm([...args, '--prefix', folder, ...wanted], { cwd: folder, env })
  const fetched = headersIn(folder)
  if (!fetched) throw new Error(`npm left no headers in ${folder}`)
  return fetched
}

/**
 * Names with versions as package.json asks for them.
 *
 * @param {string} root
 */
function wantedPackages(root) {
  const path = join(root, 'package.json')
  const { devDependencies } = JSON.parse(readFileSync(path, 'utf8'))
  return PACKAGES.map(([name = '']) => `${name}@${devDependencies[name]}`)
}

/**
 * All of them in the folder's own node_modules or those above it, or null.
 *
 * @param {string} start
 * @returns {Headers[] | null}
 */
function headersIn(start) {
  const found = PACKAGES.map(([name = '', include = '']) => {
    for (let folder = start; ; folder = dirname(folder)) {
      const path = join(folder, 'node_modules', name)
      const manifest = join(path, 'package.json')
      if (existsSync(manifest)) {
        const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
        return { name, version, folder: join(path, include) }
      }
      if (folder === dirname(folder)) return null
    }
  })
  return found.every((each) => each !== null) ? found : null
}
