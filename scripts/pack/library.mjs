// @ts-check
// The package lopt itself: as npm packs the clone, with the platform packages of its version as optional dependencies, and the one
// for CUDA as an optional peer, which is nobody's to fetch, but where it is installed every package manager lets lopt see it. They
// are not in the clone's package.json, where npm would fetch them beside what is compiled there.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
  const ofVersion = (/** @type {readonly string[]} */ names) =>
    names.map((name) => platformPackage(root, name, manifest.version))
  const peers = ofVersion(
    platforms
      .map((platform) => `${platform}-cuda13`)
      .filter((name) => existsSync(join(root, 'packages', name))),
  )
  const published = {
    ...manifest,
    scripts: undefined,
    optionalDependencies: Object.fromEntries(ofVersion(platforms)),
    peerDependencies: { ...manifest.peerDependencies, ...Object.fromEntries(peers) },
    peerDependenciesMeta: {
      ...manifest.peerDependenciesMeta,
      ...Object.fromEntries(peers.map(([name]) => [name, { optional: true }])),
    },
  }
  writeFileSync(path, `${JSON.stringify(published, null, 2)}\n`)
  return pack(folder, target)
}

/**
 * @param {string} root
 * @param {string} platform
 * @param {string} wanted
 * @returns {[name: string, version: string]}
 */
function platformPackage(root, platform, wanted) {
  const path = join(root, 'packages', platform, 'package.json')
  const { name, version } = JSON.parse(readFileSync(path, 'utf8'))
  if (version !== wanted)
    throw new SetupError(
      `${name} has version ${version}, and lopt ${wanted}`,
      `correct ${path}`,
    )
  return [name, version]
}
