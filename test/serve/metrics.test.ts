import { expect, test } from 'vitest'
import type { Prompt } from '../../lib/prompt/index.js'
import { fakeEngine } from './fake-engine.js'
import { listening } from './listening.js'

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const NUMBER = /^([+-]?Inf|NaN|[+-]?\d+(\.\d+)?(e[+-]?\d+)?)$/i
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/y

/** Prometheus's text format 0.0.4, strictly: every line, each name's type and help before its samples, once. */
function parsePrometheus(text: string): Sample[] {
  expect(text.endsWith('\n')).toBe(true)
  const types = new Map<string, string>()
  const samples: Sample[] = []
  const seen = new Set<string>()
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [, kind, about = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (kind === 'TYPE') {
      expect(types.has(about)).toBe(false)
      expect(['counter', 'gauge', 'histogram']).toContain(rest)
      types.set(about, rest)
    }
    if (kind !== undefined) continue
    const [, name = '', labelText = '', value = ''] = SAMPLE.exec(line) ?? []
    expect(name, line).not.toBe('')
    expect(value).toMatch(NUMBER)
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
    expect(types.has(family), line).toBe(true)
    const labels: Record<string, string> = {}
    LABEL.lastIndex = 0
    while (LABEL.lastIndex < labelText.length) {
      const found = LABEL.exec(labelText)
      if (found === null) throw new Error(`no labels: ${line}`)
      labels[found[1] as string] = found[2] as string
    }
    const key = line.slice(0, line.lastIndexOf(' '))
    expect(seen.has(key), line).toBe(false)
    seen.add(key)
    samples.push({ name, labels, value: Number(value.replace('Inf', 'Infinity')) })
  }
  return samples
}

test('Prometheus reads requests, passes, times to tokens, the queue and the cache', async () => {
  const engine = fakeEngine()
  const { ask } = await listening(engine)
  const completion = { model: 'plain', prompt: 'a', max_tokens: 4 }
  await ask('/v1/completions', completion)
  await ask('/v1/completions', { ...completion, stream: true })
  await ask('/v1/completions', { ...completion, model: 'nobody "1"' })
  await ask('/v1/completions', { ...completion, top_p: 2 })
  await ask('/v1/classify', { model: 'review', input: ['a', 'b'] })
  engine.how.room = 0
  await ask('/v1/classify', { model: 'review', input: 'a' })
  const { text, headers } = await ask('/metrics')
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const samples = parsePrometheus(text)
  const value = (name: string, labels: Sample['labels'] = {}) =>
    samples.find(
      (one) =>
        one.name === name &&
        Object.entries(labels).every(([key, wanted]) => one.labels[key] === wanted),
    )?.value
  const requests = (route: string, prompt: string, status: string) =>
    value('lopt_requests_total', { route, prompt, status })
  expect(requests('/v1/completions', 'plain', '200')).toBe(2)
  expect(requests('/v1/completions', 'other', '404')).toBe(1)
  expect(requests('/v1/completions', '', '422')).toBe(1)
  expect(requests('/v1/classify', 'review', '200')).toBe(1)
  expect(requests('/v1/classify', 'review', '429')).toBe(1)
  expect(value('lopt_request_seconds_count', { route: '/v1/completions' })).toBe(4)
  expect(value('lopt_rejected_total', { prompt: 'review' })).toBe(1)
  expect(value('lopt_pass_rows_sum', { work: 'score' })).toBe(2)
  expect(value('lopt_pass_tokens_count', { work: 'decode' })).toBe(8)
  expect(value('lopt_time_to_first_token_seconds_count')).toBe(2)
  expect(value('lopt_time_per_token_seconds_count')).toBe(2)
  expect(value('lopt_queued_tokens')).toBe(300)
  expect(value('lopt_cache_use_ratio')).toBe(0.25)
  expect(value('lopt_tokens_made_total')).toBe(engine.stats().totals.tokensMade)
  expect(value('lopt_event_loop_delay_seconds', { quantile: '0.99' })).toBeGreaterThan(0)
  expect(value('process_resident_memory_bytes')).toBeGreaterThan(1e6)
})

