// The openai package, unmodified, against the server.

import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import type { GenerateRequest } from '../../lib/engine/index.js'
import { BROKEN, type FakeOptions, fakeEngine } from './fake-engine.js'
import { listening, until } from './listening.js'

async function connected(how: FakeOptions = {}, client = {}) {
  const engine = fakeEngine(how)
  const { url, server } = await listening(engine)
  const openai = new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: 'none',
    maxRetries: 0,
    ...client,
  })
  return { engine, server, openai, completions: openai.completions }
}

describe('a completion', () => {
  test('has OpenAI’s defaults: 16 tokens, sampled at temperature 1 by a seed of its own', async () => {
    const { engine, completions } = await connected()
    const answer = await completions.create({ model: 'plain', prompt: 'Once' })
    expect(answer).toMatchObject({ object: 'text_completion', model: 'plain' })
    expect(answer.id).toMatch(/^cmpl-/)
    expect(Math.abs(answer.created - Date.now() / 1000)).toBeLessThan(5)
    expect(answer.choices).toHaveLength(1)
    expect(answer.choices[0]).toMatchObject({
      index: 0,
      logprobs: null,
      finish_reason: 'length',
    })
    expect(answer.choices[0]?.text).toHaveLength(16)
    expect(answer.usage).toEqual({
      prompt_tokens: 4,
      completion_tokens: 16,
      total_tokens: 20,
    })
    const [asked] = engine.asked as GenerateRequest[]
    expect(asked?.rows[0]).toMatchObject({
      prompt: 'plain',
      text: 'Once',
      maxNewTokens: 16,
      temperature: 1,
      topP: 1,
      topK: 0,
      repetitionPenalty: 1,
      stop: [],
    })
  })

  test('gives every field to the engine', async () => {
    const { engine, completions } = await connected()
    await completions.create({
      model: 'fake/model',
      prompt: 'a',
      max_tokens: 5,
      temperature: 0.5,
      top_p: 0.9,
      n: 2,
      best_of: 2,
      seed: 7,
      stop: ['x', 'y'],
      logprobs: 2,
      user: 'someone',
      frequency_penalty: 0,
      presence_penalty: 0,
      logit_bias: {},
      suffix: null,
      stream_options: null,
      ...{ top_k: 3, repetition_penalty: 1.3, min_tokens: 2 },
    })
    const common = {
      prompt: null,
      text: 'a',
      maxNewTokens: 5,
      minNewTokens: 2,
      temperature: 0.5,
      topP: 0.9,
      topK: 3,
      repetitionPenalty: 1.3,
      stop: ['x', 'y'],
      logProbabilities: 2,
    }
    expect((engine.asked[0] as GenerateRequest).rows).toEqual([
      { ...common, seed: 7 },
      { ...common, seed: 8 },
    ])
  })

  test('numbers choices by prompt and choice, the n-th with the n-th seed', async () => {
    const { completions } = await connected()
    const { choices, usage } = await completions.create({
      model: 'plain',
      prompt: ['one', 'three'],
      n: 2,
      seed: 3,
      max_tokens: 2,
    })
    expect(choices.map(({ index, text }) => [index, text])).toEqual([
      [0, 'de'],
      [1, 'ef'],
      [2, 'de'],
      [3, 'ef'],
    ])
    expect(usage).toEqual({ prompt_tokens: 8, completion_tokens: 8, total_tokens: 16 })
  })

  test.each([
    ['a string', 'abc', ['abc']],
    ['strings', ['a', 'bc'], ['a', 'bc']],
    ['token ids', [97, 98], [[97, 98]]],
    ['lists of token ids', [[97], [98]], [[97], [98]]],
    ['nothing', undefined, ['']],
    ['null', null, ['']],
  ])('takes %s as the prompt', async (_, prompt, texts) => {
    const { engine, completions } = await connected()
    const body = { model: 'plain', prompt, max_tokens: 1 }
    const { choices } = await completions.create(body as never)
    expect(choices).toHaveLength(texts.length)
    const { rows } = engine.asked[0] as GenerateRequest
    expect(rows.map(({ text }) => text)).toEqual(texts)
  })

  test('ends before a stop string, and where the positions end', async () => {
    const { completions } = await connected()
    const request = { model: 'plain', temperature: 0, max_tokens: 100 }
    const stopped = await completions.create({ ...request, prompt: 'a', stop: 'd' })
    expect(stopped.choices[0]).toMatchObject({ text: 'abc', finish_reason: 'stop' })
    const full = await completions.create({ ...request, prompt: 'a'.repeat(60) })
    expect(full.choices[0]).toMatchObject({ text: 'abcd', finish_reason: 'length' })
  })

  test('tells log-probabilities, of the text too with echo, the first one null', async () => {
    const { completions } = await connected()
    const { choices, usage } = await completions.create({
      model: 'plain',
      prompt: 'x∞',
      temperature: 0,
      max_tokens: 2,
      logprobs: 1,
      echo: true,
    })
    expect(choices[0]).toEqual({
      text: 'x∞ab',
      index: 0,
      finish_reason: 'length',
      logprobs: {
        tokens: ['x', '∞', 'a', 'b'],
        token_logprobs: [null, -9999, -1.5, 0],
        top_logprobs: [
          null,
          { e: -0.1, '∞': -9999 },
          { e: -0.1, a: -1.5 },
          { e: -0.1, b: 0 },
        ],
        text_offset: [0, 1, 2, 3],
      },
    })
    expect(usage?.prompt_tokens).toBe(2)
  })

  test('reads a text alone with echo and max_tokens 0', async () => {
    const { engine, completions } = await connected()
    const { choices, usage } = await completions.create({
      model: 'plain',
      prompt: [[104, 105]],
      max_tokens: 0,
      logprobs: 0,
      echo: true,
    })
    expect(choices).toMatchObject([
      { text: 'hi', finish_reason: 'length', logprobs: { tokens: ['h', 'i'] } },
    ])
    expect(choices[0]?.logprobs?.top_logprobs).toEqual([null, { i: 0 }])
    expect(usage).toEqual({ prompt_tokens: 2, completion_tokens: 0, total_tokens: 2 })
    expect(engine.asked).toHaveLength(1)
  })
})

