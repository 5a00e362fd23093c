// @ts-check
// Where no platform package is: `npx lopt build` compiles an addon in what npm has installed, with the compiler, CMake and libtorch
// of this machine. Takes minutes.

import { locateLibtorch } from '../../setup/libtorch.mjs'
import { npmProgram, npmWorld } from '../projects.mjs'

/** @typedef {import('../projects.mjs').Place} Place */

/** @param {Place} place */
export async function build(place) {
  const { report } = place
  const world = await npmWorld(place, 'build', ['--omit=optional'])
  const lopt = [npmProgram(), 'exec', '--', 'lopt']
  const { PATH } = process.env
  // fetched where this machine has none
  const LIBTORCH = locateLibtorch(process.env)?.folder
  const env = { PATH, ...(LIBTORCH && { LIBTORCH }) }
  report.check(
    'npx lopt build',
    await world.run('node', [...lopt, 'build'], { env }),
    /compiling the addon for libtorch/,
  )
  report.check(
    'npx lopt build once more: nothing to do',
    await world.run('node', [...lopt, 'build'], { env }),
    /^$/,
  )
  report.check(
    "npx lopt doctor names the package's own build",
    await world.run('node', [...lopt, 'doctor']),
    /its own build \(it comes before packages\).*lopt is ready$/s,
  )
  report.check(
    "the README's example with it",
    await world.run('node', ['example.mjs'], { isOffline: true }),
    /^accuracy 0\.\d+/,
  )
}
