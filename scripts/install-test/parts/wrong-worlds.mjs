// @ts-check
// Worlds where something lacks or does not fit: each gets a line that says what to do.

import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { locateLibtorch } from '../../setup/libtorch.mjs'
import { MANAGERS } from '../managers.mjs'
import { copyApp, fetched, newWorld, nodeProgram, npmWorld } from '../projects.mjs'
import { createWorld } from '../world.mjs'

/** @typedef {import('../projects.mjs').Place} Place */

const CUDA = '@lopt/linux-x64-cuda13'
/** Loads the addon. */
const USE = ['-e', "require('lopt/torch').ones([1])"]
const LACKS_LIBTORCH =
  /it needs libtorch 2\.14\.1 for CUDA 13\n.*\n- pip install torch==2\.14\.1, or set LOPT_LIBTORCH/

/** @param {Place} place */
export async function wrongWorlds(place) {
  const { report } = place
  const omitted = await npmWorld(place, 'omitted', ['--omit=optional'])
  report.check(
    'without optional packages',
    await omitted.run('node', USE),
    /- @lopt\/linux-x64: it is not installed[\s\S]*- npm install @lopt\/linux-x64@\S+, or run `npx lopt build`/,
    { isFailure: true },
  )
  report.check(
    'without optional packages: lopt doctor',
    await omitted.run(join(omitted.folder, 'node_modules/.bin/lopt'), ['doctor']),
    /MISSING {2}addon +@lopt\/linux-x64: it is not installed/,
    { isFailure: true },
  )
  const other = await npmWorld(place, 'other')
  await other.run('node', ['example.mjs'])
  const toPage = ['report', 'runs/topics', '--out', 'page.html']
  report.check(
    'a report without vega',
    await other.run(join(other.folder, 'node_modules/.bin/lopt'), toPage),
    /lopt: ERR_UNSUPPORTED: .* npm install vega@6 vega-lite@6/,
    { isFailure: true },
  )
  const manifest = join(other.folder, 'node_modules/@lopt/linux-x64/package.json')
  const content = JSON.parse(readFileSync(manifest, 'utf8'))
  writeFileSync(manifest, JSON.stringify({ ...content, version: '9.9.9' }))
  report.check(
    'a package of another version',
    await other.run('node', USE),
    /version 9\.9\.9 is installed, and lopt is \S+/,
    { isFailure: true },
  )
  const old = createWorld(join(place.temporary, 'old'), nodeProgram(place, '18'))
  copyApp(place, old)
  cpSync(join(other.folder, 'node_modules'), join(old.folder, 'node_modules'), {
    recursive: true,
  })
  report.check(
    'Node 18',
    await old.run('node', USE),
    /Node 18\.\S+ is too old: install Node 20\.17 or newer/,
    { isFailure: true },
  )
  await cudaWorlds(place)
}

/**
 * The package for CUDA, where it was packed: without a libtorch for it, with one of another minor version, and in a workspace of
 * pnpm, where it lies in the folder of the project that asked for it. `LOPT_TEST_CUDA_LIBTORCH` is one that fits.
 *
 * @param {Place} place
 */
async function cudaWorlds(place) {
  const { packed, report } = place
  if (!packed.some((name) => name.startsWith('lopt-linux-x64-cuda13-'))) {
    report.note('       the package for CUDA was not packed, and is not tried')
    return
  }
  const world = await npmWorld(place, 'cuda', [CUDA])
  const cuda = { LOPT_FLAVOUR: 'cuda13' }
  report.check(
    'the package for CUDA without a libtorch',
    await world.run('node', USE, { env: cuda }),
    LACKS_LIBTORCH,
    { isFailure: true },
  )
  const other = locateLibtorch(process.env)?.folder
  if (other !== undefined)
    report.check(
      'the package for CUDA with another libtorch',
      await world.run('node', USE, { env: { ...cuda, LOPT_LIBTORCH: other } }),
      /it needs libtorch 2\.14\.1 for CUDA 13; libtorch 2\.13\.\d+ is in \S+\n.*\n- pip install torch==2\.14\.1/,
      { isFailure: true },
    )
  const lopt = join(world.folder, 'node_modules/.bin/lopt')
  report.check(
    'beside the package for CUDA, without a driver: the one for the CPU',
    await world.run(lopt, ['doctor']),
    /@lopt\/linux-x64 \S+ \(.*lopt is ready$/s,
  )
  await workspace(place)
  const LOPT_LIBTORCH = process.env.LOPT_TEST_CUDA_LIBTORCH
  if (LOPT_LIBTORCH)
    report.check(
      'the package for CUDA with the libtorch that it needs',
      await world.run(lopt, ['doctor'], { env: { ...cuda, LOPT_LIBTORCH } }),
      /@lopt\/linux-x64-cuda13 \S+ \(.*for CUDA 13\.\d+, with graphs.*lopt is ready$/s,
    )
}

/** @param {Place} place */
async function workspace(place) {
  const pnpm = MANAGERS.find(({ name }) => name === 'pnpm')
  if (!pnpm) throw new Error('pnpm is no manager')
  const world = newWorld(place, 'workspace')
  writeFileSync(join(world.folder, 'pnpm-workspace.yaml'), 'packages: [member]\n')
  pnpm.configure(world.folder, place.registry.url)
  const cwd = join(world.folder, 'member')
  mkdirSync(cwd)
  writeFileSync(join(cwd, 'package.json'), '{"name": "member", "private": true}')
  const program = fetched(place, pnpm.source, pnpm.program)
  const added = await world.run('node', [program, ...pnpm.add, 'lopt', CUDA], { cwd })
  if (added.code !== 0) throw new Error(added.printed)
  place.report.check(
    'the package for CUDA in a workspace of pnpm',
    await world.run('node', USE, { cwd, env: { LOPT_FLAVOUR: 'cuda13' } }),
    LACKS_LIBTORCH,
    { isFailure: true },
  )
}