describe('a stream', () => {
  test('has a chunk a token, a last one with the reason, and usage where it is asked for', async () => {
    const { completions } = await connected()
    const request: OpenAI.CompletionCreateParamsStreaming = {
      model: 'plain',
      prompt: ['a', 'bb'],
      temperature: 0,
      max_tokens: 2,
      stream: true,
    }
    const chunks = []
    for await (const chunk of await completions.create({
      ...request,
      stream_options: { include_usage: true },
    })) {
      chunks.push(chunk)
    }
    const told = chunks.flatMap(({ choices }) => choices)
    for (const index of [0, 1]) {
      const own = told.filter((choice) => choice.index === index)
      expect(own.map(({ text }) => text)).toEqual(['a', 'b', ''])
      expect(own.map((choice) => choice.finish_reason)).toEqual([null, null, 'length'])
    }
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1)
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true)
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    })
    for await (const chunk of await completions.create(request)) {
      expect(chunk).not.toHaveProperty('usage')
    }
  })

  test('begins with the text under echo, with its log-probabilities', async () => {
    const { completions } = await connected()
    const texts = []
    const offsets = []
    for await (const { choices } of await completions.create({
      model: 'plain',
      prompt: 'hey',
      echo: true,
      logprobs: 0,
      max_tokens: 2,
      temperature: 0,
      stream: true,
    })) {
      texts.push(choices[0]?.text)
      offsets.push(...(choices[0]?.logprobs?.text_offset ?? []))
    }
    expect(texts).toEqual(['hey', 'a', 'b', ''])
    expect(offsets).toEqual([0, 1, 2, 3, 4])
  })

  test('ends with an error that the client throws', async () => {
    const { completions, engine } = await connected()
    const stream = await completions.create({
      model: 'plain',
      prompt: BROKEN,
      stream: true,
    })
    const read = async () => {
      for await (const _ of stream) {
        // the first token comes
      }
    }
    await expect(read()).rejects.toThrow('not finite')
    await until(() => engine.busy === 0)
  })

  test.each([true, false])(
    'is given up in the engine when the client goes (stream: %s)',
    async (stream) => {
      const { completions, engine } = await connected({ tokenMs: 20 })
      const controller = new AbortController()
      const request = { model: 'plain', prompt: 'a', n: 3, max_tokens: 60 }
      const work = async () => {
        const answer = await completions.create(
          { ...request, stream },
          { signal: controller.signal },
        )
        if (Symbol.asyncIterator in answer)
          for await (const _ of answer) controller.abort()
      }
      const working = work().catch((error) => error)
      await until(() => engine.busy === 3)
      if (!stream) controller.abort()
      await working
      await until(() => engine.busy === 0)
    },
  )
})

