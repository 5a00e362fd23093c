// @ts-check
// Finds the npm packages that the addon is compiled with, or fetches them: a server that compiles nothing does without.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cacheFolder } from './libtorch.mjs'
import { runNpm } from './packages.mjs'
import { say } from './process.mjs'

const PACKAGES = /** @type {const} */ (['cmake-js', 'node-api-headers', 'node-addon-api'])

/**
 * By name, each with its version and folder.
 *
 * @typedef {Record<typeof PACKAGES[number], { version: string, folder: string }>} BuildPackages
 */

/**
 * Those beside the package, as a clone has them, else a copy in the cache folder.
 *
 * @param {string} root the package's folder
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<BuildPackages>}
 */
export async function buildPackages(root, env) {
  const near = packagesIn(root)
  if (near) return near
  const wanted = wantedPackages(root)
  const folder = join(
    cacheFolder(env),
    ['build', ...wanted].join('-').replace(/[^\w.-]/g, ''),
  )
  const cached = packagesIn(folder)
  if (cached) return cached
  say(`fetching ${wanted.join(', ')} into ${folder}`)
  mkdirSync(folder, { recursive: true })
  const args = ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
  await runNpm([...args, '--prefix', folder, ...wanted], { cwd: folder, env })
  const fetched = packagesIn(folder)
  if (!fetched) throw new Error(`npm left ${wanted.join(', ')} not in ${folder}`)
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
  return PACKAGES.map((name) => `${name}@${devDependencies[name]}`)
}

/**
 * All of them in the folder's own node_modules or those above it, or null.
 *
 * @param {string} start
 * @returns {BuildPackages | null}
 */
function packagesIn(start) {
  const found = PACKAGES.map((name) => {
    for (let folder = start; ; folder = dirname(folder)) {
      const path = join(folder, 'node_modules', name)
      const manifest = join(path, 'package.json')
      if (existsSync(manifest)) {
        const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
        return [name, { version, folder: path }]
      }
      if (folder === dirname(folder)) return null
    }
  })
  if (found.includes(null)) return null
  return /** @type {BuildPackages} */ (Object.fromEntries(/** @type {any} */ (found)))
}
