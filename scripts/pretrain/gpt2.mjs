// Pretrains models/nano-gpt2 with this library. Resumable: run it again with the same --work folder
// and it goes on from the last checkpoint. `node scripts/pretrain/gpt2.mjs --help` lists options.
//
// With glibc, MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 makes a step about
// a seventh faster: the logits of a step are 65 MB, and are otherwise mapped anew each time.

import { existsSync } from 'node:fs'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createBackbone, loadTokenizer, saveBackbone } from '../../dist/index.js'
import {
  AdamW,
  clipGradNorm,
  crossEntropy,
  Generator,
  noGrad,
  openSafetensors,
  randint,
  tensor,
  tidy,
  writeSafetensors,
} from '../../dist/torch.js'
import { loadCorpus } from './corpus.mjs'

const { values: options } = parseArgs({
  options: {
    work: { type: 'string' },
    out: { type: 'string', default: 'models/nano-gpt2' },
    steps: { type: 'string', default: '8000' },
    'batch-size': { type: 'string', default: '8' },
    lr: { type: 'string', default: '0.0015' },
    'checkpoint-minutes': { type: 'string', default: '5' },
    'stop-after-minutes': { type: 'string', default: '100000' },
    help: { type: 'boolean', default: false },
  },
})
if (options.help || !options.work) {
  console.log(`usage: node scripts/pretrain/gpt2.mjs --work FOLDER [options]
  --work FOLDER            corpus, checkpoints, log; goes on from what lies there
  --out FOLDER             where the finished model is written (models/nano-gpt2)
  --steps N                steps in all; the last fifth lowers the learning rate (8000)
  --batch-size N           windows of 256 tokens a step (8)
  --lr X                   highest learning rate (0.0015)
  --checkpoint-minutes N   how often to save (5)
  --stop-after-minutes N   save and stop then, to go on another time`)
  process.exit(options.help ? 0 : 2)
}

const VOCAB_SIZE = 8000
const WINDOW = 256 // = n_positions: every position is trained
const CONFIG = { positions: WINDOW, hiddenSize: 192, layers: 5, heads: 6 }
const WARMUP_STEPS = 200
const DECAY_SHARE = 0.2
const LOG_EVERY = 50
const EVAL_BATCHES = 20

const steps = Number(options.steps)
const batchSize = Number(options['batch-size'])
const peak = Number(options.lr)
const work = options.work

// Warm-up, then constant, then down to zero: `steps` may be raised or lowered between runs until
// the descent begins.
function learningRate(step) {
  const decayFrom = Math.floor(steps * (1 - DECAY_SHARE))
  if (step < WARMUP_STEPS) return (peak * (step + 1)) / WARMUP_STEPS
  if (step < decayFrom) return peak
  return peak * (1 - (step - decayFrom) / (steps - decayFrom))
}

await mkdir(work, { recursive: true })
const corpus = await loadCorpus({ folder: work, vocabSize: VOCAB_SIZE })
log(`${corpus.train.length} tokens to train on, ${corpus.heldOut.length} held out`)

const tokenizer = await loadTokenizer(work)
const backbone = await createBackbone(CONFIG, { seed: 0, tokenizer })
await backbone.setTrainable(/.*/)
const parameters = backbone.parameters()
const count = [...parameters.values()].reduce((sum, p) => sum + p.numel, 0)
log(`${(count / 1e6).toFixed(2)}M parameters`)
const matrices = [...parameters.values()].filter((p) => p.ndim === 2)
const vectors = [...parameters.values()].filter((p) => p.ndim !== 2)
const optimizer = new AdamW(
  [
    { params: matrices, weightDecay: 0.1 },
    { params: vectors, weightDecay: 0 },
  ],
  { lr: peak, betas: [0.9, 0.95] },
)
const generator = new Generator({ seed: 1 })
let { step, seconds } = await resume()

const positions = tensor(
  Array.from({ length: batchSize }, () => Array.from({ length: WINDOW }, (_, i) => i)),
  { dtype: 'int64' },
)
const startedAt = performance.now()
const deadline = startedAt + Number(options['stop-after-minutes']) * 60_000
let savedAt = startedAt
const secondsBefore = seconds
let running = []

