// Runs benchmarks, each a file of its own in its own process: `npm run bench`, or
// `npm run bench -- event-loop`. What each prints is measured in that run; their rows come again in one table at
// the end, for docs/performance.md.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { cpus } from 'node:os'
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
const rows = []
for (const name of wanted === undefined ? names : [wanted]) {
  console.log(`--- ${name}`)
  const child = fork(join(folder, `${name}.mjs`), args)
  child.on('message', (row) => rows.push(row))
  const [status] = await once(child, 'exit')
  failed += status === 0 ? 0 : 1
}
if (rows.length > 0) {
  console.log(`\n${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}\n`)
  console.log('| bench | lopt | peer | ratio | aim | of sgemm peak |')
  console.log('|---|---|---|---|---|---|')
  for (const { bench, lopt, peer, ratio, aim, peak } of rows) {
    console.log(`| ${bench} | ${lopt} | ${peer} | ${ratio} | ${aim} | ${peak} |`)
  }
}
process.exit(failed === 0 ? 0 : 1)
