// The routes inside other applications.

import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import express from 'express'
import { fastify } from 'fastify'
import { Hono } from 'hono'
import OpenAI from 'openai'
import { expect, test } from 'vitest'
import {
  createServer,
  fetchHandler,
  nodeHandler,
  servePlugin,
} from '../../lib/serve/index.js'
import { fakeEngine } from './fake-engine.js'
import { asker, closeLater, until } from './listening.js'

const completion = { model: 'plain', prompt: 'a', temperature: 0, max_tokens: 3 }

/** What every way of mounting must do below `url`. */
async function serves(url: string, engine: ReturnType<typeof fakeEngine>): Promise<void> {
  const ask = asker(url)
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
  const whole = await openai.completions.create(completion)
  expect(whole.choices[0]?.text).toBe('abc')
  let text = ''
  for await (const { choices } of await openai.completions.create({
    ...completion,
    stream: true,
  })) {
    text += choices[0]?.text
  }
  expect(text).toBe('abc')
  expect((await ask('/health')).json).toEqual({ status: 'ok' })
  const missing = await ask('/v1/models/nobody')
  expect([missing.status, missing.json.error.code]).toEqual([404, 'model_not_found'])
  expect(missing.headers.get('x-request-id')).toBeTruthy()
  expect((await ask('/v1/completions', { ...completion, n: 'x' })).status).toBe(422)
  expect((await ask('/v1/completions', '{')).status).toBe(400)
  expect((await ask('/')).text).toContain('<!doctype html>')
  // a client that goes
  engine.how.tokenMs = 20
  const controller = new AbortController()
  const stream = await openai.completions.create(
    { ...completion, max_tokens: 60, stream: true },
    { signal: controller.signal },
  )
  for await (const _ of stream) controller.abort()
  await until(() => engine.busy === 0)
}

test('Express takes the (req, res) handler, also behind a parser of bodies', async () => {
  const engine = fakeEngine()
  const handler = nodeHandler(engine)
  const app = express()
  app.get('/own', (_, response) => void response.send('own'))
  app.use('/llm', handler)
  app.use('/parsed', express.json(), handler)
  const server = app.listen(0, '127.0.0.1')
  closeLater(async () => {
    await handler.close()
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await serves(`${url}/llm`, engine)
  engine.how.tokenMs = 0
  const parsed = await asker(url)('/parsed/v1/completions', completion)
  expect(parsed.json.choices[0].text).toBe('abc')
  expect((await asker(url)('/own')).text).toBe('own')
})

test('Node’s own http takes it too', async () => {
  const engine = fakeEngine()
  const handler = nodeHandler(engine, { prefix: '/llm' })
  const server = createHttpServer(handler).listen(0, '127.0.0.1')
  closeLater(async () => {
    await handler.close()
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  await serves(`http://127.0.0.1:${(server.address() as AddressInfo).port}/llm`, engine)
})

test('Hono takes the fetch handler', async () => {
  const engine = fakeEngine()
  const handler = fetchHandler(engine, { prefix: '/llm' })
  const app = new Hono()
  app.get('/own', (c) => c.text('own'))
  app.all('/llm/*', (c) => handler(c.req.raw))
  app.all('/llm', (c) => handler(c.req.raw))
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  closeLater(async () => {
    await handler.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await serves(`${url}/llm`, engine)
  expect((await asker(url)('/own')).text).toBe('own')
})

test('the fetch handler answers without a connection, with backpressure and an end', async () => {
  const engine = fakeEngine()
  const handler = fetchHandler(engine)
  const ask = (body: object, init: RequestInit = {}) =>
    handler(
      new Request('http://any/v1/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        ...init,
      }),
    )
  const head = await handler(new Request('http://any/v1/models', { method: 'HEAD' }))
  expect([head.status, await head.text()]).toEqual([200, ''])
  const answer = await ask({
    ...completion,
    max_tokens: 50,
    n: 16,
    logprobs: 5,
    stream: true,
  })
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  await reader.read()
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(engine.busy).toBe(16)
  expect(engine.stats().totals.tokensMade).toBeLessThan(50 * 16)
  await reader.cancel()
  await until(() => engine.busy === 0)
  await handler.close()
  const closed = await ask(completion)
  expect([closed.status, closed.headers.get('retry-after')]).toEqual([503, '1'])
})

test('a Fastify application keeps its own routes, parsers and errors beside the plugin', async () => {
  const engine = fakeEngine()
  const app = fastify()
  app.setErrorHandler((error, _, reply) => reply.code(418).send(String(error)))
  app.setNotFoundHandler((_, reply) => reply.code(404).send('own'))
  app.addContentTypeParser('text/own', { parseAs: 'string' }, (_, body, done) =>
    done(null, body),
  )
  app.post('/own', async ({ body }) => ({ body }))
  app.get('/fails', async () => {
    throw new Error('own')
  })
  app.register(servePlugin, { prefix: '/llm', engine })
  app.register(servePlugin, { prefix: '/other', engine, apiKeys: ['secret'] })
  closeLater(() => app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  await serves(`${url}/llm`, engine)
  const ask = asker(url)
  const own = { method: 'POST', body: 'x', headers: { 'content-type': 'text/own' } }
  expect((await ask('/own', undefined, own)).json).toEqual({ body: 'x' })
  expect((await ask('/fails')).status).toBe(418)
  expect((await ask('/nowhere')).text).toBe('own')
  expect((await ask('/llm/nowhere')).json.error.type).toBe('invalid_request_error')
  expect((await ask('/other/v1/models')).status).toBe(401)
  const { json } = await ask('/llm/openapi.json')
  expect(Object.keys(json.paths)).toContain('/llm/v1/completions')
})

test('the plugin without a prefix leaves what is not found to the application', async () => {
  const app = fastify()
  app.setNotFoundHandler((_, reply) => reply.code(404).send('own'))
  app.register(servePlugin, { engine: fakeEngine() })
  closeLater(() => app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  expect((await asker(url)('/nowhere')).text).toBe('own')
  expect((await asker(url)('/v1/models')).status).toBe(200)
})

test('a server may have a prefix', async () => {
  const engine = fakeEngine()
  const server = createServer(engine, { prefix: '/api/llm', graceMs: 1000 })
  closeLater(() => server.close())
  const url = await server.listen({ port: 0, host: '127.0.0.1' })
  await serves(`${url}/api/llm`, engine)
})