test('names that nobody serves make no series of their own', async () => {
  const { ask } = await listening(fakeEngine())
  const asking = Array.from({ length: 30 }, (_, i) =>
    ask('/v1/classify', { model: `m${i}`, input: 'a' }),
  )
  await Promise.all([...asking, ...asking.map((_, i) => ask(`/path${i}`))])
  const samples = parsePrometheus((await ask('/metrics')).text)
  const requests = samples.filter(({ name }) => name === 'lopt_requests_total')
  expect(
    requests.map(({ labels, value }) => [labels.route, labels.prompt, value]).sort(),
  ).toEqual([
    ['/v1/classify', 'other', 30],
    ['unknown', '', 30],
  ])
})

test('a prompt that is removed leaves no series, and its place to another', async () => {
  const engine = fakeEngine()
  const config = { method: 'full', length: 2, rank: 0 }
  const names = Array.from({ length: 201 }, (_, i) => `p${i}`)
  for (const name of names) engine.addPrompt(name, { config } as Prompt)
  const { ask } = await listening(engine)
  const labels = { labels: ['x', 'y'] }
  const askOf = (model: string) => ask('/v1/classify', { model, input: 'a', ...labels })
  const seriesOf = async (name: string) =>
    parsePrometheus((await ask('/metrics')).text).filter(
      (sample) => sample.labels.prompt === name,
    ).length
  for (const name of names) await askOf(name)
  expect([await seriesOf('p0'), await seriesOf('p200')]).toEqual([1, 0])
  engine.removePrompt('p0')
  await askOf('p200')
  expect([await seriesOf('p0'), await seriesOf('p200')]).toEqual([0, 1])
})

test('a client that went away counts as 499', async () => {
  const engine = fakeEngine({ tokenMs: 10_000 })
  const { ask } = await listening(engine)
  const controller = new AbortController()
  const asking = ask(
    '/v1/classify',
    { model: 'review', input: 'a' },
    { signal: controller.signal },
  )
  setTimeout(() => controller.abort(), 50)
  await asking.catch(() => {})
  await expect
    .poll(async () => (await ask('/metrics')).text)
    .toContain('lopt_requests_total{route="/v1/classify",prompt="review",status="499"} 1')
})

test('the time to wait follows from the queue and the pace', async () => {
  const engine = fakeEngine()
  const { ask } = await listening(engine)
  const classify = () => ask('/v1/classify', { model: 'review', input: 'a' })
  // 9 tokens in 10 ms, and 300 wait; ten times as many take ten times as long
  await classify()
  engine.how.room = 0
  expect((await classify()).headers.get('retry-after')).toBe('1')
  const stats = engine.stats()
  Object.assign(engine, { stats: () => ({ ...stats, queuedTokens: 3000 }) })
  expect((await classify()).headers.get('retry-after')).toBe('4')
})

test('openapi.json describes every route by the schemas that check it', async () => {
  const { ask } = await listening(fakeEngine(), { apiKeys: ['secret'] })
  const { json } = await ask('/openapi.json')
  expect(json.openapi).toBe('3.1.0')
  const routes = Object.entries(json.paths as Record<string, object>).flatMap(
    ([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`),
  )
  expect(routes.sort()).toEqual([
    'delete /v1/prompts/{name}',
    'get /',
    'get /health',
    'get /metrics',
    'get /openapi.json',
    'get /ready',
    'get /v1/models',
    'get /v1/models/{name}',
    'post /predict',
    'post /v1/classify',
    'post /v1/completions',
    'post /v1/prompts',
  ])
  const { post } = json.paths['/v1/completions']
  const { schema } = post.requestBody.content['application/json']
  expect(schema.required).toEqual(['model'])
  expect(schema.additionalProperties).toBe(false)
  expect(schema.properties.max_tokens).toMatchObject({ default: 16, maximum: 2048 })
  expect(schema.properties.prompt.anyOf).toHaveLength(4)
  expect(post.security).toEqual([{ key: [] }])
  expect(json.paths['/health'].get.security).toBeUndefined()
})
