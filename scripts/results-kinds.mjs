// The figures of `kinds`, the bundled task whose rows texts answer: the template alone, full prompts and LoPT-1, three seeds
// each, on models/nano-gpt2. Written to docs/results-kinds.json; what is there is not made again.
//
//   node scripts/results-kinds.mjs [--only METHOD/SEED]     then prints the table

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createPrompt, evaluate, loadBackbone, loadTask, train } from '../dist/index.js'
import { setNumThreads } from '../dist/torch.js'

const file = fileURLToPath(new URL('../docs/results-kinds.json', import.meta.url))
const STEPS = 800
const SEEDS = [0, 1, 2]
/** Rank 3: 3 (20 + 192) numbers, a sixth of a full prompt's. */
const METHODS = {
  hard: { seeds: [0] },
  'lopt-1': { seeds: SEEDS, rank: 3, learningRate: 0.3 },
  full: { seeds: SEEDS, learningRate: 0.1 },
}
const FIGURES = ['perplexity', 'exactMatch', 'tokenF1', 'rougeL', 'chrf']

const stored = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
const only = process.argv[process.argv.indexOf('--only') + 1]
await setNumThreads(1)
const backbone = await loadBackbone('builtin:nano-gpt2')
const task = await loadTask('kinds', { limit: { dev: 300 } })

for (const [method, settings] of Object.entries(METHODS)) {
  for (const seed of settings.seeds) {
    const name = `${method}/${seed}`
    if (stored[name] !== undefined) continue
    if (process.argv.includes('--only') && only !== name) continue
    stored[name] = await figuresOf(method, seed, settings)
    writeFileSync(file, `${JSON.stringify(stored, null, 2)}\n`)
  }
}
process.stdout.write(table())

async function figuresOf(method, seed, { learningRate, rank }) {
  const started = performance.now()
  const prompt = method === 'hard' ? null : createPrompt(backbone, { method, rank, seed })
  if (prompt !== null) {
    const run = { backbone, prompt, task, seed, learningRate, steps: STEPS }
    const events = train({ ...run, schedule: 'linear', evalEvery: 200, samples: 0 })
    for await (const event of events) {
      if (event.type === 'eval') console.error(`${method}/${seed}`, event)
    }
  }
  const seconds = prompt === null ? 0 : (performance.now() - started) / 1000
  const found = await evaluate({ backbone, prompt, task, split: 'test' })
  const { samples } = found
  return {
    trainableParameters: prompt?.trainableParameters ?? 0,
    learningRate,
    seconds,
    ...Object.fromEntries(FIGURES.map((figure) => [figure, found[figure]])),
    rows: found.examples,
    // every 200th row, the hardest first
    samples: samples.filter((_, i) => i % 200 === 0),
  }
}

function table() {
  const head = ['method', 'trainable', 'seeds', ...FIGURES, 'seconds']
  const rows = Object.keys(METHODS).flatMap((method) => {
    const own = SEEDS.flatMap((seed) => stored[`${method}/${seed}`] ?? [])
    if (own.length === 0) return []
    const cells = FIGURES.map((figure) =>
      spread(
        own.map((one) => one[figure]),
        figure,
      ),
    )
    const seconds = own.reduce((sum, one) => sum + one.seconds, 0) / own.length
    return [
      [method, own[0].trainableParameters, own.length, ...cells, Math.round(seconds)],
    ]
  })
  const line = (cells) => `| ${cells.join(' | ')} |\n`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('')
}

function spread(values, figure) {
  const scale = figure === 'perplexity' ? 1 : 100
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const deviation = Math.sqrt(squares / Math.max(1, values.length - 1))
  const text = (scale * mean).toFixed(1)
  return values.length === 1 ? text : `${text} ± ${(scale * deviation).toFixed(1)}`
}
