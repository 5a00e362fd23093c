// Requests that a fuzzer sends, drawn from a seed: right ones, mutated ones, and what is no HTTP at all. Knows no answer.

/** mulberry32, with what is drawn from it. */
export function generator(seed) {
  let state = seed >>> 0
  const real = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n) => Math.floor(real() * n)
  return {
    real,
    below,
    chance: (p) => real() < p,
    pick: (list) => list[below(list.length)],
  }
}

const TEXTS = [
  'The film was',
  '',
  ' ',
  'a',
  'Grüße, 世界',
  '👋🏽',
  '\0',
  '\ud83d',
  '\udc00x',
  'a\nb\r\n',
  '<|endoftext|>',
  'late '.repeat(30),
  'x'.repeat(5000),
  '{text}',
  '"\\',
  '__proto__',
  '../../etc/passwd',
  '\u202e',
  '\ufeff',
]
const NUMBERS = [
  0,
  1,
  -1,
  2,
  3,
  5,
  16,
  0.5,
  -0.5,
  1.5,
  1e-9,
  1e9,
  1e21,
  1e308,
  -1e308,
  5e-324,
  2 ** 31,
  2 ** 53,
  2 ** 53 - 1,
  Infinity,
]
const FIELDS = {
  '/v1/completions': [
    'model',
    'prompt',
    'max_tokens',
    'min_tokens',
    'temperature',
    'top_p',
    'top_k',
    'n',
    'best_of',
    'stop',
    'seed',
    'stream',
    'stream_options',
    'logprobs',
    'echo',
    'repetition_penalty',
    'frequency_penalty',
    'presence_penalty',
    'logit_bias',
    'suffix',
    'user',
  ],
  '/v1/classify': ['model', 'input', 'candidates', 'labels', 'user'],
  '/predict': ['model', 'inputs', 'raw_scores', 'truncate'],
  '/v1/prompts': ['name'],
}

function anyValue(random, depth = 0) {
  const leaf = [
    () => random.pick(TEXTS),
    () => random.pick(NUMBERS),
    () => random.pick([true, false, null]),
  ]
  const all = [
    ...leaf,
    () => Array.from({ length: random.below(5) }, () => anyValue(random, depth + 1)),
    () => Array.from({ length: random.below(6) }, () => random.pick(NUMBERS)),
    () => Array.from({ length: random.below(6) }, () => random.pick(TEXTS)),
    () =>
      Object.fromEntries(
        Array.from({ length: random.below(4) }, () => [
          random.pick(['text', 'a', 'include_usage', 'constructor', '5', 'label']),
          anyValue(random, depth + 1),
        ]),
      ),
    () => Array(random.pick([129, 300])).fill(random.pick(['a', 1])),
  ]
  return random.pick(depth > 2 ? leaf : all)()
}

function validBody(path, random, models) {
  const text = () =>
    random.pick(['The film was', 'A delight', 'Rain at noon', 'The dog', 'a'])
  const model = random.pick(models)
  const maybe = (p, fields) => (random.chance(p) ? fields : {})
  switch (path) {
    case '/v1/completions':
      return {
        model,
        prompt: random.pick([text(), [text(), text()], [1, 2, 3], [[1], [2, 3]]]),
        max_tokens: 1 + random.below(6),
        ...maybe(0.3, { n: 1 + random.below(3) }),
        ...maybe(0.4, { temperature: random.pick([0, 0.5, 1, 2]) }),
        ...maybe(0.2, { stop: random.pick(['e', ['a', 'the']]) }),
        ...maybe(0.3, { logprobs: random.below(6), echo: random.chance(0.5) }),
        ...maybe(0.3, {
          stream: true,
          ...maybe(0.5, { stream_options: { include_usage: true } }),
        }),
        ...maybe(0.2, { seed: random.below(1e6), top_k: random.below(5), top_p: 0.5 }),
      }
    case '/v1/classify':
      return {
        model,
        input: random.pick([text(), [text(), text()], { text: text() }]),
        ...maybe(0.3, { labels: ['yes', 'no'] }),
      }
    case '/predict':
      return {
        model,
        inputs: random.pick([text(), [[text()], [text()]], { text: text() }]),
        raw_scores: random.chance(0.3),
      }
    default:
      return { name: random.pick(['p0', 'new', '../x', 'nobody']) }
  }
}

