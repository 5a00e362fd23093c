// Requests over HTTP, GPT-2 small's shape, texts of 40 tokens of 16 prompts mixed, 32 at a time; and sixteen texts that are
// continued at once. Peers: transformers and PEFT behind FastAPI and uvicorn, one adapter at a time; onnxruntime-node behind
// Fastify, without prompts; llama.cpp in 8 bits. Then what HTTP costs over the engine, and how long the first token takes.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createEngine, loadBackbone, loadPrompt } from '../dist/index.js'
import {
  closedLoad,
  openLoad,
  post,
  quantile,
  randomText,
  streamed,
} from './driver/http-load.mjs'
import { modelSource } from './driver/models.mjs'
import { onnxFiles } from './driver/onnx.mjs'
import {
  fastApiServer,
  loptServer,
  onnxServer,
  promptsFolder,
} from './driver/servers.mjs'
import { isQuick, median, RUNS } from './driver/settings.mjs'
import { llamaSide, report } from './driver/sides.mjs'

const PROMPTS = 16
const CONCURRENCY = 32
const COUNT = isQuick ? 64 : 96
const STREAMS = 16
const TOKENS = 48
// 38 words and the template's two are 40 tokens or a few more.
const text = () => randomText(38)
const nameOf = (i) => `p${i % PROMPTS}`

const model = await modelSource('gpt2-small')
const prompts = await promptsFolder(model, PROMPTS)

// `npm run bench -- serve classify`: these only.
const parts = {
  classify: classification,
  streams,
  'first-tokens': firstTokens,
  http: httpCost,
}
const wanted = process.argv[2]
for (const [name, part] of Object.entries(parts)) {
  if (wanted === undefined || wanted === name) await part()
}

/** Requests a second of three servers in turn. */
async function classification() {
  const files = onnxFiles(model)
  const { n_embd } = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8'))
  const servers = {
    lopt: await loptServer(model, prompts),
    'lopt, bfloat16': await loptServer(model, prompts, ['--dtype', 'bfloat16']),
    'lopt, int8': await loptServer(model, prompts, ['--dtype', 'int8']),
    fastapi: await fastApiServer(model, PROMPTS),
    onnxruntime: files && (await onnxServer(model, files.float32, n_embd)),
  }
  const found = Object.fromEntries(Object.keys(servers).map((name) => [name, []]))
  for (let run = -1; run < RUNS; run += 1) {
    for (const [name, server] of Object.entries(servers)) {
      if (server === undefined) continue
      const isOurs = name.startsWith('lopt')
      const url = server.url + (isOurs ? '/v1/classify' : '/classify')
      const { seconds } = await closedLoad({
        count: COUNT,
        concurrency: CONCURRENCY,
        async request(i) {
          const { status, body } = await post(url, { model: nameOf(i), input: text() })
          if (status !== 200)
            throw new Error(`${name}: ${status} ${JSON.stringify(body)}`)
        },
      })
      if (run >= 0) found[name].push(COUNT / seconds) // the first run warms up
    }
  }
  for (const server of Object.values(servers)) await server?.end()
  const ours = Object.keys(servers).filter((name) => name.startsWith('lopt'))
  const pairs = ours.flatMap((name) => [
    [name, 'fastapi', 4],
    [name, 'onnxruntime', 2],
  ])
  for (const [own, peer, atLeast] of pairs) {
    if (servers[peer] === undefined) continue
    const [a, b] = [median(found[own]), median(found[peer])]
    report({
      bench: `serve, classify, ${own} beside ${peer}`,
      ...{ lopt: `${a.toFixed(1)} /s`, peer: `${b.toFixed(1)} /s` },
      ...{ ratio: `${(a / b).toFixed(2)}x`, aim: `${atLeast}x`, peak: '' },
    })
  }
}

