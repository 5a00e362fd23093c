// What every route has at hand, and what a route is. Knows no single one.

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import type { Engine } from '../engine/index.js'
import type { LiveRequest, LiveRequests } from './live-requests.js'
import type { Metrics } from './metrics.js'
import type { ServeSettings } from './options.js'
import type { PromptsFolder } from './prompts-folder.js'
import type { TokenTexts } from './token-texts.js'

/** A server's own, for all of its routes. */
export interface Site {
  readonly engine: Engine
  readonly settings: ServeSettings
  readonly prompts: PromptsFolder
  readonly metrics: Metrics
  readonly live: LiveRequests
  readonly tokens: TokenTexts
  /** Of this server, in Unix seconds. */
  readonly startedAt: number
  /** What /openapi.json answers. */
  readonly openapi: () => unknown
}

/** One request. */
export interface Call<Body = unknown> {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly live: LiveRequest
  readonly site: Site
  readonly body: Body
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** As Fastify writes it; `*` takes slashes too. */
  readonly path: string
  readonly summary: string
  /** Answers without a key. */
  readonly isOpen?: boolean
  /** Answers while the server closes. */
  readonly isAlways?: boolean
  /** Changes what is served: off unless it is allowed. */
  readonly isAdmin?: boolean
  /** A page, for which a browser asks for the key. */
  readonly isPage?: boolean
  /** Takes bytes beside JSON. */
  readonly takesBytes?: boolean
  readonly body?: z.ZodType
  readonly query?: z.ZodType
  /** Of status 200: JSON, or a media type. */
  readonly answer: z.ZodType | string
  readonly handle: (call: Call) => unknown
}

/** A route with a JSON body, which its handler gets checked. */
export function jsonRoute<Body extends z.ZodType>(
  route: Omit<Route, 'body' | 'handle'> & {
    readonly body: Body
    readonly handle: (call: Call<z.output<Body>>) => unknown
  },
): Route {
  return route as unknown as Route
}
