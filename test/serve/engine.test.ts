// The server over the real engine: what comes out is what score and generate give alone.

import { connect } from 'node:net'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { createEngine, type Engine } from '../../lib/engine/index.js'
import { generate, score } from '../../lib/inference/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { createServer } from '../../lib/serve/index.js'
import { randomNumbers } from '../train/random-cases.js'
import { fuzz } from './fuzz.mjs'
import { asker, listening, until } from './listening.js'

let backbone: Backbone
let engine: Engine
let prompts: Record<string, Prompt>
beforeAll(async () => {
  backbone = await loadBackbone(join(import.meta.dirname, '../fixtures/gpt2-plain'))
  const make = (seed: number) => {
    const placement = seed % 2 ? 'suffix' : 'prefix'
    const prompt = createPrompt(backbone, { length: 2 + seed, rank: 2, seed, placement })
    prompt.task = { template: '{text} It was', labels: { good: 'good', bad: 'bad' } }
    return prompt
  }
  prompts = { p0: make(0), p1: make(1), p2: make(2) }
  engine = createEngine({ backbone, prompts })
})
afterAll(async () => {
  await engine.close()
  backbone.dispose()
})

const TEXTS = ['The film was', 'A delight', 'Rain at noon', 'The dog']

test('200 mixed requests, 32 at a time, are answered as score and generate do', async () => {
  const { url, ask } = await listening(engine)
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
  const models = [...Object.keys(prompts), 'gpt2-plain']
  const next = randomNumbers(2)
  const oneOf = <T>(values: readonly T[]) =>
    values[Math.floor(next() * values.length)] as T
  const complete = async () => {
    const [model, prompt] = [oneOf(models), oneOf(TEXTS)]
    const settings = {
      max_tokens: 1 + Math.floor(next() * 8),
      seed: Math.floor(next() * 9),
    }
    const temperature = oneOf([0, 1.5])
    const { choices } = await openai.completions.create({
      ...{ model, prompt, temperature, ...settings },
    })
    const own = { backbone, prompt: prompts[model] ?? null, text: prompt, temperature }
    const { max_tokens: maxNewTokens, seed } = settings
    for await (const event of generate({ ...own, maxNewTokens, seed })) {
      if (event.type === 'done') expect(choices[0]?.text).toBe(event.text)
    }
  }
  const classify = async () => {
    const [model, input] = [oneOf(Object.keys(prompts)), oneOf(TEXTS)]
    const isPredict = next() < 0.3
    const [alone] = await score({
      backbone,
      prompt: prompts[model] as Prompt,
      texts: [input],
    })
    const scores = alone?.scores ?? {}
    if (isPredict) {
      const { json } = await ask('/predict', { model, inputs: input, raw_scores: true })
      for (const { label, score } of json)
        expect(score).toBeCloseTo(scores[label] as number, 4)
      return
    }
    const { json } = await ask('/v1/classify', { model, input })
    expect(json.data[0].label).toBe(alone?.prediction)
    for (const [j, label] of json.data[0].labels.entries()) {
      expect(json.data[0].scores[j]).toBeCloseTo(scores[label] as number, 4)
    }
  }
  let left = 200
  const client = async () => {
    while (left-- > 0) await (next() < 0.5 ? complete() : classify())
  }
  await Promise.all(Array.from({ length: 32 }, client))
})

test('a seed gives the same text again, and each choice its own', async () => {
  const { ask } = await listening(engine)
  const body = {
    model: 'p1',
    prompt: 'The',
    n: 3,
    seed: 5,
    max_tokens: 8,
    temperature: 2,
  }
  const texts = async () => {
    const { json } = await ask('/v1/completions', body)
    return json.choices.map(({ text }: { text: string }) => text)
  }
  const first = await texts()
  expect(await texts()).toEqual(first)
  const second = await ask('/v1/completions', { ...body, n: 1, seed: 6 })
  expect(second.json.choices[0].text).toBe(first[1])
})

