// The routes for other frameworks: a (req, res) handler as Express takes it, and a fetch handler as Hono and Next take it.

import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { FastifyInstance } from 'fastify'
import type { Engine } from '../engine/index.js'
import { draining } from './api-error.js'
import type { ServeOptions } from './options.js'
import { createServer, type ServerOptions } from './server.js'

export interface HandlerOptions
  extends ServeOptions,
    Pick<ServerOptions, 'logger' | 'cors'> {
  /** What paths begin with, where the framework does not take it away: `/api/llm`. */
  prefix?: string | undefined
}

interface Closing {
  /** Refuses new requests and waits for running ones, `graceMs` at most. */
  close(): Promise<void>
}

/** Answers a request of Node's `http`; of a framework that reads bodies itself too (`express.json()`). */
export interface NodeHandler extends Closing {
  (request: IncomingMessage, response: ServerResponse): void
}

/**
 * @example
 * app.use('/llm', nodeHandler(engine))
 */
export function nodeHandler(engine: Engine, options: HandlerOptions = {}): NodeHandler {
  const server = createServer(engine, options)
  const ready = server.ready()
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    ready.then(
      () => server.routing(request, response),
      (error) => response.destroy(error),
    )
  }
  return Object.assign(handle, { close: () => server.close() })
}

/** Answers a `Request`. */
export interface FetchHandler extends Closing {
  (request: Request): Promise<Response>
}

/**
 * @example
 * app.all('/llm/*', (c) => handler(c.req.raw)) // const handler = fetchHandler(engine, { prefix: '/llm' })
 */
export function fetchHandler(engine: Engine, options: HandlerOptions = {}): FetchHandler {
  const server = createServer(engine, options)
  const calls = new Map<string, AbortSignal>()
  // Fastify's inject ends a request that is being read, and none that is being answered
  server.addHook('onRequest', async ({ headers }, { raw }) => {
    const end = () => raw.destroy()
    const signal = calls.get(String(headers[CALL]))
    if (signal?.aborted) end()
    else signal?.addEventListener('abort', end, { once: true })
  })
  let isClosed = false
  const handle = async (request: Request) => {
    if (isClosed) {
      const { status, body, headers } = draining()
      return Response.json(body, { status, headers })
    }
    if (request.signal.aborted) return new Response(null, { status: 499 }) // nobody will read it
    const id = randomUUID()
    const gone = new AbortController()
    calls.set(id, AbortSignal.any([request.signal, gone.signal]))
    return await answered(server, request, id, (isWhole) => {
      if (!isWhole) gone.abort()
      calls.delete(id)
    })
  }
  const close = async () => {
    const closing = server.close()
    isClosed = true
    await closing
  }
  return Object.assign(handle, { close })
}

/** Which call a request is, in a header that only this file writes. */
const CALL = 'x-lopt-call'
// They are about a connection, and there is none here.
const HOP_BY_HOP = ['connection', 'transfer-encoding', 'keep-alive']

/** @param end called once the answer is over, or nobody reads it any more */
async function answered(
  server: FastifyInstance,
  request: Request,
  id: string,
  end: (isWhole: boolean) => void,
): Promise<Response> {
  const { pathname, search } = new URL(request.url)
  const body = request.body as ReadableStream | null
  try {
    const answer = await server.inject({
      method: request.method as 'GET',
      url: pathname + search,
      headers: { ...Object.fromEntries(request.headers), [CALL]: id },
      ...(body && { payload: Readable.fromWeb(body) }),
      payloadAsStream: true,
    })
    const stream = answer.stream()
    stream.once('close', () => end(stream.readableEnded))
    const headers = Object.entries(answer.headers).flatMap(([name, value]) =>
      HOP_BY_HOP.includes(name) || value === undefined ? [] : [[name, String(value)]],
    ) as [string, string][]
    const status = answer.statusCode
    const isEmpty = request.method === 'HEAD' || status === 204 || status === 304
    if (isEmpty) stream.resume()
    const sent = isEmpty ? null : (Readable.toWeb(stream) as ReadableStream<Uint8Array>)
    return new Response(sent, { status, headers })
  } catch (error) {
    end(false)
    if (!request.signal.aborted) throw error
    return new Response(null, { status: 499 }) // nobody will read it
  }
}
