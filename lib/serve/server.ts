// A server of its own: Fastify with time-outs and limits, and the routes on it. Knows no route.

import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import cors from '@fastify/cors'
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyServerOptions,
  fastify,
  LogController,
} from 'fastify'
import { z } from 'zod'
import type { Engine } from '../engine/index.js'
import { checkMade } from '../errors.js'
import { checkOptions } from '../fields.js'
import { ApiError, apiErrorOf } from './api-error.js'
import { checkServeOptions, type ServeOptions } from './options.js'
import { mount } from './plugin.js'

export interface ServerOptions extends ServeOptions {
  /** As Fastify's: pino's options, or true. Default: no log. */
  logger?: FastifyServerOptions['logger']
  /** Origins whose pages may ask, `*` for all; default: none. */
  cors?: readonly string[] | undefined
  /** Where the routes begin, default at the root. */
  prefix?: string | undefined
  /** How long a request may take to arrive, default 30 s. */
  requestTimeoutMs?: number | undefined
  /** How long its headers may take, default 10 s. */
  headersTimeoutMs?: number | undefined
  /** How long a connection may stay without a request, default 5 s. */
  keepAliveTimeoutMs?: number | undefined
  /** Connections at once, default 4096: more than may wait, so that these are told so. More are refused. */
  maxConnections?: number | undefined
}

const milliseconds = z.int().min(1)
const fields = z.strictObject({
  cors: z.array(z.string().min(1)).optional(),
  prefix: z
    .string()
    .regex(/^(\/[^/]+)*$/, 'Expected prefix to begin with a slash and to end without one')
    .default(''),
  requestTimeoutMs: milliseconds.default(30_000),
  headersTimeoutMs: milliseconds.default(10_000),
  keepAliveTimeoutMs: milliseconds.default(5000),
  maxConnections: z.int().min(1).default(4096),
})

// How often Node looks for connections that are too slow.
const LOOK_MS = 1000

/**
 * An HTTP server over an engine, not yet listening: `await createServer(engine).listen({ port: 8000 })`. `close()` refuses new
 * requests, waits for running ones `graceMs` at most, and leaves the engine as it is.
 *
 * @example
 * const server = createServer(engine)
 * await server.listen({ port: 8000 })
 *
 * @throws TypeError or RangeError naming the option that is wrong
 */
export function createServer(
  engine: Engine,
  options: ServerOptions = {},
): FastifyInstance {
  checkMade({ engine })
  const { logger = false, ...rest } = options
  const names = Object.keys(fields.shape) as (keyof typeof fields.shape)[]
  const own = checkOptions(
    fields,
    Object.fromEntries(names.map((name) => [name, options[name]])),
  )
  for (const name of names) delete rest[name]
  const settings = checkServeOptions(rest)
  const server = fastify({
    logger,
    // one line a request is written where it ends, also for a client that went away
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: settings.limits.maxBodyBytes,
    requestTimeout: own.requestTimeoutMs,
    keepAliveTimeout: own.keepAliveTimeoutMs,
    http: {
      headersTimeout: own.headersTimeoutMs,
      connectionsCheckingInterval: LOOK_MS,
    },
    // the routes say so themselves, in their own words
    return503OnClosing: false,
    // closing waits for requests as long as `graceMs` says
    pluginTimeout: 0,
    // what is left once requests had their time
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 1024 },
    requestIdHeader: false,
    genReqId: idOf,
    frameworkErrors(error, { id }, reply: FastifyReply) {
      const { status, body } = apiErrorOf(error)
      reply.code(status).header('x-request-id', id).send(body)
    },
    clientErrorHandler: refuseConnection,
  })
  server.server.maxConnections = own.maxConnections
  if (own.cors !== undefined) {
    server.register(cors, {
      origin: own.cors.includes('*') ? '*' : own.cors,
      methods: ['GET', 'POST', 'DELETE'],
      exposedHeaders: ['x-request-id', 'retry-after'],
      maxAge: 600,
      strictPreflight: false,
    })
  }
  server.register(
    async (instance) => mount(instance, engine, settings, { isWhole: true }),
    own.prefix === '' ? {} : { prefix: own.prefix },
  )
  return server
}

const REQUEST_ID = /^[\w.:-]{1,128}$/

/** The client's own, where it is one that a log can hold. */
function idOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
}

/** What is no request, came too slowly, or has too long headers: no route sees it. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  const { _httpMessage: answer } = socket as { _httpMessage?: { headersSent: boolean } }
  const isAnswered = answer?.headersSent === true
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswered) {
    socket.destroy()
    return
  }
  const [status, title, message] = REFUSALS[error.code ?? ''] ?? OTHER
  const body = JSON.stringify(new ApiError(status, message).body)
  const headers = [
    `HTTP/1.1 ${status} ${title}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${randomUUID()}`,
    'connection: close',
  ]
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`)
}

type Refusal = readonly [number, string, string]
const OTHER: Refusal = [400, 'Bad Request', 'This is no HTTP request']
const REFUSALS: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: [
    431,
    'Request Header Fields Too Large',
    'The headers are too long',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'The request came too slowly'],
}
