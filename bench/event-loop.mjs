// How late a 10 ms timer fires while GPT-2 trains, and evaluates, in the same process. Peer: the same timer in an
// idle process, in the same run.

import { createPrompt, loadBackbone, loadTask, train } from '../dist/index.js'

const INTERVAL_MS = 10
const STEPS = 60

async function delays(work) {
  const late = []
  let due = performance.now() + INTERVAL_MS
  const timer = setInterval(() => {
    const now = performance.now()
    late.push(Math.max(0, now - due))
    due = now + INTERVAL_MS
  }, INTERVAL_MS)
  await work()
  clearInterval(timer)
  late.sort((a, b) => a - b)
  const at = (share) => late[Math.min(late.length - 1, Math.floor(share * late.length))]
  return { ticks: late.length, p50: at(0.5), p99: at(0.99), max: late.at(-1) }
}

const backbone = await loadBackbone('builtin:nano-gpt2')
const task = await loadTask('topics', { limit: { train: 2000 } })
const prompt = createPrompt(backbone, { length: 20, rank: 4 })
const options = { backbone, prompt, task, batchSize: 32, evalEvery: 20, evalLimit: 200 }

const started = performance.now()
const busy = await delays(async () => {
  for await (const event of train({ ...options, steps: STEPS })) void event
})
const seconds = (performance.now() - started) / 1000
const idle = await delays(() => new Promise((resolve) => setTimeout(resolve, 2000)))

const line = (name, { ticks, p50, p99, max }) =>
  `${name.padEnd(8)} ${String(ticks).padStart(5)} ticks  delay p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms  max ${max.toFixed(1)} ms`
console.log(line('training', busy))
console.log(line('idle', idle))
console.log(`${STEPS} steps of 32 rows in ${seconds.toFixed(1)} s`)
