// How late a 10 ms timer fires while GPT-2 trains, and evaluates, in the same process, and while a server there is at full
// load, GPT-2 small's shape: 32 texts of 40 tokens classified at a time, 16 continued. Peer: the same timer in an idle
// process, in the same run.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import {
  createEngine,
  createPrompt,
  loadBackbone,
  loadTask,
  train,
} from '../dist/index.js'
import { createServer } from '../dist/server.js'
import { modelSource } from './driver/models.mjs'
import { LABELS, TEMPLATE } from './driver/servers.mjs'
import { isQuick } from './driver/settings.mjs'

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

const PROMPTS = 16
const SECONDS = isQuick ? 2 : 20

async function served() {
  const model = await loadBackbone(await modelSource('gpt2-small'))
  const labels = Object.fromEntries(LABELS.map((label) => [label, label]))
  const prompts = Array.from({ length: PROMPTS }, (_, seed) => {
    const made = createPrompt(model, { length: 20, rank: 4, seed })
    made.task = { template: TEMPLATE, labels, objective: 'lm' }
    return [`p${seed}`, made]
  })
  const engine = createEngine({ backbone: model, prompts: Object.fromEntries(prompts) })
  const server = createServer(engine)
  const url = await server.listen({ port: 0, host: '127.0.0.1' })
  const clients = fileURLToPath(new URL('driver/load-side.mjs', import.meta.url))
  const found = await delays(async () => {
    const args = [clients, url, `${SECONDS}`, `${PROMPTS}`]
    const client = spawn(process.execPath, args, { stdio: 'inherit' })
    const [status] = await once(client, 'exit')
    if (status !== 0) throw new Error(`the clients ended with ${status}`)
  })
  await server.close()
  await engine.close()
  model.dispose()
  return found
}

const serving = await served()

const line = (name, { ticks, p50, p99, max }) =>
  `${name.padEnd(8)} ${String(ticks).padStart(5)} ticks  delay p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms  max ${max.toFixed(1)} ms`
console.log(line('training', busy))
console.log(line('serving', serving))
console.log(line('idle', idle))
console.log(`${STEPS} steps of 32 rows in ${seconds.toFixed(1)} s`)
