// @ts-check
// Makes a package's folder from its manifest in packages/, and a tarball of a folder. Knows nothing of what is in them.

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { output, SetupError } from '../setup/process.mjs'

/**
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} version
 * @property {boolean} [private]
 * @property {Record<string, string>} [dependencies]
 * @property {{ libtorch: string, glibc: string }} lopt
 *
 * @typedef {object} Tarball
 * @property {string} name
 * @property {string} version
 * @property {string} file
 * @property {number} packedBytes
 * @property {number} unpackedBytes
 */

/**
 * A new folder with what packages/ has of a package.
 *
 * @param {string} root
 * @param {string} name of the folder in packages/
 * @returns {{ folder: string, manifest: Manifest }}
 */
export function stage(root, name) {
  const source = join(root, 'packages', name)
  if (!existsSync(source))
    throw new SetupError(
      `there is no platform package ${name}`,
      'packages/README.md has those that are',
    )
  const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'))
  if (manifest.private)
    throw new SetupError(
      `${manifest.name} is not built yet`,
      `packages/${name}/README.md says what it lacks`,
    )
  const folder = join(root, 'build/staging', name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  cpSync(source, folder, { recursive: true })
  return { folder, manifest }
}

/**
 * @param {string} folder
 * @param {string} target where the tarball goes
 * @returns {Tarball}
 */
export function pack(folder, target) {
  mkdirSync(target, { recursive: true })
  const args = [
    'pack',
    folder,
    '--json',
    '--ignore-scripts',
    '--pack-destination',
    target,
  ]
  // hundreds of megabytes are compressed in half a minute
  const printed = output('npm', args, { timeoutMs: 600_000 })
  if (printed === null) throw new Error(`npm pack failed in ${folder}`)
  const [{ name, version, filename, unpackedSize }] = Object.values(JSON.parse(printed))
  const file = join(target, filename)
  return {
    name,
    version,
    file,
    packedBytes: statSync(file).size,
    unpackedBytes: unpackedSize,
  }
}
