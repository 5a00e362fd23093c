// The main job, after set-up: LoPT-1, LoPT-2 and full prompt tuning learn a real task on the frozen
// GPT-2 that ships with the package, beside two baselines. Prints a table, and keeps the prompts to be served.

import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import cliProgress from 'cli-progress'
import { loadBackbone, loadTask, savePrompt } from '../dist/index.js'
import { hardPrompt, majority, runCell } from './results/cell.mjs'
import { LENGTH, METHODS, RANK } from './results/settings.mjs'
import { markdownTable, percent } from './results/table.mjs'

const BACKBONE = 'builtin:nano-gpt2'
const SEED = 0
const SPAM_TEST_ROWS = 500
// Few steps, so that all of it takes minutes: `npm run results` trains longer.
const JOBS = [
  {
    name: 'topics',
    methods: METHODS,
    options: {},
    training: { steps: 400, evalEvery: 200, evalLimit: 300, schedule: 'linear' },
  },
  {
    name: 'spam',
    methods: ['lopt-1'],
    options: { limit: { test: SPAM_TEST_ROWS } },
    training: {
      steps: 800,
      evalEvery: 400,
      schedule: 'linear',
      maxLength: 64,
      batchByLength: false,
    },
  },
]

const PROMPTS = new URL('../runs/quickstart/prompts/', import.meta.url)

const started = performance.now()
await mkdir(PROMPTS, { recursive: true })
const backbone = await loadBackbone(BACKBONE)
console.error(
  `${backbone.source}: ${backbone.config.layers} layers, hidden size ${backbone.config.hiddenSize}, ` +
    `frozen. Prompts of ${LENGTH} virtual tokens, rank ${RANK}.`,
)
const rows = [['task', 'method', 'trainable', 'accuracy %', 'macro-F1', 'seconds']]
const add = (task, method, { trainableParameters, test, seconds }) => {
  rows.push([
    task,
    method,
    String(trainableParameters),
    percent(test.accuracy),
    test.macroF1.toFixed(3),
    seconds.toFixed(0),
  ])
}

for (const { name, methods, options, training } of JOBS) {
  const task = await loadTask(name, options)
  console.error(
    `\n${name}: ${task.labels.join(', ')}; ${task.train.length} rows to train on, ${task.test.length} to test on`,
  )
  add(name, 'majority', majority(task))
  add(name, 'hard prompt', await hardPrompt({ backbone, task, training }))
  for (const method of methods) {
    const onEvent = progress(method, training.steps)
    const cell = { method, seed: SEED }
    const file = new URL(`${name}-${method}.lopt.safetensors`, PROMPTS)
    const keep = (prompt) => savePrompt(fileURLToPath(file), prompt)
    add(name, method, await runCell(cell, { backbone, task, training, onEvent, keep }))
  }
}
console.log(`\n${markdownTable(rows)}`)
console.error(
  `\n${((performance.now() - started) / 1000).toFixed(0)} s in all. Serve the prompts:`,
)
console.error(`npx lopt serve --backbone ${BACKBONE} --prompts runs/quickstart/prompts`)
backbone.dispose()

/** A bar on a terminal, a line an evaluation elsewhere. */
function progress(method, steps) {
  const bar = process.stderr.isTTY
    ? new cliProgress.SingleBar({
        format: `${method.padEnd(7)} {bar} {value}/{total}  loss {loss}  {eta_formatted} left`,
        hideCursor: true,
      })
    : undefined
  let loss = Number.NaN
  return (event) => {
    if (event.type === 'start') bar?.start(steps, 0, { loss: '' })
    if (event.type === 'step') {
      loss = Number.isNaN(loss) ? event.loss : 0.95 * loss + 0.05 * event.loss
      bar?.update(event.step, { loss: loss.toFixed(3) })
    }
    if (event.type === 'eval' && bar === undefined) {
      console.error(
        `${method.padEnd(7)} step ${event.step}/${steps}  loss ${loss.toFixed(3)}  dev accuracy ${percent(event.accuracy)} %`,
      )
    }
    if (event.type === 'done') bar?.stop()
  }
}
