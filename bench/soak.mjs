// 100,000 requests of all routes to one server, some wrong, some left in the middle: whether its memory stays, and nothing
// is left behind. nano-gpt2. `node bench/soak.mjs 20000` sends as many.

import { readFileSync } from 'node:fs'
import { closedLoad, randomText } from './driver/http-load.mjs'
import { modelSource } from './driver/models.mjs'
import { loptServer, promptsFolder } from './driver/servers.mjs'
import { isQuick, median } from './driver/settings.mjs'
import { report } from './driver/sides.mjs'

const COUNT = Number(process.argv[2] ?? (isQuick ? 400 : 100_000))
const PROMPTS = 16
const model = await modelSource('nano-gpt2')
const prompts = await promptsFolder(model, PROMPTS)
const server = await loptServer(model, prompts)
const statuses = new Map()

async function ask(path, body, leaveAfterMs) {
  const options = body && {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  }
  const signal =
    leaveAfterMs === undefined ? undefined : AbortSignal.timeout(leaveAfterMs)
  let status = 'left'
  try {
    const answer = await fetch(server.url + path, { ...options, signal })
    status = answer.status
    await answer.text()
  } catch (error) {
    if (leaveAfterMs === undefined) throw error
  }
  statuses.set(status, (statuses.get(status) ?? 0) + 1)
}

const words = () => 1 + Math.floor(Math.random() * 40)
const kinds = [
  (name) => ask('/v1/classify', { model: name, input: randomText(words()) }),
  (name) => ask('/v1/classify', { model: name, input: [randomText(words()), 'a dog'] }),
  (name) => ask('/predict', { model: name, inputs: randomText(words()) }),
  (name) =>
    ask('/v1/completions', { model: name, prompt: randomText(words()), max_tokens: 4 }),
  (name) =>
    ask('/v1/completions', {
      ...{ model: name, prompt: randomText(words()), max_tokens: 6, stream: true },
      ...{ n: 2, logprobs: 2, stop: ['a'] },
    }),
  (name) =>
    ask(
      '/v1/completions',
      { model: name, prompt: randomText(words()), max_tokens: 200, n: 2, stream: true },
      Math.ceil(Math.random() * 40),
    ),
  (name) =>
    ask(
      '/v1/classify',
      { model: name, input: randomText(200) },
      Math.ceil(Math.random() * 20),
    ),
  () => ask('/v1/models'),
  () => ask('/v1/classify', { model: 'none', input: 'a' }),
  () => ask('/v1/classify', '{ "model": '),
  () => ask('/v1/completions', { model: 'p0', prompt: 7 }),
]

function residentBytes() {
  const text = readFileSync(`/proc/${server.pid}/status`, 'utf8')
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(text)[1])
}

const request = (i) => kinds[i % kinds.length](`p${i % PROMPTS}`)
// The collector's turns move it by a twentieth: medians of many looks are compared.
const looks = []
const looking = setInterval(() => looks.push(residentBytes()), 250)
const { seconds } = await closedLoad({ count: COUNT, concurrency: 32, request })
clearInterval(looking)
const between = (from, to) =>
  median(looks.slice(Math.floor(from * looks.length), Math.ceil(to * looks.length)))
const before = between(0.35, 0.5)
const after = between(0.85, 1)
const metrics = await (await fetch(`${server.url}/metrics`)).text()
await server.end()
const left = metrics.split('\n').filter((line) => /^lopt_(queue|running)/.test(line))
console.log([...statuses].map(([status, count]) => `${status}: ${count}`).join(', '))
console.log(left.join('\n'))
report({
  bench: `soak, ${COUNT} requests, ${(COUNT / seconds).toFixed(0)} a second: resident memory, its last part beside its middle`,
  ...{ lopt: `${(after / 1e6).toFixed(0)} MB`, peer: `${(before / 1e6).toFixed(0)} MB` },
  ...{ ratio: `${(after / before).toFixed(3)}x`, aim: 'at most 1.02x', peak: '' },
})
