// Every example runs from start to end, as a reader would run it.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const folder = fileURLToPath(new URL('../examples', import.meta.url))
const examples = readdirSync(folder).filter((file) => file.endsWith('.mjs'))

test.each(examples)('examples/%s runs and prints something', (file) => {
  const cwd = mkdtempSync(join(tmpdir(), 'lopt-example-'))
  try {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, file)], {
      cwd,
      encoding: 'utf8',
    })
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(stdout.trim()).not.toBe('')
    // what it was taught
    if (file === 'train-on-texts.mjs') expect(stdout).toMatch(/cannot fly: animal$/m)
    if (file === 'train-prompt.mjs') expect(stdout).toMatch(/^good \{/m)
  } finally {
    rmSync(cwd, { recursive: true })
  }
})
