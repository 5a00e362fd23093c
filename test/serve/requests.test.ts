// What is refused before a route sees it, and what every answer has.

import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { createServer } from '../../lib/serve/index.js'
import { fakeEngine } from './fake-engine.js'
import { listening } from './listening.js'

const completion = { model: 'plain', prompt: 'a', max_tokens: 1 }

describe('a body', () => {
  const json = { 'content-type': 'application/json' }
  test.each([
    ['no JSON', '{"model": ', 400, 'invalid_json'],
    ['a list', '[]', 400, 'invalid_json'],
    ['a number', '3', 400, 'invalid_json'],
    ['null', 'null', 400, 'invalid_json'],
    ['nothing', '', 400, 'invalid_json'],
    ['a field __proto__', '{"__proto__": {"model": "plain"}}', 400, 'invalid_json'],
    [
      'a prototype in a constructor',
      '{"constructor": {"prototype": {}}}',
      400,
      'invalid_json',
    ],
    [
      'deep lists',
      `{"prompt": ${'['.repeat(5000)}${']'.repeat(5000)}}`,
      400,
      'invalid_json',
    ],
    ['deep objects', `${'{"a":'.repeat(99)}1${'}'.repeat(99)}`, 400, 'invalid_json'],
    ['deep lists that do not end', '['.repeat(100_000), 400, 'invalid_json'],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400, 'invalid_json'],
    ['UTF-16', Buffer.from(JSON.stringify(completion), 'utf16le'), 400, 'invalid_json'],
    ['more than 1 MiB', `"${'a'.repeat(2 ** 20)}"`, 413, null],
    [
      'a million numbers',
      `{"model":"plain","prompt":[${'1,'.repeat(400_000)}1]}`,
      422,
      'invalid_value',
    ],
  ])('of %s is refused', async (_, body, status, code) => {
    const { ask } = await listening(fakeEngine())
    const answer = await ask('/v1/completions', undefined, {
      method: 'POST',
      body,
      headers: json,
    })
    expect([answer.status, answer.json.error.code]).toEqual([status, code])
  })

  test('may have a mark of its order, and brackets in strings', async () => {
    const { ask } = await listening(fakeEngine())
    const prompt = `"${'[{'.repeat(20)}\\`
    const text = `\ufeff${JSON.stringify({ ...completion, prompt })}`
    expect((await ask('/v1/completions', text)).status).toBe(200)
  })

  test.each([
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['text', { 'content-type': 'text/plain' }, 415],
    ['a compressed body', { ...json, 'content-encoding': 'gzip' }, 415],
    [
      'a prompt file where none belongs',
      { 'content-type': 'application/octet-stream' },
      415,
    ],
    ['JSON with a charset', { 'content-type': 'application/json; charset=utf-8' }, 200],
    ['identity', { ...json, 'content-encoding': 'identity' }, 200],
  ])('that is called %s gets %o %i', async (_, headers, status) => {
    const { ask } = await listening(fakeEngine())
    const isZipped = (headers as Record<string, string>)['content-encoding'] === 'gzip'
    const text = JSON.stringify(completion)
    const body = isZipped ? gzipSync('0'.repeat(2 ** 24)) : text
    const answer = await ask('/v1/completions', undefined, {
      method: 'POST',
      body,
      headers,
    })
    expect(answer.status).toBe(status)
  })
})

describe('a path', () => {
  test.each([
    ['POST', '/health', 405, 'GET, HEAD'],
    ['GET', '/v1/completions', 405, 'POST'],
    ['PUT', '/v1/prompts/a', 405, 'DELETE'],
    ['DELETE', '/v1/models/a/b', 405, 'GET, HEAD'],
    ['OPTIONS', '/predict', 405, 'POST'],
    ['GET', '/nowhere', 404, null],
    ['POST', '/v1/chat/completions', 404, null],
    ['GET', '/%ff', 400, null],
    ['GET', `/v1/models/${'a'.repeat(1000)}`, 404, null],
    ['GET', '/v1/models/%00', 404, null],
    ['GET', '/v1/models/..%2f..%2fetc', 404, null],
    ['HEAD', '/v1/models', 200, null],
  ])('answers %s %s with %i', async (method, path, status, allow) => {
    const { ask } = await listening(fakeEngine())
    const answer = await ask(path, undefined, { method })
    expect([answer.status, answer.headers.get('allow')]).toEqual([status, allow])
    expect(answer.headers.get('x-request-id')).toBeTruthy()
    if (status !== 200) expect(Object.keys(answer.json.error)).toHaveLength(4)
  })
})

describe('an answer', () => {
  test('has the request’s id, its own where it is one that a log can hold', async () => {
    const { ask } = await listening(fakeEngine())
    const idOf = async (id: string) => {
      const { headers } = await ask('/health', undefined, {
        headers: { 'x-request-id': id },
      })
      return headers.get('x-request-id')
    }
    expect(await idOf('trace-1.2')).toBe('trace-1.2')
    expect(await idOf('a b')).toMatch(/^[\w-]{36}$/)
    expect(await idOf('a'.repeat(200))).toMatch(/^[\w-]{36}$/)
  })

  test('has headers that keep browsers from guessing, and the page a strict policy', async () => {
    const { ask } = await listening(fakeEngine())
    const { headers } = await ask('/v1/models')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(headers.get('access-control-allow-origin')).toBeNull()
    const page = await ask('/')
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toMatch(/script-src 'sha256-[^']+';/)
    expect(policy).not.toContain('unsafe')
  })

  test('lets pages of an origin read it, where that is asked for', async () => {
    const { ask } = await listening(fakeEngine(), {
      cors: ['https://app.example'],
      apiKeys: ['secret'],
    })
    const from = (origin: string, init: RequestInit = {}) =>
      ask('/v1/models', undefined, { ...init, headers: { origin, ...init.headers } })
    const own = await from('https://app.example')
    expect(own.headers.get('access-control-allow-origin')).toBe('https://app.example')
    expect(own.headers.get('access-control-expose-headers')).toContain('x-request-id')
    const other = await from('https://evil.example')
    expect(other.headers.get('access-control-allow-origin')).toBeNull()
    const preflight = await from('https://app.example', {
      method: 'OPTIONS',
      headers: { 'access-control-request-method': 'POST', authorization: '' },
    })
    expect(preflight.status).toBe(204)
  })
})

