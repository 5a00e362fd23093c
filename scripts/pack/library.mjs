// @ts-check
// The package lopt itself: as npm packs the clone, with the platform packages of its version as optional dependencies. They are not
// in the clone's package.json, where npm would fetch them beside what is compiled there.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { output, SetupError } from '../setup/process.mjs'
import { pack } from './tarball.mjs'

/**
 * @param {string} root
 * @param {readonly string[]} platforms folders in packages/
 * @param {string} target where the tarball goes
 */
export async function packLibrary(root, platforms, target) {
  const staging = join(root, 'build/staging/lopt')
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { recursive: true })
  const { file } = pack(root, staging)
  if (output('tar', ['-xzf', file, '-C', staging]) === null)
    throw new Error(`tar cannot read ${file}`)
  const folder = join(staging, 'package')
  const path = join(folder, 'package.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8'))
  const optionalDependencies = Object.fromEntries(
    platforms.map((platform) => optionalDependency(root, platform, manifest.version)),
  )
  const published = { ...manifest, scripts: undefined, optionalDependencies }
  writeFileSync(path, `${JSON.stringify(published, null, 2)}\n`)
  return pack(folder, target)
}

/**
 * @param {string} root
 * @param {string} platform
 * @param {string} wanted
 * @returns {[name: string, version: string]}
 */
function optionalDependency(root, platform, wanted) {
  const path = join(root, 'packages', platform, 'package.json')
  const { name, version } = JSON.parse(readFileSync(path, 'utf8'))
  if (version !== wanted)
    throw new SetupError(
      `${name} has version ${version}, and lopt ${wanted}`,
      `correct ${path}`,
    )
  return [name, version]
}
