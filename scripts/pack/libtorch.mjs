// @ts-check
// The package of libtorch's libraries: those that the addon needs, stripped, with all licences.

import { cpSync, existsSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { versionOf } from '../setup/libtorch.mjs'
import { output, SetupError } from '../setup/process.mjs'
import { checkVersions } from './symbols.mjs'
import { pack, stage } from './tarball.mjs'

/** `libtorch.so` has nothing in it and the addon does not ask for it. */
const LIBRARIES = ['libtorch_cpu.so', 'libc10.so', 'libgomp.so.1']

/**
 * @param {string} root
 * @param {string} name of the folder in packages/
 * @param {string} target where the tarball goes
 * @param {string} libtorch its folder
 */
export async function packLibtorch(root, name, target, libtorch) {
  const { folder, manifest } = stage(root, name)
  if (versionOf(libtorch) !== manifest.lopt.libtorch)
    throw new SetupError(
      `${manifest.name} is of libtorch ${manifest.lopt.libtorch}, and ${libtorch} has ${versionOf(libtorch)}`,
    )
  cpSync(licenses(libtorch), join(folder, 'licenses/torch'), { recursive: true })
  for (const library of LIBRARIES) {
    const path = join(folder, library)
    cpSync(join(libtorch, 'lib', library), path)
    if (output('strip', ['--strip-unneeded', path]) === null)
      throw new SetupError(`${path} could not be stripped`, 'install binutils')
    checkVersions(path, manifest.lopt.glibc)
  }
  return pack(folder, target)
}

/**
 * Where the wheel's licences are: in the folder that set-up has fetched, or beside a Python's torch.
 *
 * @param {string} libtorch
 */
function licenses(libtorch) {
  const parent = dirname(libtorch)
  const beside =
    basename(libtorch) === 'torch'
      ? readdirSync(parent).filter((name) => /^torch-.*\.dist-info$/.test(name))
      : []
  const folders = [libtorch, ...beside.map((name) => join(parent, name))]
  const found = folders
    .map((folder) => join(folder, 'licenses'))
    .find((folder) => existsSync(join(folder, 'LICENSE')))
  if (!found)
    throw new SetupError(
      `${libtorch} has no licences`,
      'remove it, so that set-up fetches it with them',
    )
  return found
}
