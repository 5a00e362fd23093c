// Where the packages that the addon is compiled with come from. A program in place of npm stands in for the registry.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildPackages } from '../../scripts/setup/build-packages.mjs'

let project: string
let root: string
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'lopt-build-'))
  root = join(project, 'node_modules/lopt')
  const devDependencies = {
    'cmake-js': '^8.0.0',
    'node-api-headers': '^1.9.0',
    'node-addon-api': '^8.9.2',
  }
  write(join(root, 'package.json'), JSON.stringify({ name: 'lopt', devDependencies }))
})
afterEach(() => rmSync(project, { recursive: true, force: true }))

function write(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text, { mode })
}

/** An npm that makes the packages in the folder that it is told, and keeps what it was asked. */
function environment(): NodeJS.ProcessEnv {
  const script = `#!${process.execPath}
const { mkdirSync, writeFileSync } = require('node:fs')
const folder = process.argv[process.argv.indexOf('--prefix') + 1]
writeFileSync(folder + '/asked', process.argv.slice(2).join(' '))
for (const name of ['cmake-js', 'node-api-headers', 'node-addon-api']) {
  mkdirSync(folder + '/node_modules/' + name, { recursive: true })
  writeFileSync(folder + '/node_modules/' + name + '/package.json', '{"version": "1.2.3"}')
}
`
  write(join(project, 'bin/npm'), script, 0o755)
  return { PATH: join(project, 'bin'), XDG_CACHE_HOME: join(project, 'cache') }
}

const NAMES = ['cmake-js', 'node-api-headers', 'node-addon-api']

test('those beside the package come first, as a clone has them', async () => {
  const modules = join(root, 'node_modules')
  write(join(modules, 'cmake-js/package.json'), '{"version": "8.0.0"}')
  write(join(modules, 'node-api-headers/package.json'), '{"version": "1.9.0"}')
  write(join(project, 'node_modules/node-addon-api/package.json'), '{"version": "8.9.2"}')
  expect(await buildPackages(root, environment())).toEqual({
    'cmake-js': { version: '8.0.0', folder: join(modules, 'cmake-js') },
    'node-api-headers': { version: '1.9.0', folder: join(modules, 'node-api-headers') },
    'node-addon-api': {
      version: '8.9.2',
      folder: join(project, 'node_modules/node-addon-api'),
    },
  })
  expect(existsSync(join(project, 'cache'))).toBe(false)
})

test('else npm fetches the versions that package.json names, once', async () => {
  const env = environment()
  const fetched = await buildPackages(root, env)
  expect(Object.keys(fetched)).toEqual(NAMES)
  expect(Object.values(fetched).map(({ version }) => version)).toEqual([
    ...['1.2.3', '1.2.3', '1.2.3'],
  ])
  const cache = join(
    project,
    'cache/lopt/build-cmake-js8.0.0-node-api-headers1.9.0-node-addon-api8.9.2',
  )
  const asked = readFileSync(join(cache, 'asked'), 'utf8')
  expect(asked).toContain('--ignore-scripts')
  expect(asked).toMatch(
    /cmake-js@\^8\.0\.0 node-api-headers@\^1\.9\.0 node-addon-api@\^8\.9\.2$/,
  )
  rmSync(join(project, 'bin'), { recursive: true })
  expect(await buildPackages(root, env)).toEqual(fetched)
})
