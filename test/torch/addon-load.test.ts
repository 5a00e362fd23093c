// An addon that does not fit. A folder with a loader of its own stands in for the package.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { folder, run } = bundledPrograms(
  { torch: 'torch/index.ts' },
  "import * as torch from './torch.mjs'\n",
)

/** What using a tensor prints where the addon's loader runs `code`. */
async function printed(code: string): Promise<string> {
  const loader = join(folder, 'node_modules/node-gyp-build')
  mkdirSync(loader, { recursive: true })
  writeFileSync(join(loader, 'index.js'), code)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'lopt' }))
  const ended = await run(`
    try { torch.zeros([1]) } catch ({ code, message }) { console.log(code, message) }
  `)
  expect(ended).toEqual(fine(ended.stdout))
  return ended.stdout
}

test('one that was compiled for another libtorch is refused with both versions', async () => {
  const versions = "{ torchVersion: '2.14.1', torchVersionBuilt: '2.13.0' }"
  const text = await printed(`module.exports = () => (${versions})`)
  expect(text).toContain('ERR_ADDON_LOAD The addon was compiled against libtorch 2.13.0')
  expect(text).toContain(`found 2.14.1. Run \`npm run setup\` in ${folder}`)
})

test('one that does not load says why, and what to try', async () => {
  const text = await printed("throw new Error('libcudart.so.13: cannot open')")
  expect(text).toContain('ERR_ADDON_LOAD The native addon did not load: libcudart.so.13')
  expect(text).toContain('npx lopt doctor')
})
