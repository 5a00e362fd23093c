// Runs benchmarks, each a file of its own in its own process: `npm run bench`, or
// `npm run bench -- event-loop`. What each prints is measured in that run.

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = dirname(fileURLToPath(import.meta.url))
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.mjs') && file !== 'run.mjs')
  .map((file) => file.slice(0, -'.mjs'.length))
const [wanted, ...args] = process.argv.slice(2)
if (wanted !== undefined && !names.includes(wanted)) {
  console.error(`There is no benchmark ${wanted}; there are ${names.join(', ')}`)
  process.exit(2)
}
let failed = 0
for (const name of wanted === undefined ? names : [wanted]) {
  console.log(`--- ${name}`)
  const { status } = spawnSync(process.execPath, [join(folder, `${name}.mjs`), ...args], {
    stdio: 'inherit',
  })
  failed += status === 0 ? 0 : 1
}
process.exit(failed === 0 ? 0 : 1)
