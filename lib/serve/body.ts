// Bodies of requests as JSON, and what of them is refused before anything reads them. Knows no field.

import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ApiError } from './api-error.js'

// A request nests four deep; a thousand would cost whoever walks it the stack.
const MAX_DEPTH = 32

/** Lets an instance read JSON alone. */
export function readJsonBodies(instance: FastifyInstance, maxBodyBytes: number): void {
  const parse = instance.getDefaultJsonParser('error', 'error')
  instance.removeAllContentTypeParsers()
  instance.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: maxBodyBytes },
    (request, body, done) => {
      const text = decoded(body as Buffer)
      // some clients say JSON where they send nothing
      if (text === '') return done(null, undefined)
      if (depthOf(text) > MAX_DEPTH) {
        throw refused(`Expected JSON of ${MAX_DEPTH} levels at most`)
      }
      // its own message quotes the text
      parse(request, text, (error, value) => {
        if (error)
          done(refused('The body is not JSON, or has a field __proto__'), undefined)
        else done(null, value)
      })
    },
  )
}

function refused(message: string): ApiError {
  return new ApiError(400, message, { code: 'invalid_json' })
}

function decoded(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch {
    throw refused('The body is not UTF-8')
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** How deep a text's lists and objects nest, as far as it matters: counted before it is parsed. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (inString) {
      if (code === BACKSLASH) i += 1
      else if (code === QUOTE) inString = false
    } else if (code === QUOTE) inString = true
    else if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (code === 0x5d || code === 0x7d) depth -= 1
    if (deepest > MAX_DEPTH) break
  }
  return deepest
}

/** Compressed bodies could be far larger than they look. */
export function refuseCompression({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding']
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return
  throw new ApiError(415, 'Compressed bodies are not taken: send it as it is')
}

/** The body that a framework in front has read already (`express.json()`), as a stream again. */
export function bodyReadBefore({ raw }: FastifyRequest): Readable | undefined {
  const { body } = raw as { body?: unknown }
  if (body === undefined || !raw.readableEnded) return undefined
  const bytes = Buffer.from(JSON.stringify(body))
  // Fastify compares this with the header content-length, which counted the bytes that came.
  const receivedEncodedLength = Number(raw.headers['content-length'] ?? bytes.length)
  return Object.assign(Readable.from([bytes]), { receivedEncodedLength })
}
