// An addon that does not fit. A folder with a build of its own stands in for the package.

import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { folder, run } = bundledPrograms(
  { torch: 'torch/index.ts' },
  "import * as torch from './torch.mjs'\n",
)
const ADDON = join(folder, 'addon.cjs')
const BUILD = join(folder, 'build/Release/lopt.node')

beforeAll(() => {
  mkdirSync(join(BUILD, '..'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"name": "lopt", "version": "0.1.0"}')
})

/** What using a tensor prints where the addon runs `code`: Node takes a file for what its real path says. */
async function printed(
  code: string | undefined,
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  rmSync(BUILD, { force: true })
  if (code !== undefined) {
    writeFileSync(ADDON, code)
    symlinkSync(ADDON, BUILD)
  }
  const use = `
    try { torch.zeros([1]) } catch ({ code, message }) { console.log(code, message) }
  `
  const ended = await run(use, { env })
  expect(ended).toEqual(fine(ended.stdout))
  return ended.stdout
}

const OTHER = "module.exports = { torchVersion: '2.14.1', torchVersionBuilt: '2.13.0' }"

test('one that was compiled for another libtorch is refused with both versions', async () => {
  expect(await printed(OTHER)).toBe(
    'ERR_ADDON_LOAD The addon (its own build) was compiled against libtorch 2.13.0 but found 2.14.1: run `npx lopt build`\n',
  )
})

test('one that does not load says why, which it is, and what to try', async () => {
  const text = await printed("throw new Error('libcudart.so.13: cannot open')")
  expect(text).toContain('ERR_ADDON_LOAD The native addon did not load: libcudart.so.13')
  expect(text).toContain(`It is its own build (it comes before packages): ${BUILD}`)
  expect(text).toContain('npx lopt doctor')
})

test('without any, the error lists what was tried and what to do', async () => {
  const text = await printed(undefined, { LOPT_FLAVOUR: '' })
  expect(text).toContain('ERR_ADDON_LOAD There is no native addon to load. Tried:\n')
  expect(text).toContain(`- its own build: there is no ${BUILD}`)
  expect(text).toMatch(/^- .*run `npx lopt build`$/m)
  expect(text).toContain('- run `npx lopt doctor`, which says more')
})

test('the file in LOPT_ADDON comes before a build of its own', async () => {
  const text = await printed("throw new Error('not this one')", { LOPT_ADDON: ADDON })
  expect(text).toContain(
    `not this one\nIt is LOPT_ADDON (the environment says so): ${ADDON}\nPossible solutions:\n` +
      '- set LOPT_ADDON to another lopt.node, or unset it\n',
  )
  const missing = await printed(OTHER, { LOPT_ADDON: '/nowhere/lopt.node' })
  expect(missing).toContain('- LOPT_ADDON: there is no file /nowhere/lopt.node')
})
