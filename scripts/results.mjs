// Makes the README's table of results: every method on the models and tasks that ship, its learning
// rate chosen on dev from one grid, several seeds. Resumable: finished cells are kept in runs/results.
//
//   npm run results
//   npm run results -- --model nano-gpt2                    this model; the others' rows stay as they are
//   npm run results -- --only nano-gpt2/spam/lopt-1         these cells only, no table: several processes
//                                                           can share the work

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadBackbone, loadTask } from '../dist/index.js'
import { hardPrompt, majority, runCell } from './results/cell.mjs'
import {
  LEARNING_RATES,
  LENGTH,
  METHODS,
  MODELS,
  RANK,
  seedsOf,
} from './results/settings.mjs'
import { summarise, writeSummary } from './results/summary.mjs'
import { percent } from './results/table.mjs'

const { values: options } = parseArgs({
  options: { only: { type: 'string' }, model: { type: 'string' } },
})
const [onlyModel = options.model, onlyTask, onlyMethod] = options.only?.split('/') ?? []
const chosen = (name, only) => only === undefined || only === name

const root = fileURLToPath(new URL('..', import.meta.url))
const started = performance.now()
const models = {}
for (const [model, tasks] of Object.entries(MODELS)) {
  if (chosen(model, onlyModel)) models[model] = await resultsOf(model, tasks)
}
if (options.only === undefined) await writeSummary(root, summarise(models))
console.error(`${((performance.now() - started) / 60_000).toFixed(1)} min`)

async function resultsOf(model, tasks) {
  const source = `builtin:${model}`
  const backbone = await loadBackbone(source)
  const results = { backbone: { source, fingerprint: backbone.fingerprint }, tasks: {} }
  for (const [name, { metric, training }] of Object.entries(tasks)) {
    if (!chosen(name, onlyTask)) continue
    const task = await loadTask(name)
    // Cells of another model or of other settings are no part of this table.
    const made = { model: backbone.fingerprint, LENGTH, RANK, name, training }
    const hash = createHash('sha256').update(JSON.stringify(made)).digest('hex')
    const folder = join(root, 'runs', 'results', hash.slice(0, 12))
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
      for (const seed of seedsOf(model, name, method)) {
        runs.push(await run({ learningRate, seed }))
      }
      found.methods[method] = { learningRate, grid, runs }
    }
    results.tasks[name] = found
  }
  backbone.dispose()
  return results
}

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
