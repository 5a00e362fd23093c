// Answers that come piece by piece, as server-sent events. Knows no field of them.

import { Readable } from 'node:stream'
import { apiErrorIn } from './api-error.js'
import type { Call } from './site.js'

/**
 * Sends what a generator yields, an event each, no faster than the client takes it. Once the client has gone the generator is
 * returned. An error in the middle is an event `{ error }`, which ends the stream.
 */
export function sendEvents(
  { reply, request, live }: Call,
  pieces: AsyncGenerator<unknown>,
) {
  async function* events(): AsyncGenerator<string> {
    try {
      for await (const piece of pieces) yield event(JSON.stringify(piece))
      yield event('[DONE]')
    } catch (cause) {
      const error = apiErrorIn(live.signal, cause)
      live.failure = error.status
      if (error.status === 500) request.log.error({ err: cause }, 'a stream failed')
      yield event(JSON.stringify(error.body))
    }
  }
  return reply
    .type('text/event-stream; charset=utf-8')
    .header('cache-control', 'no-cache')
    .header('x-accel-buffering', 'no') // nginx would hold it back
    .send(Readable.from(events()))
}

const event = (data: string) => `data: ${data}\n\n`