test('pieces of a stream are the whole text, with the same log-probabilities', async () => {
  const { url } = await listening(engine)
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
  const body = {
    model: 'p2',
    prompt: 'The film',
    n: 2,
    seed: 1,
    max_tokens: 8,
    logprobs: 2,
    echo: true,
    stop: ['e'],
  }
  const whole = await openai.completions.create(body)
  const texts = ['', '']
  const tokens: string[][] = [[], []]
  for await (const { choices } of await openai.completions.create({
    ...body,
    stream: true,
  })) {
    for (const { index, text, logprobs } of choices) {
      texts[index] += text
      tokens[index]?.push(...(logprobs?.tokens ?? []))
    }
  }
  expect(texts).toEqual(whole.choices.map(({ text }) => text))
  expect(tokens).toEqual(whole.choices.map(({ logprobs }) => logprobs?.tokens))
  expect(whole.choices[0]?.logprobs?.token_logprobs?.[0]).toBeNull()
})

test('1,000 clients that go at any time end only their own requests, and leave no slot behind', async () => {
  const { url } = await listening(engine)
  const ask = asker(url)
  const next = randomNumbers(1)
  let left = 1000
  let isOver = false
  // Queued, read, continued, streamed or not, with several choices: whatever it is when its client goes.
  const goingClient = async () => {
    while (left > 0) {
      left -= 1
      const signal = AbortSignal.timeout(1 + Math.floor(next() * 40))
      const model = `p${left % 3}`
      const completion = { model, prompt: 'a dog', n: 1 + (left % 3), max_tokens: 50 }
      const work =
        left % 4 === 0
          ? ask('/v1/classify', { model, input: Array(20).fill('The film') }, { signal })
          : ask('/v1/completions', { ...completion, stream: left % 2 === 0 }, { signal })
      await work.catch(() => {})
    }
  }
  const body = { model: 'p1', prompt: 'The dog', temperature: 0, max_tokens: 6 }
  const expected = (await ask('/v1/completions', body)).json.choices[0].text
  const stayingClient = async () => {
    let count = 0
    for (; !isOver; count += 1) {
      const { status, json } = await ask('/v1/completions', body)
      expect([status, json.choices[0].text]).toEqual([200, expected])
    }
    return count
  }
  const staying = stayingClient()
  await Promise.all(Array.from({ length: 24 }, goingClient))
  isOver = true
  expect(await staying).toBeGreaterThan(0)
  await until(() => {
    const { running, queuedRequests, queuedTokens, cacheUse } = engine.stats()
    return running + queuedRequests + queuedTokens + cacheUse === 0
  })
  expect(engine.stats().totals.aborted).toBeGreaterThan(0)
}, 60_000)

test('requests that wait behind another one of their connection end with it', async () => {
  const { url } = await listening(engine)
  const { port } = new URL(url)
  const body = JSON.stringify({ model: 'p0', prompt: 'a', max_tokens: 50, n: 3 })
  const head = `POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n`
  const request = `${head}content-length: ${body.length}\r\n\r\n${body}`
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(request.repeat(6))
  await until(() => engine.stats().running > 0)
  socket.destroy()
  await until(() => engine.stats().running + engine.stats().queuedRequests === 0)
  expect(engine.stats().totals.aborted).toBeGreaterThanOrEqual(6)
})

test('the same prompt several times is continued differently, unless a seed says how', async () => {
  const { ask } = await listening(engine)
  const body = {
    model: 'p0',
    prompt: ['The', 'The', 'The'],
    max_tokens: 8,
    min_tokens: 8,
    temperature: 2,
  }
  const textsOf = async (given: object) => {
    const { json } = await ask('/v1/completions', given)
    return new Set(json.choices.map(({ text }: { text: string }) => text))
  }
  expect((await textsOf(body)).size).toBe(3)
  expect((await textsOf({ ...body, seed: 1 })).size).toBe(1)
})

test('candidates that multiply a text beyond the queue are refused, and nobody else notices', async () => {
  const { ask } = await listening(engine)
  const input = Array(128).fill('The film was good and the dog was long'.repeat(2))
  const candidates = Array.from({ length: 256 }, (_, i) => `good and long ${i}`)
  const [large, small] = await Promise.all([
    ask('/v1/classify', { model: 'p0', input, candidates }),
    ask('/v1/classify', { model: 'p0', input: 'The film' }),
  ])
  expect([large.status, small.status]).toEqual([422, 200])
  expect(large.json.error.message).toMatch(/tokens at most/)
})

