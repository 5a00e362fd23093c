// @ts-check
// One built addon on each Node.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { nodeProgram, npmWorld } from '../projects.mjs'
import { createWorld } from '../world.mjs'

/**
 * @typedef {import('../projects.mjs').Place} Place
 * @typedef {import('../world.mjs').World} World
 */

/** Versions of the npm package that brings a Node. */
const NODES = ['20', '22', '24', '26']

/** @param {Place} place */
export async function nodes(place) {
  const installed = await npmWorld(place, 'nodes')
  for (const version of NODES) {
    const program = nodeProgram(place, version)
    const world = createWorld(join(place.temporary, `node-${version}`), program)
    cpSync(installed.folder, world.folder, { recursive: true })
    const offline = { isOffline: true }
    place.report.check(
      `Node ${version}: the README's example`,
      await world.run('node', ['example.mjs'], offline),
      /accuracy 0\.\d+$/,
    )
    place.report.check(
      `Node ${version}: test/torch of the clone`,
      await unitTests(place, world, program),
      /(?<=Tests +)\d+ passed.*/,
      { isTold: true },
    )
    // types are stripped without a flag from 22.18 on
    if (version === '20') continue
    place.report.check(
      `Node ${version}: TypeScript without a build`,
      await world.run('node', ['typed.ts'], offline),
      /typed 2,3 function function object$/,
    )
  }
}

/**
 * On the clone's own build.
 *
 * @param {Place} place
 * @param {World} world
 * @param {string} node
 */
function unitTests({ root }, world, node) {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const env = { ...process.env, NO_COLOR: '1' }
  return world.run(node, [vitest, 'run', 'test/torch'], { cwd: root, env })
}