while (step < steps && performance.now() < deadline) {
  const lr = learningRate(step)
  await optimizer.setLearningRate(lr)
  running.push(
    await tidy(async () => {
      const loss = await windowLoss(corpus.train, randomStarts(corpus.train))
      await loss.backward()
      await clipGradNorm([...parameters.values()], 1)
      await optimizer.step()
      await optimizer.zeroGrad()
      return (await loss.read())[0]
    }),
  )
  step += 1
  seconds = secondsBefore + (performance.now() - startedAt) / 1000
  if (!Number.isFinite(running.at(-1)))
    throw new Error(`The loss of step ${step} is not finite`)
  if (step % LOG_EVERY === 0) {
    const loss = running.reduce((a, b) => a + b) / running.length
    running = []
    const line = {
      step,
      loss: round(loss),
      lr: learningRate(step),
      seconds: Math.round(seconds),
    }
    if (step % (LOG_EVERY * 10) === 0) line.heldOutLoss = round(await heldOutLoss())
    await appendFile(join(work, 'metrics.jsonl'), `${JSON.stringify(line)}\n`)
    log(JSON.stringify(line))
  }
  if (performance.now() - savedAt > Number(options['checkpoint-minutes']) * 60_000) {
    await checkpoint()
    savedAt = performance.now()
  }
}
await checkpoint()
if (step >= steps) {
  await backbone.setTrainable(false)
  await saveBackbone(options.out, backbone, { dtype: 'float16' })
  log(`finished: ${options.out}, held-out loss ${round(await heldOutLoss())}`)
} else {
  log(`stopped at step ${step} of ${steps}; run again to go on`)
}

function randomStarts(ids) {
  const starts = randint(0, ids.length - WINDOW - 1, [batchSize], { generator })
  return starts.toArray()
}

/** Mean cross-entropy in nats a token of `batchSize` windows of the stream `ids`. */
async function windowLoss(ids, starts) {
  const window = (from) => Array.from(ids.subarray(from, from + WINDOW))
  const input = tensor(
    starts.map((start) => window(start)),
    { dtype: 'int64' },
  )
  const target = tensor(
    starts.flatMap((start) => window(start + 1)),
    { dtype: 'int64' },
  )
  const { hidden } = await backbone.run({ x: await backbone.embed(input), positions })
  const logits = await backbone.head(hidden.reshape([-1, CONFIG.hiddenSize]))
  return crossEntropy(logits, target)
}

async function heldOutLoss() {
  const room = corpus.heldOut.length - WINDOW - 1
  let sum = 0
  for (let batch = 0; batch < EVAL_BATCHES; batch += 1) {
    const starts = Array.from({ length: batchSize }, (_, i) =>
      Math.floor((room * (batch * batchSize + i)) / (EVAL_BATCHES * batchSize)),
    )
    sum += await noGrad(() =>
      tidy(async () => (await (await windowLoss(corpus.heldOut, starts)).read())[0]),
    )
  }
  return sum / EVAL_BATCHES
}

// One file: the numbers lie in its metadata, so that they are of the tensors' moment.
async function checkpoint() {
  const state = await optimizer.state()
  const tensors = Object.fromEntries(parameters)
  state.parameters.forEach((parameter, i) => {
    for (const [name, value] of Object.entries(parameter?.tensors ?? {})) {
      tensors[`optimizer.${i}.${name}`] = value
    }
  })
  const numbers = {
    step,
    seconds,
    generator: Buffer.from(generator.state()).toString('base64'),
    optimizer: {
      ...state,
      parameters: state.parameters.map(
        (parameter) => parameter && { step: parameter.step },
      ),
    },
  }
  const file = join(work, 'checkpoint.safetensors')
  await writeSafetensors(file, tensors, {
    metadata: { numbers: JSON.stringify(numbers) },
  })
  for (const parameter of state.parameters) {
    for (const value of Object.values(parameter?.tensors ?? {})) value.dispose()
  }
}

async function resume() {
  const path = join(work, 'checkpoint.safetensors')
  if (!existsSync(path)) return { step: 0, seconds: 0 }
  const file = openSafetensors(path)
  const { optimizer: saved, ...numbers } = JSON.parse(file.metadata.numbers)
  await tidy(async () => {
    for (const [name, parameter] of parameters) await parameter.copy_(file.tensor(name))
    saved.parameters.forEach((parameter, i) => {
      if (!parameter) return
      const prefix = `optimizer.${i}.`
      parameter.tensors = Object.fromEntries(
        file.names
          .filter((name) => name.startsWith(prefix))
          .map((name) => [name.slice(prefix.length), file.tensor(name)]),
      )
    })
    await optimizer.loadState(saved)
  })
  file.dispose()
  generator.setState(Buffer.from(numbers.generator, 'base64'))
  // Lines of steps after the checkpoint come again.
  const metrics = join(work, 'metrics.jsonl')
  const lines = (await readFile(metrics, 'utf8')).split('\n').filter(Boolean)
  const kept = lines.filter((line) => JSON.parse(line).step <= numbers.step)
  await writeFile(metrics, kept.map((line) => `${line}\n`).join(''))
  log(`going on from step ${numbers.step}`)
  return numbers
}

function round(value) {
  return Math.round(value * 1e4) / 1e4
}

function log(line) {
  console.error(`${new Date().toISOString().slice(11, 19)} ${line}`)
}
