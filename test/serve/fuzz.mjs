// Sends random and mutated requests to every route of a server, and looks at every answer. As a program it starts a server of its
// own from dist/:
//
//   node test/serve/fuzz.mjs [COUNT] [SEED]

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const AT_ONCE = 12

/**
 * @param {{ url: string, key: string, count: number, seed: number, models: readonly string[] }} options
 * @returns {Promise<{ statuses: Record<string, number>, problems: string[] }>} what is wrong with answers, nothing if all is well
 */
export async function fuzz({ url, key, count, seed, models }) {
  /** @type {Record<string, number>} */
  const statuses = {}
  /** @type {string[]} */
  const problems = []
  let next = 0
  const worker = async () => {
    while (next < count && problems.length < 20) {
      const number = next++
      // each request from its own number: one that fails can be sent again alone
      const random = generator(seed * 1_000_003 + number)
      const request = requestOf(random, { key, models })
      const { status, problem } = await send(url, request)
      statuses[status] = (statuses[status] ?? 0) + 1
      if (problem) problems.push(`request ${number}: ${problem}: ${shown(request)}`)
      if (number % 100 === 0) {
        const health = await fetch(`${url}/health`).catch((error) => error)
        if (health.status !== 200)
          problems.push(`request ${number}: no health: ${health}`)
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return { statuses, problems }
}

function shown(request) {
  return JSON.stringify(request, (_, value) =>
    typeof value === 'string' ? value.slice(0, 300) : value,
  ).slice(0, 1500)
}

/** mulberry32, with what is drawn from it. */
function generator(seed) {
  let state = seed >>> 0
  const real = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n) => Math.floor(real() * n)
  return {
    real,
    below,
    chance: (p) => real() < p,
    pick: (list) => list[below(list.length)],
  }
}

const TEXTS = [
  'The film was',
  '',
  ' ',
  'a',
  'Grüße, 世界',
  '👋🏽',
  '\0',
  '\ud83d',
  '\udc00x',
  'a\nb\r\n',
  '<|endoftext|>',
  'late '.repeat(30),
  'x'.repeat(5000),
  '{text}',
  '"\\',
  '__proto__',
  '../../etc/passwd',
  '\u202e',
  '\ufeff',
]
const NUMBERS = [
  0,
  1,
  -1,
  2,
  3,
  5,
  16,
  0.5,
  -0.5,
  1.5,
  1e-9,
  1e9,
  1e21,
  1e308,
  -1e308,
  5e-324,
  2 ** 31,
  2 ** 53,
  2 ** 53 - 1,
  Infinity,
]
const FIELDS = {
  '/v1/completions': [
    'model',
    'prompt',
    'max_tokens',
    'min_tokens',
    'temperature',
    'top_p',
    'top_k',
    'n',
    'best_of',
    'stop',
    'seed',
    'stream',
    'stream_options',
    'logprobs',
    'echo',
    'repetition_penalty',
    'frequency_penalty',
    'presence_penalty',
    'logit_bias',
    'suffix',
    'user',
  ],
  '/v1/classify': ['model', 'input', 'candidates', 'labels', 'user'],
  '/predict': ['model', 'inputs', 'raw_scores', 'truncate'],
  '/v1/prompts': ['name'],
}

function anyValue(random, depth = 0) {
  const leaf = [
    () => random.pick(TEXTS),
    () => random.pick(NUMBERS),
    () => random.pick([true, false, null]),
  ]
  const all = [
    ...leaf,
    () => Array.from({ length: random.below(5) }, () => anyValue(random, depth + 1)),
    () => Array.from({ length: random.below(6) }, () => random.pick(NUMBERS)),
    () => Array.from({ length: random.below(6) }, () => random.pick(TEXTS)),
    () =>
      Object.fromEntries(
        Array.from({ length: random.below(4) }, () => [
          random.pick(['text', 'a', 'include_usage', 'constructor', '5', 'label']),
          anyValue(random, depth + 1),
        ]),
      ),
    () => Array(random.pick([129, 300])).fill(random.pick(['a', 1])),
  ]
  return random.pick(depth > 2 ? leaf : all)()
}

function validBody(path, random, models) {
  const text = () =>
    random.pick(['The film was', 'A delight', 'Rain at noon', 'The dog', 'a'])
  const model = random.pick(models)
  const maybe = (p, fields) => (random.chance(p) ? fields : {})
  switch (path) {
    case '/v1/completions':
      return {
        model,
        prompt: random.pick([text(), [text(), text()], [1, 2, 3], [[1], [2, 3]]]),
        max_tokens: 1 + random.below(6),
        ...maybe(0.3, { n: 1 + random.below(3) }),
        ...maybe(0.4, { temperature: random.pick([0, 0.5, 1, 2]) }),
        ...maybe(0.2, { stop: random.pick(['e', ['a', 'the']]) }),
        ...maybe(0.3, { logprobs: random.below(6), echo: random.chance(0.5) }),
        ...maybe(0.3, {
          stream: true,
          ...maybe(0.5, { stream_options: { include_usage: true } }),
        }),
        ...maybe(0.2, { seed: random.below(1e6), top_k: random.below(5), top_p: 0.5 }),
      }
    case '/v1/classify':
      return {
        model,
        input: random.pick([text(), [text(), text()], { text: text() }]),
        ...maybe(0.3, { labels: ['yes', 'no'] }),
      }
    case '/predict':
      return {
        model,
        inputs: random.pick([text(), [[text()], [text()]], { text: text() }]),
        raw_scores: random.chance(0.3),
      }
    default:
      return { name: random.pick(['p0', 'new', '../x', 'nobody']) }
  }
}

function requestOf(random, { key, models }) {
  if (random.chance(0.02)) return { raw: rawRequest(random) }
  const path = random.pick(Object.keys(FIELDS))
  const isGet = random.chance(0.1)
  const request = {
    method: isGet ? 'GET' : 'POST',
    path: isGet
      ? random.pick([
          '/',
          '/v1/models',
          `/v1/models/${random.pick(models)}`,
          '/metrics',
          '/openapi.json',
          '/ready',
        ])
      : path,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: undefined,
    abortMs: random.chance(0.05) ? random.below(30) : undefined,
  }
  if (isGet) delete request.headers['content-type']
  else request.body = bodyOf(path, random, models)
  if (random.chance(0.1)) mutateAround(request, random)
  return request
}

function bodyOf(path, random, models) {
  const kind = random.real()
  const body = kind < 0.05 ? anyValue(random) : validBody(path, random, models)
  if (kind > 0.5 && typeof body === 'object' && body !== null) {
    for (let i = 0; i <= random.below(3); i++) {
      const field = random.chance(0.95) ? random.pick(FIELDS[path]) : random.pick(TEXTS)
      if (random.chance(0.1)) delete body[field]
      else body[field] = anyValue(random)
    }
  }
  const text =
    JSON.stringify(body, (_, value) => (value === Infinity ? 1e308 : value)) ?? ''
  return random.chance(0.15) ? mutateText(text, random) : text
}

function mutateText(text, random) {
  const at = random.below(text.length + 1)
  return random.pick([
    () => text.slice(0, at),
    () => text.slice(0, at) + String.fromCharCode(random.below(300)) + text.slice(at + 1),
    () => text.slice(0, at) + text.slice(random.below(text.length + 1)),
    () => text.replace(/"[^"]*":/, '"__proto__":'),
    () => '['.repeat(random.below(3000)) + text,
    () => text.replace(/\d+/, '1e999'),
    () => Buffer.from([...Buffer.from(text.slice(0, at)), random.below(256), 0xff]),
    () => text + text,
    () => '',
  ])()
}

function mutateAround(request, random) {
  random.pick([
    () =>
      (request.headers['content-type'] = random.pick([
        'text/plain',
        'application/octet-stream',
        'application/json; charset=utf-16',
        ';',
        'multipart/form-data',
      ])),
    () =>
      (request.headers['content-encoding'] = random.pick([
        'gzip',
        'br',
        'identity',
        'x',
      ])),
    () =>
      (request.headers.authorization = random.pick([
        '',
        'Bearer',
        'Bearer no',
        'Basic Og==',
        'x'.repeat(3000),
      ])),
    () => (request.headers['x-request-id'] = random.pick(['a', 'a b', 'x'.repeat(500)])),
    () =>
      (request.method = random.pick([
        'PUT',
        'DELETE',
        'PATCH',
        'OPTIONS',
        'HEAD',
        'GET',
      ])),
    () =>
      (request.path += random.pick([
        '/',
        '/..',
        '?name=a',
        '?name=..%2fa',
        '%2f',
        '%00',
        '%',
        '/a/b/c',
        '?__proto__=1',
        'x'.repeat(3000),
      ])),
    () =>
      (request.path = random.pick([
        '/v1/prompts/a',
        '/v1/prompts/..%2f',
        '/v1/models/%ff',
        '//',
        '/v1',
        '/%2e%2e/',
        '/v1/chat/completions',
      ])),
  ])()
  if (request.method === 'GET' || request.method === 'HEAD') request.body = undefined
}

function rawRequest(random) {
  return random.pick([
    () => 'GARBAGE\r\n\r\n',
    () =>
      `GET /health HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(random.below(3000))}\r\n`,
    () =>
      `GET /health HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(random.below(40_000))}\r\n\r\n`,
    () =>
      'POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\ncontent-length: 20\r\n\r\n',
    () => 'POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    () =>
      'POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"inputs"',
    () => 'GET http://[ HTTP/1.1\r\nhost: a\r\n\r\n',
    () => 'GET * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
    () => 'GET /health HTTP/9.9\r\n\r\n',
    () => 'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
    () =>
      'GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
    () =>
      Buffer.from(
        Array.from({ length: random.below(200) }, () => random.below(256)),
      ).toString('latin1'),
  ])()
}

async function send(url, request) {
  if (request.raw !== undefined) return await sendRaw(url, request.raw)
  const { method, path, headers, body, abortMs } = request
  const signal =
    abortMs === undefined ? AbortSignal.timeout(30_000) : AbortSignal.timeout(abortMs)
  try {
    const answer = await fetch(url + path, { method, headers, body, signal })
    const text = await answer.text()
    return { status: answer.status, problem: wrongWith(answer, text, request) }
  } catch (error) {
    if (abortMs !== undefined && error.name === 'TimeoutError') return { status: 'gone' }
    // headers and paths that the client itself refuses
    if (error instanceof TypeError && error.cause === undefined)
      return { status: 'unsent' }
    return { status: 'failed', problem: `${error} ${error.cause ?? ''}` }
  }
}

function wrongWith({ status, headers }, text, { method, path, body }) {
  const type = headers.get('content-type') ?? ''
  if (!headers.get('x-request-id')) return `${status} without x-request-id`
  if (status >= 500 && status !== 503) return `status ${status}: ${text.slice(0, 200)}`
  if (method === 'HEAD') return text === '' ? undefined : 'HEAD with a body'
  if (type.startsWith('application/json')) {
    let json
    try {
      json = JSON.parse(text)
    } catch {
      return `${status} with no JSON: ${text.slice(0, 200)}`
    }
    return status >= 400 ? wrongError(json, path) : wrongAnswer(json, path, body)
  }
  if (status !== 200) return `${status} with ${type}`
  if (type.startsWith('text/event-stream')) return wrongEvents(text)
  return /^text\/(html|plain)/.test(type) ? undefined : `200 with ${type}`
}

function wrongError(json, path) {
  if (path.startsWith('/ready') && json.status === 'closing') return undefined
  const { error } = json
  if (typeof error?.message !== 'string' || error.message === '')
    return 'an error without a message'
  const keys = Object.keys(error).sort().join()
  if (keys !== 'code,message,param,type') return `an error with ${keys}`
  // a message of V8's own: something was not checked
  if (/undefined|null \(|is not a function|not iterable|call stack/.test(error.message)) {
    return `an error of the program: ${error.message}`
  }
  return undefined
}

function wrongAnswer(json, path, body) {
  const numbers = (list) =>
    Array.isArray(list) && list.every((value) => Number.isFinite(value))
  if (path === '/v1/completions') {
    const { prompt, n } = JSON.parse(body)
    const texts =
      Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt.length : 1
    if (json.choices.length !== texts * (n ?? 1)) return `${json.choices.length} choices`
    const isWrong = json.choices.some(
      ({ index, text, finish_reason }, i) =>
        index !== i ||
        typeof text !== 'string' ||
        !['stop', 'length'].includes(finish_reason),
    )
    if (isWrong || !numbers(Object.values(json.usage))) return 'a completion that is none'
  }
  if (path === '/v1/classify') {
    const isRight = json.data.every(
      ({ labels, label, probs, scores }) =>
        labels.includes(label) &&
        numbers(probs) &&
        numbers(scores) &&
        Math.abs(probs.reduce((sum, p) => sum + p, 0) - 1) < 1e-6,
    )
    if (!isRight) return 'a classification that is none'
  }
  return undefined
}

function wrongEvents(text) {
  const events = text.split('\n\n')
  if (events.pop() !== '') return 'a stream that is cut off'
  const last = events.at(-1)
  for (const event of events) {
    if (!event.startsWith('data: ')) return `an event ${event.slice(0, 100)}`
    const data = event.slice(6)
    if (data === '[DONE]' ? event !== last : !JSON.parse(data))
      return 'an event out of place'
  }
  const isError = last !== 'data: [DONE]' && JSON.parse(last.slice(6)).error !== undefined
  return last === 'data: [DONE]' || isError ? undefined : 'a stream without an end'
}

function sendRaw(url, text) {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let answer = ''
    socket.setEncoding('latin1').on('data', (piece) => {
      answer += piece
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      const [, status = 'ended'] = /^HTTP\/1\.1 (\d{3}) /.exec(answer) ?? []
      resolve({ status, problem: Number(status) >= 500 ? `status ${status}` : undefined })
    })
    socket.write(text, 'latin1')
    setTimeout(() => socket.destroy(), 200)
  })
}

/** Starts `lopt serve`, and gives its address once it listens. */
async function startServer(folder, key) {
  const root = join(import.meta.dirname, '../..')
  const keys = join(folder, 'keys')
  writeFileSync(keys, `${key}\n`)
  const args = [
    'serve',
    '--backbone',
    'builtin:nano-gpt2',
    '--port',
    '0',
    '--json',
    '--api-key-file',
    keys,
    '--allow-admin',
    '--prompts',
    folder,
    '--log-level',
    'error',
  ]
  const child = spawn(process.execPath, [join(root, 'dist/cli.js'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout })) {
    return { child, url: JSON.parse(line).url }
  }
  throw new Error('The server did not start')
}

async function main() {
  const [count = 2000, seed = 1] = process.argv.slice(2).map(Number)
  const folder = mkdtempSync(join(tmpdir(), 'lopt-fuzz-'))
  const key = 'fuzz-key'
  try {
    const { child, url } = await startServer(folder, key)
    const ended = new Promise((resolve) =>
      child.once('exit', (code, signal) => resolve(code ?? signal)),
    )
    const began = Date.now()
    const { statuses, problems } = await fuzz({
      url,
      key,
      count,
      seed,
      models: ['nano-gpt2'],
    })
    console.log(
      `${count} requests of seed ${seed} in ${(Date.now() - began) / 1000} s`,
      statuses,
    )
    for (const problem of problems) console.log(problem)
    child.kill('SIGTERM')
    const code = await ended
    if (code !== 0) problems.push(`the server ended with ${code}`)
    console.log(problems.length === 0 ? 'all is well' : `${problems.length} problems`)
    process.exitCode = problems.length === 0 ? 0 : 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
