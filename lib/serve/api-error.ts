// What an error is over HTTP: a status, and a body as OpenAI's clients read it. Knows no route.

import type { z } from 'zod'
import type { RequestError } from '../engine/index.js'
import { type ErrorCode, LoptError } from '../errors.js'
import { wrongFields } from '../fields.js'

interface Details {
  /** The field that is wrong. */
  readonly param?: string | null
  readonly code?: string | null
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

/** An answer that is an error. Its message goes to the client, and to no log: it may quote a text. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly type: string
  readonly param: string | null
  readonly code: string | null
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, message: string, details: Details = {}) {
    super(message, { cause: details.cause })
    this.status = status
    this.type = details.type ?? typeOf(status)
    this.param = details.param ?? null
    this.code = details.code ?? null
    this.headers = { ...(status === 500 && NO_RETRY), ...details.headers }
  }

  get body() {
    const { message, type, param, code } = this
    return { error: { message, type, param, code } }
  }
}

// The openai client asks again after any status of 500 or more, unless it is told not to.
const NO_RETRY = { 'x-should-retry': 'false' }
/** In seconds, where nothing better is known. */
const SOON = { 'retry-after': '1' }

function typeOf(status: number): string {
  if (status === 429) return 'rate_limit_error'
  if (status === 403) return 'permission_error'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}

export function modelNotFound(model: string): ApiError {
  const message = `The model ${JSON.stringify(model.slice(0, 100))} does not exist: GET /v1/models lists those that do`
  return new ApiError(404, message, { param: 'model', code: 'model_not_found' })
}

export function draining(cause?: unknown): ApiError {
  return new ApiError(503, 'The server is about to stop: ask another, or again soon', {
    code: 'server_closing',
    headers: SOON,
    cause,
  })
}

/** A well-formed request for something that there is not. */
export function unsupported(param: string, message: string): ApiError {
  return new ApiError(400, message, { param, code: 'unsupported_parameter' })
}

/** The engine's codes. What is not here is a failure of the server itself. */
const STATUS_OF: Partial<Record<ErrorCode, readonly [number, string]>> = {
  ERR_UNKNOWN_PROMPT: [404, 'model_not_found'],
  ERR_OVERLOADED: [429, 'overloaded'],
  ERR_DEADLINE: [408, 'deadline_exceeded'],
  ERR_CLOSED: [503, 'server_closing'],
  ERR_OUT_OF_MEMORY: [503, 'out_of_memory'],
  ERR_DATA: [422, 'invalid_value'],
  ERR_UNSUPPORTED: [400, 'unsupported_parameter'],
  ERR_PROMPT_FILE: [422, 'invalid_prompt_file'],
  ERR_NON_FINITE_LOSS: [500, 'non_finite'],
  ERR_ABORTED: [499, 'client_closed_request'],
}

/** What is answered to an error of the engine, of Fastify or of this server's own. */
export function apiErrorOf(cause: unknown): ApiError {
  return knownError(cause) ?? failed('internal_error', cause)
}

/**
 * As `apiErrorOf`, for a request that may have been ended: by its client, or by the server with what is answered then.
 */
export function apiErrorIn(signal: AbortSignal, cause: unknown): ApiError {
  return endOf(signal, cause) ?? apiErrorOf(cause)
}

/** Where an error's field is found in a body. */
interface Asked {
  readonly signal?: AbortSignal
  /** The field of most errors. */
  readonly param: string
  /** Those of the engine's other fields (`RequestError.field`), where they have other names. */
  readonly params?: Readonly<Record<string, string>>
}

/**
 * What an engine gives to a request. Its TypeErrors and RangeErrors are the request's; anywhere else one is a failure of this
 * server.
 *
 * @throws ApiError
 */
export async function ofRequest<T>(
  { signal, param, params = {} }: Asked,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const end = signal && endOf(signal, cause)
    if (end !== undefined) throw end
    const { field, isTooLong } = cause as RequestError
    const own = (field && params[field]) ?? param
    const known = knownError(cause, own)
    if (known !== undefined) throw known
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause
    const [status, code] = isTooLong ? TOO_LONG : [422, 'invalid_value']
    throw new ApiError(status, cause.message, { param: own, code, cause })
  }
}

/** As OpenAI's clients know it. */
const TOO_LONG: readonly [number, string] = [400, 'context_length_exceeded']

/** What is answered to a request that was ended. */
function endOf({ aborted, reason }: AbortSignal, cause: unknown): ApiError | undefined {
  if (!aborted) return undefined
  if (reason instanceof ApiError) return reason
  return new ApiError(499, 'The client went away', { cause })
}

/** @param param the field that an error is about, if it is about one */
function knownError(cause: unknown, param: string | null = null): ApiError | undefined {
  if (cause instanceof ApiError) return cause
  if (!(cause instanceof LoptError)) return fastifyError(cause)
  const [status, code] = STATUS_OF[cause.code] ?? [500, 'internal_error']
  if (status === 500) return failed(code, cause)
  const isBusy = status === 429 || status === 503
  const isHopeless = cause.code === 'ERR_DEADLINE'
  const own = status === 422 || status === 400 ? param : null
  return new ApiError(status, cause.message, {
    code,
    param: status === 404 ? 'model' : own,
    ...(isBusy && { headers: SOON }),
    ...(isHopeless && { headers: NO_RETRY }),
    cause,
  })
}

function failed(code: string, cause: unknown): ApiError {
  const message =
    code === 'non_finite'
      ? 'The model gave values that are not finite for this prompt and text'
      : 'The server failed; its log says why'
  return new ApiError(500, message, { code, cause })
}

const MESSAGES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE:
    'Expected a body of JSON with the header `content-type: application/json`',
  FST_ERR_CTP_BODY_TOO_LARGE: 'The body is too large',
}

/** Fastify's own have a status; some are RangeErrors. */
function fastifyError(cause: unknown): ApiError | undefined {
  if (!(cause instanceof Error)) return undefined
  const { statusCode, code } = cause as { statusCode?: unknown; code?: unknown }
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode >= 500) return
  const message = MESSAGES[String(code)] ?? cause.message
  return new ApiError(statusCode, message, { cause })
}

/**
 * A body as a route's schema has it.
 *
 * @throws ApiError 422 for a field that is wrong, 400 for one that there is not and for what is no object
 */
export function checkBody<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ApiError(400, 'Expected the body to be a JSON object', {
      code: 'invalid_json',
    })
  }
  // To OpenAI's clients null is the same as absent.
  const given = Object.entries(body).filter(([, value]) => value !== null)
  const result = schema.safeParse(Object.fromEntries(given), { reportInput: true })
  if (result.success) return result.data
  const { error } = result
  const unknown = error.issues.find(({ code }) => code === 'unrecognized_keys')
  if (unknown?.code === 'unrecognized_keys' && unknown.path.length === 0) {
    const [param = ''] = unknown.keys
    const message = `There is no parameter ${JSON.stringify(param.slice(0, 100))}`
    throw new ApiError(400, message, { param, code: 'unknown_parameter' })
  }
  throw new ApiError(422, wrongFields(error, body), {
    param: String(error.issues[0]?.path[0] ?? ''),
    code: 'invalid_value',
  })
}