/** Tokens a second of sixteen streams over HTTP, weights of 8 bits, beside llama.cpp's library. */
async function streams() {
  const server = await loptServer(model, prompts, ['--dtype', 'int8'])
  const peer = await llamaSide({
    ...{ model, lengths: Array(STREAMS).fill(17), P: 20, newTokens: TOKENS },
  })
  const found = { lopt: [], peer: [] }
  const own = async () => {
    const begin = performance.now()
    const made = await Promise.all(
      Array.from({ length: STREAMS }, (_, i) =>
        streamed(`${server.url}/v1/completions`, {
          ...{ model: nameOf(i), prompt: randomText(17), temperature: 0 },
          ...{ max_tokens: TOKENS, min_tokens: TOKENS },
        }),
      ),
    )
    const wrong = made.find(({ status }) => status !== 200)
    if (wrong) throw new Error(`a stream was answered with ${wrong.status}`)
    return (STREAMS * TOKENS) / ((performance.now() - begin) / 1000)
  }
  await own()
  for (let run = 0; run < RUNS; run += 1) {
    found.lopt.push(await own())
    if (peer) found.peer.push((STREAMS * TOKENS) / (await peer.ask('run')).wholeSeconds)
  }
  for (const side of [server, peer]) await side?.end()
  if (peer === undefined) return
  const [a, b] = [median(found.lopt), median(found.peer)]
  report({
    bench: `serve, ${STREAMS} streams, int8`,
    ...{ lopt: `${a.toFixed(0)} tokens/s`, peer: `${b.toFixed(0)} tokens/s` },
    ...{ ratio: `${(a / b).toFixed(2)}x`, aim: '3x', peak: '' },
  })
}

/** How long the first token takes at half of what the server can do. */
async function firstTokens() {
  const server = await loptServer(model, prompts, ['--dtype', 'int8'])
  const ask = (i) =>
    streamed(`${server.url}/v1/completions`, {
      ...{ model: nameOf(i), prompt: randomText(17), temperature: 0 },
      ...{ max_tokens: 16, min_tokens: 16 },
    })
  const full = await closedLoad({ count: COUNT, concurrency: STREAMS, request: ask })
  const perSecond = COUNT / full.seconds / 2
  const answers = await openLoad({ perSecond, seconds: isQuick ? 2 : 30, request: ask })
  await server.end()
  const first = answers.map((answer) => answer.first)
  report({
    bench: `serve, first token at ${perSecond.toFixed(1)} requests a second, half load`,
    lopt: `p50 ${quantile(first, 0.5).toFixed(0)} ms, p99 ${quantile(first, 0.99).toFixed(0)} ms`,
    ...{ peer: '', ratio: '', aim: '', peak: '' },
  })
}

/** The same requests to an engine in this process, and to one behind HTTP. */
async function httpCost() {
  const server = await loptServer(model, prompts)
  const backbone = await loadBackbone(model)
  const own = Array.from({ length: PROMPTS }, (_, i) => [
    nameOf(i),
    loadPrompt(join(prompts, `${nameOf(i)}.lopt.safetensors`), backbone),
  ])
  const engine = createEngine({ backbone, prompts: Object.fromEntries(own) })
  const found = { engine: [], http: [] }
  const load = (request) =>
    closedLoad({ count: COUNT, concurrency: CONCURRENCY, request })
  for (let run = -1; run < RUNS; run += 1) {
    const alone = await load((i) =>
      engine.classify({ prompt: nameOf(i), inputs: [text()] }),
    )
    const behind = await load((i) =>
      post(`${server.url}/v1/classify`, { model: nameOf(i), input: text() }),
    )
    if (run < 0) continue
    found.engine.push(alone.seconds)
    found.http.push(behind.seconds)
  }
  await server.end()
  await engine.close()
  backbone.dispose()
  const [a, b] = [median(found.http), median(found.engine)]
  report({
    bench: 'serve, classify over HTTP beside the engine alone',
    ...{ lopt: `${(COUNT / a).toFixed(1)} /s`, peer: `${(COUNT / b).toFixed(1)} /s` },
    ...{ ratio: `${(b / a).toFixed(2)}x`, aim: '0.85x', peak: '' },
  })
}
