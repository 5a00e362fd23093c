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
import { generator, requestOf } from './fuzz-requests.mjs'

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
