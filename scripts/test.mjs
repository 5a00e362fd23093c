// `npm test`: sets everything up, then runs the tests. Arguments go to vitest. Only Node's
// built-ins, since it runs in a clone where nothing is installed.

import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const steps = [
  ['scripts/setup.mjs'],
  ['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)],
]
for (const [script, ...args] of steps) {
  const { status } = spawnSync(process.execPath, [join(root, script), ...args], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) {
    process.exitCode = status ?? 1
    break
  }
}
