// Load on a server: so many requests at a time, or so many a second; and what it took. Knows no route.

import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

const WORDS = 'the a dog house city good long time people water work day man'.split(' ')

/** Words without sense. */
export function randomText(words) {
  const word = () => WORDS[Math.floor(Math.random() * WORDS.length)]
  return Array.from({ length: words }, word).join(' ')
}

const agent = new Agent({ keepAlive: true })

/** By plain HTTP: the client shares the server's cores, and `fetch` takes three times as much of them. */
export function post(url, body) {
  const data = JSON.stringify(body)
  const headers = { 'content-type': 'application/json' }
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers }, (answer) => {
      const parts = []
      answer.on('data', (part) => parts.push(part))
      answer.on('error', reject)
      answer.on('end', () => {
        resolve({ status: answer.statusCode, body: JSON.parse(Buffer.concat(parts)) })
      })
    })
    sent.on('error', (error) => {
      // The server may have closed a connection in the moment in which it was used again.
      if (sent.reusedSocket && error.code === 'ECONNRESET') resolve(post(url, body))
      else reject(error)
    })
    sent.end(data)
  })
}

/**
 * `count` requests, `concurrency` at a time.
 *
 * @returns milliseconds of each, and seconds of all
 */
export async function closedLoad({ count, concurrency, request }) {
  const times = []
  let next = 0
  const worker = async () => {
    while (next < count) {
      const i = next++
      const begin = performance.now()
      await request(i)
      times.push(performance.now() - begin)
    }
  }
  const begin = performance.now()
  await Promise.all(Array.from({ length: concurrency }, worker))
  return { times, seconds: (performance.now() - begin) / 1000 }
}

/** `perSecond` requests for so long, whether those before were answered or not, at random times. */
export async function openLoad({ perSecond, seconds, request }) {
  const running = []
  const end = performance.now() + 1000 * seconds
  let at = performance.now()
  for (let i = 0; at < end; i += 1) {
    at += (-1000 * Math.log(1 - Math.random())) / perSecond
    const wait = at - performance.now()
    if (wait > 1) await delay(wait)
    running.push(request(i))
  }
  return await Promise.all(running)
}

/** The value below which this share of them lies. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
}

/** A stream of server-sent events: milliseconds to the first token, and tokens. */
export async function streamed(url, body) {
  const begin = performance.now()
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
  })
  if (!answer.ok) return { status: answer.status }
  let first
  let tokens = 0
  let rest = ''
  const decoder = new TextDecoder()
  for await (const bytes of answer.body) {
    rest += decoder.decode(bytes, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop()
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue
      first ??= performance.now() - begin
      tokens += 1
    }
  }
  return { status: answer.status, first, tokens, milliseconds: performance.now() - begin }
}