describe('a key', () => {
  const apiKeys = ['first-key', 'second-key']
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`

  test.each([
    ['/', 401],
    ['/v1/models', 401],
    ['/v1/models/review', 401],
    ['/metrics', 401],
    ['/openapi.json', 401],
    ['/nowhere', 401],
    ['/v1/completions', 401],
    ['/health', 200],
    ['/ready', 200],
  ])('is asked for by %s: %i', async (path, status) => {
    const { url } = await listening(fakeEngine(), { apiKeys })
    const answer = await fetch(url + path)
    expect(answer.status).toBe(status)
    if (status === 200) return
    const scheme = path === '/' ? 'Basic realm="lopt"' : 'Bearer'
    expect(answer.headers.get('www-authenticate')).toBe(scheme)
    const { error } = (await answer.json()) as { error: object }
    expect(error).toMatchObject({ type: 'authentication_error', code: 'invalid_api_key' })
  })

  test.each([
    ['Bearer first-key', 200],
    ['bearer second-key', 200],
    ['Bearer first-key ', 200],
    [basic('anyone:second-key'), 200],
    [basic(':first-key'), 200],
    ['Bearer first-ke', 401],
    ['Bearer first-key2', 401],
    ['Bearer', 401],
    ['Bearer first-key second-key', 401],
    ['first-key', 401],
    [basic('first-key'), 401],
    ['Basic !!!', 401],
    ['', 401],
  ])('is known in the header %s: %i', async (authorization, status) => {
    const { url } = await listening(fakeEngine(), { apiKeys })
    const answer = await fetch(`${url}/v1/models`, { headers: { authorization } })
    expect(answer.status).toBe(status)
  })
})

describe('a connection', () => {
  /** Sends bytes as they are, and gives what comes until the end. */
  function raw(url: string, text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      let answer = ''
      socket.setEncoding('utf8').on('data', (piece) => {
        answer += piece
      })
      socket.on('close', () => resolve(answer))
      socket.on('error', reject)
      socket.write(text)
    })
  }
  const bodyOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))

  test('that speaks no HTTP gets 400 and ends', async () => {
    const { url } = await listening(fakeEngine())
    const answer = await raw(url, 'hello\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(bodyOf(answer).error.type).toBe('invalid_request_error')
  })

  test('with too long headers gets 431 and ends', async () => {
    const { url } = await listening(fakeEngine())
    const answer = await raw(url, `GET /health HTTP/1.1\r\nx: ${'y'.repeat(20_000)}`)
    expect(answer).toMatch(/^HTTP\/1\.1 431 /)
  })

  test.each([
    ['sends nothing', ''],
    ['stops within its headers', 'GET /health HTTP/1.1\r\nhost: '],
  ])('that %s is ended', async (_, text) => {
    const { url } = await listening(fakeEngine(), { headersTimeoutMs: 200 })
    expect(await raw(url, text)).toMatch(/^(HTTP\/1\.1 408 |$)/)
  })

  test('that stops within its body is ended', async () => {
    const { url } = await listening(fakeEngine(), {
      headersTimeoutMs: 200,
      requestTimeoutMs: 300,
    })
    const head =
      'POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n'
    expect(await raw(url, `${head}{"model"`)).toMatch(/^HTTP\/1\.1 408 /)
  })
})

test.each([
  [{ apiKeys: [] }, 'apiKeys'],
  [{ allowAdmin: true }, 'allowAdmin needs apiKeys'],
  [{ limits: { maxInputs: 0 } }, 'limits.maxInputs'],
  [{ prefix: 'a/' }, 'prefix'],
  [{ graceMs: '1' as unknown as number }, 'graceMs'],
  [{ nonsense: 1 } as object, 'nonsense'],
])('createServer refuses the options %j', (options, message) => {
  expect(() => createServer(fakeEngine(), options)).toThrow(message)
})

test('the log has a line a request, and users’ texts only where that is asked for', async () => {
  const lines: string[] = []
  const logger = { level: 'info', stream: { write: (line: string) => lines.push(line) } }
  const quiet = await listening(fakeEngine(), { logger })
  const body = { ...completion, prompt: 'a secret text' }
  await quiet.ask('/v1/completions', body)
  await quiet.ask('/v1/completions', { ...body, model: 'a secret model' })
  await quiet.ask('/v1/completions', { ...body, top_p: 'a secret field' })
  await quiet.ask('/v1/completions', '{"a secret')
  await quiet.ask('/a secret path')
  const answered = lines
    .map((line) => JSON.parse(line))
    .filter(({ msg }) => msg === 'answered')
  expect(answered.map(({ status, route, prompt }) => [status, route, prompt])).toEqual([
    [200, '/v1/completions', 'plain'],
    [404, '/v1/completions', 'other'],
    [422, '/v1/completions', ''],
    [400, '/v1/completions', ''],
    [404, 'unknown', ''],
  ])
  expect(lines.join('')).not.toContain('secret')
  const loud = await listening(fakeEngine(), { logger, logText: true })
  await loud.ask('/v1/completions', body)
  expect(lines.join('')).toContain('a secret text')
})
