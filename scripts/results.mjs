// Makes the README's table of results: every method on both bundled tasks, its learning rate chosen
// on dev from one grid, several seeds. Resumable: finished cells are kept in runs/results.
//
//   npm run results
//   npm run results -- --only spam/lopt-1   these cells only, no table: several processes can share the work

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadBackbone, loadTask } from '../dist/index.js'
import { hardPrompt, majority, runCell } from './results/cell.mjs'
import {
  BACKBONE,
  LEARNING_RATES,
  LENGTH,
  METHODS,
  RANK,
  seedsOf,
  TASKS,
} from './results/settings.mjs'
import { summarise, writeSummary } from './results/summary.mjs'
import { percent } from './results/table.mjs'

const { values: options } = parseArgs({ options: { only: { type: 'string' } } })
const [onlyTask, onlyMethod] = options.only?.split('/') ?? []
const chosen = (name, only) => only === undefined || only === name

const root = fileURLToPath(new URL('..', import.meta.url))
const started = performance.now()
const backbone = await loadBackbone(BACKBONE)
const results = {
  backbone: { source: BACKBONE, fingerprint: backbone.fingerprint },
  tasks: {},
}
for (const [name, { metric, training }] of Object.entries(TASKS)) {
  if (!chosen(name, onlyTask)) continue
  const task = await loadTask(name)
  // Cells of another model or of other settings are no part of this table.
  const made = { model: backbone.fingerprint, LENGTH, RANK, name, training }
  const key = createHash('sha256').update(JSON.stringify(made)).digest('hex').slice(0, 12)
  const folder = join(root, 'runs', 'results', key)
  await mkdir(folder, { recursive: true })
  const once = (cell, make) => keptOr(join(folder, `${cell}.json`), make)
  const around = { backbone, task, training }
  const found = {
    metric,
    testRows: task.test.length,
    training,
    majority: majority(task),
    hard: await once(`${name}-hard`, () => hardPrompt(around)),
    methods: {},
  }
  for (const method of METHODS) {
    if (!chosen(method, onlyMethod)) continue
    const run = (cell) =>
      once(`${name}-${method}-${cell.learningRate}-${cell.seed}`, () =>
        runCell({ method, ...cell }, around),
      )
    const grid = []
    for (const learningRate of LEARNING_RATES) {
      grid.push(await run({ learningRate, seed: 0 }))
    }
    const { learningRate } = grid.reduce((a, b) =>
      b.dev[metric] > a.dev[metric] ? b : a,
    )
    const runs = []
    for (const seed of seedsOf(name, method)) {
      runs.push(await run({ learningRate, seed }))
    }
    found.methods[method] = { learningRate, grid, runs }
  }
  results.tasks[name] = found
}
if (options.only === undefined) await writeSummary(root, summarise(results))
console.error(`${((performance.now() - started) / 60_000).toFixed(1)} min`)
backbone.dispose()

/** A cell's figures: read where an earlier run left them, else made and kept. */
async function keptOr(file, make) {
  if (existsSync(file)) return JSON.parse(await readFile(file, 'utf8'))
  const figures = await make()
  await writeFile(`${file}.part`, `${JSON.stringify(figures)}\n`)
  await rename(`${file}.part`, file)
  const { dev, test, seconds } = figures
  const minutes = ((performance.now() - started) / 60_000).toFixed(1)
  const shown = [
    dev && `dev ${percent(dev.accuracy)} %`,
    test && `test ${percent(test.accuracy)} %`,
  ]
  console.error(
    `${minutes} min  ${basename(file, '.json')}  ${shown.filter(Boolean).join('  ')}  ${seconds.toFixed(0)} s`,
  )
  return figures
}