test('closing waits as long as the grace says, whatever Fastify gives its plugins', async () => {
  const server = createServer(engine)
  expect(server.initialConfig.pluginTimeout).toBe(0)
  await server.close()
})

// p0 has two of 64 positions
const READ = { max_tokens: 0, echo: true, logprobs: 1 }
test.each([
  ['a text that leaves no position', { prompt: 'late '.repeat(99) }, 400],
  ['as many ids as leave one position', { prompt: Array(61).fill(5) }, 200],
  ['as many as leave none', { prompt: Array(62).fill(5) }, 400],
  ['these where nothing is made', { ...READ, prompt: Array(62).fill(5) }, 200],
  ['one more than there are positions', { ...READ, prompt: Array(63).fill(5) }, 400],
  ['an id that the model has not', { prompt: [10 ** 6] }, 422],
  ['more tokens than the engine gives', { max_tokens: 2048 }, 200],
  ['sharp sampling', { temperature: 1e-9, repetition_penalty: 100, max_tokens: 9 }, 200],
  ['flat sampling', { temperature: 100, repetition_penalty: 0.01, max_tokens: 9 }, 200],
  ['an empty text', { prompt: '', max_tokens: 2, echo: true, logprobs: 1 }, 200],
  ['a text of several languages', { prompt: 'Grüße, 世界 👋🏽\0', max_tokens: 2 }, 200],
])('answers %s with a status that fits', async (_, body, status) => {
  const { ask } = await listening(engine)
  const answer = await ask('/v1/completions', { model: 'p0', prompt: 'a', ...body })
  expect([answer.status, answer.text]).toEqual([status, expect.anything()])
})

test('fields are filled into the template of the prompt, which ends at the end token', async () => {
  const { ask } = await listening(engine)
  const body = { model: 'p1', max_tokens: 6, temperature: 0 }
  const [one, two, plain] = await Promise.all([
    ask('/v1/completions', { ...body, fields: { text: 'A delight' } }),
    ask('/v1/completions', {
      ...body,
      fields: [{ text: 'The dog' }, { text: 'A delight' }],
    }),
    ask('/v1/completions', { ...body, prompt: 'A delight It was' }),
  ])
  expect(one.json.choices[0]).toEqual(plain.json.choices[0])
  expect(two.json.choices[1].text).toBe(one.json.choices[0].text)
  expect(one.json.usage).toEqual(plain.json.usage)
})

test.each([
  [{ fields: { text: 'a' }, prompt: 'a' }, 400, /either prompt or fields/],
  [{ fields: { text: 'a' }, echo: true }, 400, /with fields there is none/],
  [{ fields: { other: 'a' } }, 422, /field "text" is missing/],
  [{ fields: { text: 3 } }, 422, /fields/],
  [{ fields: { text: 'a' }, model: 'gpt2-plain' }, 422, /Fields are of a template/],
])('fields that do not fit are refused: %j', async (given, status, message) => {
  const { ask } = await listening(engine)
  const answer = await ask('/v1/completions', { model: 'p0', max_tokens: 2, ...given })
  expect(answer.status).toBe(status)
  expect(answer.json.error.message).toMatch(message)
})

test('a server that closes leaves the engine open', async () => {
  const server = createServer(engine)
  await server.ready()
  await server.close()
  expect(await engine.classify({ prompt: 'p0', inputs: ['a'] })).toHaveLength(1)
})

test('random and mutated requests get answers that are well-formed, and leave nothing behind', async () => {
  const { url } = await listening(engine, { apiKeys: ['k'], allowAdmin: true })
  const models = [...Object.keys(prompts), 'gpt2-plain']
  const { statuses, problems } = await fuzz({
    url,
    key: 'k',
    count: 600,
    seed: 1,
    models,
  })
  expect(problems).toEqual([])
  for (const status of [200, 400, 401, 404, 405, 415, 422]) {
    expect(statuses[status], String(status)).toBeGreaterThan(0)
  }
  await until(() => engine.stats().running + engine.stats().queuedRequests === 0)
})
