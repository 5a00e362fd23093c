// @ts-check
// A platform package: the addon and the loader beside it, as CMake installs them.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { sameMinor, versionOf } from '../setup/libtorch.mjs'
import { run, SetupError, tail } from '../setup/process.mjs'
import { checkVersions } from './symbols.mjs'
import { pack, stage } from './tarball.mjs'

/**
 * @param {string} root
 * @param {string} name of the folder in packages/
 * @param {string} target where the tarball goes
 * @param {string} libtorch the folder that it was compiled for
 */
export async function packAddon(root, name, target, libtorch) {
  const { folder, manifest } = stage(root, name)
  const version = String(versionOf(libtorch))
  if (!sameMinor(version, manifest.lopt.libtorch))
    throw new SetupError(
      `${manifest.name} is for libtorch ${manifest.lopt.libtorch}, and the addon was compiled for ${version}`,
    )
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  const args = ['--install', join(root, 'build'), '--prefix', folder, '--strip']
  const installed = await run('cmake', args)
  if (!installed.ok) throw new SetupError(`cmake failed:\n${tail(installed.log, 20)}`)
  if (process.platform === 'linux')
    for (const file of ['lopt.node', 'open.node'])
      checkVersions(join(folder, file), manifest.lopt.glibc)
  return pack(folder, target)
}
