// @ts-check
// Installs lopt with each package manager, does there what a user would, and weighs what came.

import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { MANAGERS } from '../managers.mjs'
import { fetched, newWorld, npmProgram } from '../projects.mjs'

/**
 * @typedef {import('../projects.mjs').Place} Place
 * @typedef {import('../world.mjs').World} World
 */

/** @param {Place} place */
export async function managers(place) {
  for (const manager of MANAGERS) {
    const { name, source } = manager
    const program = source === '' ? npmProgram() : fetched(place, source, manager.program)
    const world = newWorld(place, name)
    manager.configure(world.folder, place.registry.url)
    const isScript = !program.endsWith('/bun')
    const run = isScript ? [process.execPath, program] : [program]
    const [first = '', ...args] = [...run, ...manager.add, 'lopt', '@types/node@20']
    place.report.check(`${name}: install`, await world.run(first, args), /lopt|added/)
    const { bytes, packages } = size(join(world.folder, 'node_modules'))
    place.report.note(`       ${(bytes / 1e6).toFixed(0)} MB, ${packages} packages`)
    await use(place, world, name)
    await types(place, world, name)
  }
}

/**
 * @param {Place} place
 * @param {World} world
 * @param {string} name
 */
async function use({ report }, world, name) {
  const offline = { isOffline: true }
  const lopt = join(world.folder, 'node_modules/.bin/lopt')
  const doctor = await world.run(lopt, ['doctor'], offline)
  report.check(`${name}: lopt doctor`, doctor, /@lopt\/linux-x64 \S+ \(.*lopt is ready$/s)
  const example = await world.run('node', ['example.mjs'], offline)
  report.check(`${name}: the README's example`, example, /^accuracy 0\.\d+/)
  const served = await world.run('node', ['serve.mjs'], offline)
  report.check(`${name}: lopt serve, and a request`, served, /^label [a-z]+$/)
  const required = await world.run('node', ['required.cjs'], offline)
  report.check(`${name}: CommonJS, a worker thread`, required, /^shapes 2,3 2,3$/)
}

/**
 * @param {Place} place
 * @param {World} world
 * @param {string} name
 */
async function types({ root, report }, world, name) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const common = [
    'typed.ts',
    '--strict',
    '--noEmit',
    '--target',
    'es2022',
    '--types',
    'node',
  ]
  for (const [resolution, module] of [
    ['nodenext', 'nodenext'],
    ['bundler', 'esnext'],
  ]) {
    const args = [
      tsc,
      ...common,
      '--module',
      String(module),
      '--moduleResolution',
      String(resolution),
    ]
    report.check(
      `${name}: tsc --strict, ${resolution}`,
      await world.run('node', args),
      /^$/,
    )
  }
}

/**
 * Bytes of a folder's files, each counted once, and packages in it.
 *
 * @param {string} folder
 */
function size(folder) {
  const seen = new Set()
  let bytes = 0
  let packages = 0
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const { ino, size } = statSync(path)
    if (entry.name === 'package.json' && isPackage(dirname(path))) packages++
    if (seen.has(ino)) continue
    seen.add(ino)
    bytes += size
  }
  return { bytes, packages }
}

/** @param {string} folder */
function isPackage(folder) {
  return /node_modules\/(@[^/]+\/)?[^/]+$/.test(folder)
}
