// The routes on a Fastify instance, with what holds for all of them: who may ask, what is refused, how errors look. Knows no
// single route.

import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HTTPMethods,
  onRequestAsyncHookHandler,
} from 'fastify'
import type { Engine } from '../engine/index.js'
import { checkMade } from '../errors.js'
import { ApiError, apiErrorIn, checkBody, draining } from './api-error.js'
import { bodyReadBefore, readJsonBodies, refuseCompression } from './body.js'
import { keyCheck } from './keys.js'
import { LiveRequests } from './live-requests.js'
import { createMetrics } from './metrics.js'
import { openapiOf } from './openapi.js'
import { checkServeOptions, type ServeOptions, type ServeSettings } from './options.js'
import { PromptsFolder } from './prompts-folder.js'
import { retryAfter } from './retry-after.js'
import { routesOf } from './routes/index.js'
import type { Route, Site } from './site.js'
import { TokenTexts } from './token-texts.js'

export interface ServePluginOptions extends ServeOptions {
  engine: Engine
}

/**
 * The server's routes in a Fastify application, under the prefix that `register` is given. It leaves other routes, parsers and
 * error handlers of the application as they are; when the application closes, running requests end within `graceMs`.
 *
 * @example
 * app.register(servePlugin, { prefix: '/llm', engine, apiKeys: [key] })
 */
export async function servePlugin(
  instance: FastifyInstance,
  options: ServePluginOptions & { prefix?: string },
): Promise<void> {
  const { engine, prefix: _, ...own } = options
  checkMade({ engine })
  // without a prefix what is not found is the application's to say
  mount(instance, engine, checkServeOptions(own), { isWhole: instance.prefix !== '' })
}

/** @param how.isWhole whether all paths below are this server's */
export function mount(
  instance: FastifyInstance,
  engine: Engine,
  settings: ServeSettings,
  { isWhole }: { isWhole: boolean },
): void {
  const routes = routesOf(settings)
  const site = siteOf(instance, engine, settings, routes)
  const { live, metrics } = site
  const { maxBodyBytes } = settings.limits
  const pace = retryAfter(engine)
  const guard = guardOf(site)

  readJsonBodies(instance, maxBodyBytes)
  instance.setErrorHandler((cause, request, reply) =>
    sendError(reply, apiErrorIn(live.of(request).signal, cause), pace.seconds),
  )
  instance.addHook('onRequest', async (request, reply) => {
    reply.headers({ ...HEADERS, 'x-request-id': request.id })
    live.begin(request, reply, ({ model }, status, seconds) => {
      const route = request.routeOptions.url ?? 'unknown'
      metrics.request({ route, model, status })
      metrics.seconds(route, seconds)
      const prompt = metrics.promptLabel(model)
      const { method } = request
      request.log.info({ method, route, prompt, status, seconds }, 'answered')
    })
  })
  instance.addHook('preParsing', async (request, _reply, payload) => {
    return bodyReadBefore(request) ?? payload
  })
  if (settings.logText) {
    instance.addHook('preHandler', async ({ body, log }) => {
      if (!Buffer.isBuffer(body)) log.info({ body }, 'asked')
    })
  }
  for (const route of routes) add(instance, route, site, guard(route))
  addOtherMethods(instance, routes, guard({}))
  if (isWhole) {
    instance.setNotFoundHandler({ preHandler: guard({}) }, async ({ method }) => {
      throw new ApiError(404, `There is no such route for ${method}: see /openapi.json`)
    })
  }
  instance.addHook('preClose', () => live.drain(graceOf(instance, settings)))
  instance.addHook('onClose', async () => {
    pace.stop()
    metrics.stop()
  })
}

/** Fastify gives up closing after `pluginTimeout`, by default 10 s: a server of our own has none. */
function graceOf(
  { initialConfig: { pluginTimeout = 0 } }: FastifyInstance,
  { graceMs }: ServeSettings,
): number {
  return pluginTimeout === 0
    ? graceMs
    : Math.min(graceMs, Math.max(0, pluginTimeout - 2000))
}

