// @ts-check
// `npm run test:install`: what users do after `npm install lopt`, with the tarballs of `npm run pack:platform` published to a registry
// on the loopback address. Each line says what was done, whether it was as expected, and how long it took.

import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from './install-test/parts/build.mjs'
import { bundles } from './install-test/parts/bundles.mjs'
import { managers } from './install-test/parts/managers.mjs'
import { nodes } from './install-test/parts/nodes.mjs'
import { wrongWorlds } from './install-test/parts/wrong-worlds.mjs'
import { startRegistry } from './install-test/registry.mjs'
import { createReport } from './install-test/report.mjs'
import { canCutNetwork } from './install-test/world.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const PARTS = { managers, bundles, wrongWorlds, nodes, build }
/** Compiles, so that it runs only where it is named. */
const NAMED_ALONE = 'build'

const only = process.argv.slice(2)
const unknown = only.filter((name) => !(name in PARTS))
if (unknown.length > 0) {
  console.error(
    `Usage: node scripts/install-test.mjs [${Object.keys(PARTS).join('|')} …]`,
  )
  process.exit(2)
}
const packages = join(root, 'build/packages')
const tarballs = existsSync(packages) ? readdirSync(packages).sort() : []
if (tarballs.length === 0) {
  console.error('test:install: there are no packages: run `npm run pack:platform`')
  process.exit(1)
}
const temporary = mkdtempSync(join(tmpdir(), 'lopt-install-'))
const report = createReport()
try {
  console.log(
    canCutNetwork
      ? 'the network is cut after each install'
      : 'the network cannot be cut here',
  )
  const files = tarballs.map((name) => join(packages, name))
  const registry = await startRegistry(join(temporary, 'registry'), files)
  const app = join(temporary, 'app')
  cpSync(join(root, 'scripts/install-test/app'), app, { recursive: true })
  for (const [name, part] of Object.entries(PARTS)) {
    if (only.length > 0 ? !only.includes(name) : name === NAMED_ALONE) continue
    await part({ root, temporary, app, packed: tarballs, registry, report })
  }
  registry.stop()
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
process.exitCode = report.end()
