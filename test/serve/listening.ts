// Servers of a test, closed after it.

import { afterEach } from 'vitest'
import { createServer, type Engine, type ServerOptions } from '../../lib/serve/index.js'

const closings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closings.splice(0)) await close()
})

export function closeLater(close: () => Promise<unknown>): void {
  closings.push(close)
}

/** A server on a free port; `url` has no slash at its end. */
export async function listening(engine: Engine, options: ServerOptions = {}) {
  const server = createServer(engine, { graceMs: 1000, ...options })
  closeLater(() => server.close())
  const url = await server.listen({ port: 0, host: '127.0.0.1' })
  return { server, url, ask: asker(url, options.apiKeys?.[0]) }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is what it asserts
  readonly json: any
}

/** Asks for JSON as a client does: an object goes as the body. */
export function asker(url: string, key?: string) {
  return async (
    path: string,
    body?: unknown,
    init: RequestInit = {},
  ): Promise<Answer> => {
    const answer = await fetch(url + path, {
      ...(body !== undefined && {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
      ...init,
      headers: {
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(key && { authorization: `Bearer ${key}` }),
        ...init.headers,
      },
    })
    const text = await answer.text()
    const isJson = answer.headers.get('content-type')?.startsWith('application/json')
    return {
      status: answer.status,
      headers: answer.headers,
      text,
      json: isJson && text !== '' ? JSON.parse(text) : undefined,
    }
  }
}

/** Waits until something holds. */
export async function until(holds: () => boolean, ms = 5000): Promise<void> {
  for (const end = Date.now() + ms; !holds(); ) {
    if (Date.now() > end) throw new Error('It did not come true in time')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