export function requestOf(random, { key, models }) {
  if (random.chance(0.02)) return { raw: rawRequest(random) }
  const path = random.pick(Object.keys(FIELDS))
  const isGet = random.chance(0.1)
  const request = {
    method: isGet ? 'GET' : 'POST',
    path: isGet
      ? random.pick([
          '/',
          '/v1/models',
          `/v1/models/${random.pick(models)}`,
          '/metrics',
          '/openapi.json',
          '/ready',
        ])
      : path,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: undefined,
    abortMs: random.chance(0.05) ? random.below(30) : undefined,
  }
  if (isGet) delete request.headers['content-type']
  else request.body = bodyOf(path, random, models)
  if (random.chance(0.1)) mutateAround(request, random)
  return request
}

function bodyOf(path, random, models) {
  const kind = random.real()
  const body = kind < 0.05 ? anyValue(random) : validBody(path, random, models)
  if (kind > 0.5 && typeof body === 'object' && body !== null) {
    for (let i = 0; i <= random.below(3); i++) {
      const field = random.chance(0.95) ? random.pick(FIELDS[path]) : random.pick(TEXTS)
      if (random.chance(0.1)) delete body[field]
      else body[field] = anyValue(random)
    }
  }
  const text =
    JSON.stringify(body, (_, value) => (value === Infinity ? 1e308 : value)) ?? ''
  return random.chance(0.15) ? mutateText(text, random) : text
}

function mutateText(text, random) {
  const at = random.below(text.length + 1)
  return random.pick([
    () => text.slice(0, at),
    () => text.slice(0, at) + String.fromCharCode(random.below(300)) + text.slice(at + 1),
    () => text.slice(0, at) + text.slice(random.below(text.length + 1)),
    () => text.replace(/"[^"]*":/, '"__proto__":'),
    () => '['.repeat(random.below(3000)) + text,
    () => text.replace(/\d+/, '1e999'),
    () => Buffer.from([...Buffer.from(text.slice(0, at)), random.below(256), 0xff]),
    () => text + text,
    () => '',
  ])()
}

function mutateAround(request, random) {
  random.pick([
    () =>
      (request.headers['content-type'] = random.pick([
        'text/plain',
        'application/octet-stream',
        'application/json; charset=utf-16',
        ';',
        'multipart/form-data',
      ])),
    () =>
      (request.headers['content-encoding'] = random.pick([
        'gzip',
        'br',
        'identity',
        'x',
      ])),
    () =>
      (request.headers.authorization = random.pick([
        '',
        'Bearer',
        'Bearer no',
        'Basic Og==',
        'x'.repeat(3000),
      ])),
    () => (request.headers['x-request-id'] = random.pick(['a', 'a b', 'x'.repeat(500)])),
    () =>
      (request.method = random.pick([
        'PUT',
        'DELETE',
        'PATCH',
        'OPTIONS',
        'HEAD',
        'GET',
      ])),
    () =>
      (request.path += random.pick([
        '/',
        '/..',
        '?name=a',
        '?name=..%2fa',
        '%2f',
        '%00',
        '%',
        '/a/b/c',
        '?__proto__=1',
        'x'.repeat(3000),
      ])),
    () =>
      (request.path = random.pick([
        '/v1/prompts/a',
        '/v1/prompts/..%2f',
        '/v1/models/%ff',
        '//',
        '/v1',
        '/%2e%2e/',
        '/v1/chat/completions',
      ])),
  ])()
  if (request.method === 'GET' || request.method === 'HEAD') request.body = undefined
}

function rawRequest(random) {
  return random.pick([
    () => 'GARBAGE\r\n\r\n',
    () =>
      `GET /health HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(random.below(3000))}\r\n`,
    () =>
      `GET /health HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(random.below(40_000))}\r\n\r\n`,
    () =>
      'POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\ncontent-length: 20\r\n\r\n',
    () => 'POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    () =>
      'POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"inputs"',
    () => 'GET http://[ HTTP/1.1\r\nhost: a\r\n\r\n',
    () => 'GET * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
    () => 'GET /health HTTP/9.9\r\n\r\n',
    () => 'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
    () =>
      'GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
    () =>
      Buffer.from(
        Array.from({ length: random.below(200) }, () => random.below(256)),
      ).toString('latin1'),
  ])()
}
