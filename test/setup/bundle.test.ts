// The bundle of an installed package is not made again: its sources are not there.

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { buildBundle } from '../../scripts/setup/bundle.mjs'

test('a package that has of lib/ its data alone keeps its dist/', async () => {
  const root = mkdtempSync(join(tmpdir(), 'lopt-bundle-'))
  mkdirSync(join(root, 'lib/task/datasets/data'), { recursive: true })
  mkdirSync(join(root, 'dist'))
  writeFileSync(join(root, 'dist/cli.js'), '')
  await buildBundle(root, process.env)
  expect(existsSync(join(root, 'dist/cli.js'))).toBe(true)
  rmSync(root, { recursive: true })
})
