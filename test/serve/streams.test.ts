// Answers that come slowly: to readers that stall, and to a server that is told to stop.

import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { fakeEngine } from './fake-engine.js'
import { closeLater, listening, until } from './listening.js'

const request = { model: 'plain', prompt: 'a', max_tokens: 50, stream: true }

/** Asks, and reads nothing of the answer. */
function askAndStall(url: string, body: object): Socket {
  const text = JSON.stringify(body)
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1' })
  closeLater(async () => socket.destroy())
  socket.on('error', () => {}) // it is cut off
  socket.pause()
  socket.write(
    `POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
  )
  return socket
}

/** A stream as text, as far as it comes. */
async function textOf(answer: Response): Promise<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const piece of answer.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(piece, { stream: true })
  }
  return text
}

function post(url: string, body: object): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
}

test('a stream is sent as server-sent events that no proxy holds back', async () => {
  const { url } = await listening(fakeEngine())
  const answer = await post(url, { ...request, max_tokens: 1, temperature: 0 })
  expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(answer.headers.get('x-accel-buffering')).toBe('no')
  expect(answer.headers.get('x-request-id')).toBeTruthy()
  const events = (await textOf(answer)).split('\n\n')
  expect(events).toHaveLength(4)
  expect(
    events.slice(0, 2).every((event) => event.startsWith('data: {"id":"cmpl-')),
  ).toBe(true)
  expect(events.slice(2)).toEqual(['data: [DONE]', ''])
})

test('a reader that stalls holds the engine up no further than its buffers go, and is cut off', async () => {
  const engine = fakeEngine({ positions: 4000 })
  const { url } = await listening(engine, { stallMs: 200 })
  // far more than the sockets' buffers take
  const long = { ...request, prompt: Array(8).fill('a'), n: 16, logprobs: 5 }
  askAndStall(url, { ...long, max_tokens: 2000 })
  await until(() => engine.busy > 0)
  await until(() => engine.busy === 0)
  expect(engine.stats().totals.tokensMade).toBeLessThan(8 * 16 * 2000)
})

test('a reader that is slow but reads is not cut off', async () => {
  const { url } = await listening(fakeEngine({ tokenMs: 30 }), { stallMs: 100 })
  const answer = await post(url, { ...request, max_tokens: 10 })
  expect(await textOf(answer)).toContain('[DONE]')
})

test('closing lets running requests end, refuses new ones, and says so', async () => {
  const engine = fakeEngine({ tokenMs: 10 })
  const { url, server, ask } = await listening(engine, { graceMs: 5000 })
  const streaming = post(url, { ...request, max_tokens: 20 })
  const whole = ask('/v1/completions', { ...request, stream: false, max_tokens: 20 })
  await until(() => engine.busy === 2)
  const closing = server.close()
  const refused = await ask('/v1/completions', request)
  expect([refused.status, refused.json.error.code]).toEqual([503, 'server_closing'])
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(refused.headers.get('connection')).toBe('close')
  const states = ['/ready', '/health', '/metrics'].map((path) => ask(path))
  expect((await Promise.all(states)).map(({ status }) => status)).toEqual([503, 200, 200])
  expect(await textOf(await streaming)).toContain('[DONE]')
  expect((await whole).status).toBe(200)
  await closing
  await expect(fetch(`${url}/health`)).rejects.toThrow()
})

test('what runs longer than the grace is ended with an error', async () => {
  const engine = fakeEngine({ tokenMs: 40 })
  const { url, server, ask } = await listening(engine, { graceMs: 100 })
  const streaming = post(url, request)
  const whole = ask('/v1/completions', { ...request, stream: false })
  await until(() => engine.busy === 2)
  await server.close()
  expect(engine.busy).toBe(0)
  const text = await textOf(await streaming)
  const last = text.trim().split('\n\n').at(-1) ?? ''
  expect(JSON.parse(last.replace('data: ', '')).error.code).toBe('server_closing')
  expect((await whole).status).toBe(503)
})

test('clients that go at any point leave nothing behind', async () => {
  const engine = fakeEngine({ tokenMs: 1 })
  const { ask } = await listening(engine)
  const going = Array.from({ length: 60 }, async (_, i) => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), (i * 7) % 40)
    const body = { ...request, stream: i % 2 === 0, n: 1 + (i % 3) }
    const init = { signal: controller.signal }
    await ask(
      i % 5 === 4 ? '/v1/classify' : '/v1/completions',
      i % 5 === 4 ? { model: 'review', input: 'a' } : body,
      init,
    ).catch(() => {})
  })
  await Promise.all(going)
  await until(() => engine.busy === 0)
  expect((await ask('/v1/completions', { ...request, stream: false })).status).toBe(200)
})
