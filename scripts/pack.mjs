// @ts-check
// `npm run pack:platform`: tarballs of lopt and of its platform packages in build/packages/, of what this clone was built for. Run it
// after `npm run setup`.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packAddon } from './pack/addon.mjs'
import { packLibrary } from './pack/library.mjs'
import { packLibtorch } from './pack/libtorch.mjs'
import { buildBundle } from './setup/bundle.mjs'
import { libraryName } from './setup/libtorch.mjs'
import { SetupError } from './setup/process.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

try {
  for (const tarball of await packAll()) {
    const { name, version, file, packedBytes, unpackedBytes } = tarball
    const megabytes = [packedBytes, unpackedBytes].map((bytes) =>
      (bytes / 1e6).toFixed(1),
    )
    console.log(
      `${name} ${version}: ${megabytes.join(' MB packed, ')} MB unpacked: ${file}`,
    )
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`pack: ${error.message}`)
  process.exitCode = 1
}

async function packAll() {
  const libtorch = linkedLibtorch()
  const target = join(root, 'build/packages')
  const platform = `${process.platform}-${process.arch}`
  if (existsSync(join(libtorch, 'lib', libraryName('torch_cuda'))))
    return [await packAddon(root, `${platform}-cuda13`, target, libtorch)]
  rmSync(target, { recursive: true, force: true })
  // made anew: one that was there may hold what earlier bundles left
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  await buildBundle(root, process.env)
  return [
    await packAddon(root, platform, target, libtorch),
    await packLibtorch(root, `libtorch-cpu-${platform}`, target, libtorch),
    await packLibrary(root, [platform], target),
  ]
}

/** The folder of the libtorch that the clone's addon was compiled for. */
function linkedLibtorch() {
  const cache = join(root, 'build/CMakeCache.txt')
  const text = existsSync(cache) ? readFileSync(cache, 'utf8') : ''
  const folder = /^LIBTORCH_DIR:PATH=(.+)$/m.exec(text)?.[1]
  if (!folder || !existsSync(join(root, 'build/Release/lopt.node')))
    throw new SetupError('there is no addon to pack', 'run `npm run setup`')
  return folder
}