/** What helmet sets, as far as it means something to an API. A page has its own policy. */
const HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

function siteOf(
  { prefix }: FastifyInstance,
  engine: Engine,
  settings: ServeSettings,
  routes: readonly Route[],
): Site {
  const { maxPromptBytes: maxBytes } = settings.limits
  let openapi: unknown
  return {
    engine,
    settings,
    prompts: settings.prompts ?? new PromptsFolder(engine, { maxBytes }),
    metrics: createMetrics(engine),
    live: new LiveRequests(settings.stallMs),
    tokens: new TokenTexts(engine.backbone.tokenizer),
    startedAt: Math.floor(Date.now() / 1000),
    openapi() {
      openapi ??= openapiOf(routes, { prefix, hasKeys: settings.apiKeys !== undefined })
      return openapi
    },
  }
}

type Guarded = Pick<Route, 'isOpen' | 'isPage' | 'isAlways' | 'isAdmin'>

/** What a request must pass before anything of its body is read. */
function guardOf({
  settings,
  live,
}: Site): (route: Guarded) => onRequestAsyncHookHandler {
  const { apiKeys, allowAdmin } = settings
  const checkKey = apiKeys && keyCheck(apiKeys)
  return ({ isOpen = false, isPage = false, isAlways = false, isAdmin = false }) =>
    async (request, reply) => {
      if (!isOpen) checkKey?.(request.headers.authorization, isPage)
      if (live.isDraining) reply.header('connection', 'close')
      if (live.isDraining && !isAlways) throw draining()
      if (isAdmin && !allowAdmin) {
        throw new ApiError(403, 'Prompts are not added or removed here', {
          code: 'admin_disabled',
        })
      }
      refuseCompression(request)
      live.of(request).isWork = !isAlways
    }
}

function add(
  instance: FastifyInstance,
  route: Route,
  site: Site,
  onRequest: onRequestAsyncHookHandler,
): void {
  const { method, path: url, body: schema, takesBytes } = route
  const handler = async (request: FastifyRequest, reply: FastifyReply) => {
    const { body } = request
    const checked = schema && !takesBytes ? checkBody(schema, body) : body
    return await route.handle({
      request,
      reply,
      live: site.live.of(request),
      site,
      body: checked,
    })
  }
  if (!takesBytes) {
    instance.route({ method, url, onRequest, handler })
    return
  }
  const { maxPromptBytes: bodyLimit } = site.settings.limits
  instance.register(async (inner) => {
    inner.addContentTypeParser(
      'application/octet-stream',
      { parseAs: 'buffer', bodyLimit },
      (_request, bytes, done) => done(null, bytes),
    )
    inner.route({ method, url, onRequest, handler })
  })
}

const METHODS: HTTPMethods[] = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
]

/** A path that there is answers 405 to what it does not do. */
function addOtherMethods(
  instance: FastifyInstance,
  routes: readonly Route[],
  onRequest: onRequestAsyncHookHandler,
): void {
  for (const url of new Set(routes.map(({ path }) => path))) {
    const allowed = routes.flatMap(({ path, method }) => (path === url ? [method] : []))
    const known: HTTPMethods[] = allowed.includes('GET') ? [...allowed, 'HEAD'] : allowed
    const refuse: onRequestAsyncHookHandler = async ({ method }) => {
      throw new ApiError(405, `${method} is not for this path`, {
        headers: { allow: known.join(', ') },
      })
    }
    const method = METHODS.filter((other) => !known.includes(other))
    // before a body is read
    instance.route({
      method,
      url,
      onRequest: [onRequest, refuse],
      handler: async () => {},
    })
  }
}

function sendError(
  reply: FastifyReply,
  error: ApiError,
  seconds: () => number,
): FastifyReply {
  if (error.status === 500) reply.log.error({ err: error.cause }, 'a request failed')
  reply.code(error.status).headers(error.headers)
  if (error.status === 429) reply.header('retry-after', String(seconds()))
  return reply.type('application/json; charset=utf-8').send(error.body)
}
