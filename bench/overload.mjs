// Ten times as many requests as a server can answer, for a minute: how long those take that it takes, what becomes of the
// rest, whether its memory stays, and how soon it is at rest. GPT-2 small's shape, texts of 40 tokens of 16 prompts, 32 requests
// wait at most.

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { closedLoad, openLoad, post, quantile, randomText } from './driver/http-load.mjs'
import { modelSource } from './driver/models.mjs'
import { loptServer, promptsFolder } from './driver/servers.mjs'
import { isQuick } from './driver/settings.mjs'
import { report } from './driver/sides.mjs'

const PROMPTS = 16
const WAITING = 32
const SECONDS = isQuick ? 3 : 60
const TIMES = isQuick ? 2 : 10
const model = await modelSource('gpt2-small')
const prompts = await promptsFolder(model, PROMPTS)
const server = await loptServer(model, prompts, ['--max-queued-requests', `${WAITING}`])

async function request(i) {
  const begin = performance.now()
  const body = { model: `p${i % PROMPTS}`, input: randomText(38) }
  const { status } = await post(`${server.url}/v1/classify`, body)
  return { status, milliseconds: performance.now() - begin }
}

function residentBytes() {
  const text = readFileSync(`/proc/${server.pid}/status`, 'utf8')
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(text)[1])
}

async function waitUntilAtRest() {
  const begin = performance.now()
  for (;;) {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    const isBusy = /^lopt_(queued_requests|running\w*)(\{.*\})? [1-9]/m.test(text)
    if (!isBusy) return (performance.now() - begin) / 1000
    await delay(20)
  }
}

await closedLoad({ count: WAITING, concurrency: WAITING, request }) // warms up
const count = isQuick ? 64 : 320
const fullLoad = () => closedLoad({ count, concurrency: WAITING, request })
const full = await fullLoad()
const perSecond = count / full.seconds
const samples = []
const sampling = setInterval(() => samples.push(residentBytes()), 1000)
const answers = await openLoad({
  perSecond: TIMES * perSecond,
  seconds: SECONDS,
  request,
})
clearInterval(sampling)
const rest = await waitUntilAtRest()
const fullAfter = await fullLoad()
await server.end()

const taken = answers.filter(({ status }) => status === 200)
const statuses = [...new Set(answers.map(({ status }) => status))].sort()
// Before and after: the machine may not be the same all the time.
const fullP99 = quantile([...full.times, ...fullAfter.times], 0.99)
// Connections and the heap have grown to what the load needs by then.
const settled = samples[Math.floor(samples.length / 6)]
const p99 = quantile(
  taken.map(({ milliseconds }) => milliseconds),
  0.99,
)
const row = (bench, lopt, peer, ratio, aim) =>
  report({ bench: `overload, ${bench}`, lopt, peer, ratio, aim, peak: '' })
row(
  `${(TIMES * perSecond).toFixed(0)} requests a second: p99 of those answered, beside full load`,
  `${p99.toFixed(0)} ms`,
  `${fullP99.toFixed(0)} ms`,
  `${(p99 / fullP99).toFixed(2)}x`,
  'at most 3x',
)
row(
  `answered a second (statuses ${statuses.join(', ')})`,
  `${(taken.length / SECONDS).toFixed(1)} /s`,
  `${perSecond.toFixed(1)} /s`,
  `${(taken.length / SECONDS / perSecond).toFixed(2)}x`,
  '',
)
row(
  'resident memory at the end, beside a sixth of the time',
  `${(samples.at(-1) / 1e6).toFixed(0)} MB`,
  `${(settled / 1e6).toFixed(0)} MB`,
  `${(samples.at(-1) / settled).toFixed(3)}x`,
  'flat',
)
row('at rest after', `${rest.toFixed(2)} s`, '', '', 'at most 5 s')
