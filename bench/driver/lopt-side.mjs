// lopt's side of a bench, a program that `sides.mjs` starts: trains, scores or continues texts as a job says, some for each
// line that it reads, and answers with what they took.

import { createInterface } from 'node:readline'
import {
  createPrompt,
  createTask,
  generate,
  loadBackbone,
  score,
  train,
} from '../../dist/index.js'
import { Generator, rand, recordOps } from '../../dist/torch.js'
import { productFlops, secondsByKind, unionSeconds } from './profile.mjs'

const job = JSON.parse(process.argv[2])
const { model, lengths, batchSize, P, placement, steps, fastPaths = true } = job
const backbone = await loadBackbone(model, { dtype: job.dtype, device: job.device })
const words = ['good', 'bad', 'the', 'and', 'one', 'two', 'in', 'a', 'of', 'to']
const isOneToken = (text) => backbone.tokenizer.encode(text).length === 1
const space = backbone.kind === 'causal' ? ' ' : ''
const labels = words.filter((word) => isOneToken(space + word)).slice(0, 2)
const filler = words.find((word) => isOneToken(` ${word}`))
const text = (T) => ` ${filler}`.repeat(T)
const { targetTokens } = job
const task = createTask({
  ...(targetTokens === undefined
    ? {
        train: lengths.map((T, i) => ({ text: text(T), label: labels[i % 2] })),
        labels,
      }
    : {
        train: lengths.map((T) => ({ text: text(T), target: text(targetTokens) })),
        targetTemplate: '{target}',
        targetEnd: false,
      }),
  devFraction: 0,
})
const prompts = Array.from({ length: job.prompts ?? 1 }, (_, seed) =>
  createPrompt(backbone, { length: P, rank: 4, placement, seed }),
)
const trained = (what) =>
  train({
    ...what,
    backbone,
    task,
    batchSize,
    steps: 1_000_000,
    reuse: { budgetBytes: job.budgetBytes ?? 0 },
    fastPaths,
    evalEvery: 0,
    learningRate: 1e-3,
    ...(job.checkpointLayers && { checkpointLayers: job.checkpointLayers }),
  })
const runs = job.together
  ? [trained({ prompts })]
  : prompts.map((prompt) => trained({ prompt }))
/** Events of a step: one a prompt. */
const eventsOfStep = job.together ? prompts.length : 1

/** Scores of some batches of texts, of all prompts in turn. */
async function scoreTexts(count) {
  const texts = Array.from({ length: count }, () => lengths.map(text)).flat()
  await score({
    ...{ backbone, task, texts, batchSize, fastPaths },
    prompts: texts.map((_, i) => prompts[i % prompts.length]),
  })
  return used()
}

/** Texts, of all prompts in turn, continued together: the time from the first token of each to the last ones. */
async function continueTexts() {
  const rows = lengths.map((T, i) => ({
    prompt: prompts[i % prompts.length],
    text: text(T),
  }))
  const { newTokens } = job
  let tokens = 0
  let first = 0
  const options = { maxNewTokens: newTokens, minNewTokens: newTokens, batchSize }
  for await (const event of generate({ backbone, rows, ...options })) {
    if (event.type === 'token') tokens += 1
    if (tokens === rows.length) first ||= performance.now()
  }
  return { ...used(), ownSeconds: (performance.now() - first) / 1000 }
}

const used = () => ({ peakMemoryBytes: process.resourceUsage().maxRSS * 1024 })

/** Steps of all prompts, one prompt after the other. */
async function advance(count) {
  if (job.kind === 'score') return await scoreTexts(count)
  if (job.kind === 'generate') return await continueTexts()
  let last
  for (const run of runs) {
    for (let done = 0; done < count * eventsOfStep; ) {
      const { value } = await run.next()
      if (value.type !== 'step') continue
      done += 1
      last = value
    }
  }
  return last
}

async function timed(work) {
  const started = performance.now()
  const value = await work()
  return { value, seconds: (performance.now() - started) / 1000 }
}

/** The machine's own rate: a product of two square matrices, the best of several. */
async function sgemm() {
  const n = job.sgemmSize ?? 2048
  const generator = new Generator({ seed: 0 })
  const [a, b] = [rand([n, n], { generator }), rand([n, n], { generator })]
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 8; i += 1) {
    const { value, seconds } = await timed(() => a.matmul(b))
    value.dispose()
    best = Math.min(best, seconds)
  }
  for (const one of [a, b]) one.dispose()
  return (2 * n ** 3) / best
}

const commands = {
  run: async () => {
    const { value, seconds } = await timed(() => advance(steps))
    return {
      seconds: value.ownSeconds ?? seconds,
      peakMemoryBytes: value.peakMemoryBytes,
    }
  },
  // Shapes are recorded for the products alone: they cost time outside the ops.
  overhead: async () => {
    const { value, ops } = await recordOps(() => timed(() => advance(steps)))
    return { seconds: value.seconds, opSeconds: unionSeconds(ops) }
  },
  products: async () => {
    const { ops } = await recordOps(() => advance(steps), { inputs: true })
    return { flops: productFlops(ops) }
  },
  shares: async () => {
    const { value, ops } = await recordOps(() => timed(() => advance(steps)))
    return { seconds: value.seconds, byKind: secondsByKind(ops) }
  },
  sgemm: async () => ({ flopsPerSecond: await sgemm() }),
}

await advance(job.warmSteps ?? 1)
console.log(JSON.stringify({ ready: true }))
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await commands[line]()))
}
for (const run of runs) await run.return()