describe('models', () => {
  test('are listed and found by name, also one with a slash', async () => {
    const { openai } = await connected()
    const { data } = await openai.models.list()
    expect(data.map(({ id }) => id)).toEqual(['fake/model', 'review', 'pair', 'plain'])
    expect(await openai.models.retrieve('review')).toEqual({
      id: 'review',
      object: 'model',
      created: 1767323045,
      owned_by: 'lopt',
      parent: 'fake/model',
      method: 'lopt-1',
      length: 20,
      rank: 4,
      trainable_parameters: 208,
      task: { template: '{text} It was', labels: ['good', 'bad', 'so-so'] },
    })
    expect(await openai.models.retrieve('fake/model')).toMatchObject({ parent: null })
    await expect(openai.models.retrieve('no/such')).rejects.toThrow(OpenAI.NotFoundError)
  })
})

describe('an error', () => {
  const request = { model: 'plain', prompt: 'a' } as const

  test.each([
    [
      'an unknown model',
      { model: 'nobody' },
      OpenAI.NotFoundError,
      'model_not_found',
      'model',
    ],
    [
      'a field of another type',
      { max_tokens: 'x' },
      OpenAI.UnprocessableEntityError,
      'invalid_value',
      'max_tokens',
    ],
    [
      'a field out of range',
      { top_p: 1.5 },
      OpenAI.UnprocessableEntityError,
      'invalid_value',
      'top_p',
    ],
    [
      'five stop strings',
      { stop: ['a', 'b', 'c', 'd', 'e'] },
      OpenAI.UnprocessableEntityError,
      'invalid_value',
      'stop',
    ],
    [
      'too long a text',
      { prompt: 'a'.repeat(100) },
      OpenAI.BadRequestError,
      'context_length_exceeded',
      'prompt',
    ],
    [
      'six log-probabilities',
      { logprobs: 6 },
      OpenAI.UnprocessableEntityError,
      'invalid_value',
      'logprobs',
    ],
    [
      'a parameter that there is not',
      { max_token: 3 },
      OpenAI.BadRequestError,
      'unknown_parameter',
      'max_token',
    ],
    [
      'a penalty',
      { frequency_penalty: 0.5 },
      OpenAI.BadRequestError,
      'unsupported_parameter',
      'frequency_penalty',
    ],
    [
      'another penalty',
      { presence_penalty: -1 },
      OpenAI.BadRequestError,
      'unsupported_parameter',
      'presence_penalty',
    ],
    [
      'a bias',
      { logit_bias: { 5: 1 } },
      OpenAI.BadRequestError,
      'unsupported_parameter',
      'logit_bias',
    ],
    [
      'a suffix',
      { suffix: 'b' },
      OpenAI.BadRequestError,
      'unsupported_parameter',
      'suffix',
    ],
    [
      'best_of',
      { best_of: 3 },
      OpenAI.BadRequestError,
      'unsupported_parameter',
      'best_of',
    ],
    [
      'no tokens without echo',
      { max_tokens: 0 },
      OpenAI.BadRequestError,
      'invalid_value',
      'max_tokens',
    ],
    [
      'stream_options without a stream',
      { stream_options: {} },
      OpenAI.BadRequestError,
      'invalid_value',
      'stream_options',
    ],
    [
      'more choices than a call may have',
      { prompt: Array(20).fill('a'), n: 16 },
      OpenAI.BadRequestError,
      'too_many_choices',
      'n',
    ],
    [
      'values that are not finite',
      { prompt: BROKEN },
      OpenAI.InternalServerError,
      'non_finite',
      null,
    ],
  ])('is what the client expects: %s', async (_, fields, type, code, param) => {
    const { completions, engine } = await connected()
    const error = await completions
      .create({ ...request, ...fields } as never)
      .catch((error) => error)
    expect(error).toBeInstanceOf(type)
    expect(error).toMatchObject({ code, param })
    expect(error.requestID).toMatch(/[\w-]{36}/)
    await until(() => engine.busy === 0)
  })

  test('is asked again where that can help: 429 with the time to wait', async () => {
    const { completions, engine } = await connected({ room: 0 }, { maxRetries: 1 })
    const began = Date.now()
    const error = await completions.create(request).catch((error) => error)
    expect(error).toBeInstanceOf(OpenAI.RateLimitError)
    expect(error.headers.get('retry-after')).toBe('1')
    expect(Date.now() - began).toBeGreaterThan(950)
    expect(engine.asked).toHaveLength(2)
  })

  test('is not asked again where that cannot help', async () => {
    const { completions, engine } = await connected({}, { maxRetries: 2 })
    await expect(completions.create({ ...request, prompt: BROKEN })).rejects.toThrow()
    expect(engine.asked).toHaveLength(1)
  })

  test('is 503 once the engine is closed', async () => {
    const { completions, engine } = await connected()
    await engine.close()
    const error = await completions.create(request).catch((error) => error)
    expect(error).toMatchObject({ status: 503, code: 'server_closing' })
  })
})
