import { expect, test } from 'vitest'
import type { ClassifyRequest } from '../../lib/engine/index.js'
import { BROKEN, type FakeEngine, fakeEngine } from './fake-engine.js'
import { listening, until } from './listening.js'

const labels = ['good', 'bad', 'so-so']

test('classify answers in vLLM’s form, with all labels, their scores and what was cut off', async () => {
  const { ask } = await listening(fakeEngine())
  const input = ['abc', 'x'.repeat(43)]
  const { status, json } = await ask('/v1/classify', { model: 'review', input })
  expect(status).toBe(200)
  expect(json).toMatchObject({ object: 'list', model: 'review' })
  expect(json.id).toMatch(/^classify-/)
  expect(json.usage).toEqual({
    prompt_tokens: 43,
    completion_tokens: 0,
    total_tokens: 43,
  })
  const [first, second] = json.data
  expect(first).toMatchObject({
    index: 0,
    label: 'good',
    num_classes: 3,
    labels,
    scores: [-1, -2, -3],
    truncated: 0,
  })
  expect(first.probs.reduce((sum: number, p: number) => sum + p)).toBeCloseTo(1)
  expect(second).toMatchObject({ index: 1, label: 'so-so', truncated: 3 })
})

test.each([
  ['a string', 'abc', ['abc']],
  ['strings', ['abc', 'd'], ['abc', 'd']],
  ['fields', { text: 'a' }, [{ text: 'a' }]],
  ['lists of fields', [{ text: 'a' }, { text: 'b' }], [{ text: 'a' }, { text: 'b' }]],
  ['token ids', [97, 98], [[97, 98]]],
  ['lists of token ids', [[97], [98]], [[97], [98]]],
])('classify takes %s', async (_, input, inputs) => {
  const engine = fakeEngine()
  const { ask } = await listening(engine)
  const { status } = await ask('/v1/classify', { model: 'review', input, user: 'u' })
  expect(status).toBe(200)
  expect(engine.asked[0]).toMatchObject({ prompt: 'review', inputs })
})

test('classify takes labels for a model without a prompt, and candidates for each input', async () => {
  const engine = fakeEngine()
  const { ask } = await listening(engine)
  const classify = (body: object) => ask('/v1/classify', { model: 'fake/model', ...body })
  const words = { yes: 'it is', no: 'it is not' }
  const byWords = await classify({ input: 'a', labels: words })
  expect(byWords.json.data[0].labels).toEqual(['yes', 'no'])
  expect(engine.asked[0]).toMatchObject({ prompt: null, labels: words })
  await classify({ input: ['a', 'b'], candidates: ['x', 'y'] })
  const candidates = [
    ['x', 'y'],
    ['z', 'w'],
  ]
  await classify({ input: ['a', 'b'], candidates })
  const given = engine.asked.map((asked) => (asked as ClassifyRequest).candidates)
  expect(given.slice(1)).toEqual([
    [
      ['x', 'y'],
      ['x', 'y'],
    ],
    candidates,
  ])
  const wrong = await classify({ input: ['a'], candidates })
  expect([wrong.status, wrong.json.error.param]).toEqual([422, 'candidates'])
  const none = await classify({ input: 'a' })
  expect([none.status, none.json.error.param]).toEqual([422, 'labels'])
})

test.each([
  ['no input', {}, 422, 'input'],
  ['an empty list', { input: [] }, 422, 'input'],
  ['a list of both kinds', { input: ['a', 1] }, 422, 'input'],
  ['half a character', { input: 'a\ud83d' }, 422, 'input'],
  ['an empty text', { input: '' }, 422, 'input'],
  ['fields of another template', { input: { other: 'a' } }, 422, 'input'],
  ['more inputs than a call may have', { input: Array(129).fill('a') }, 422, 'input'],
  ['no label', { input: 'a', labels: [] }, 422, 'labels'],
  ['values that are not finite', { input: BROKEN }, 500, null],
])('classify refuses %s', async (_, body, status, param) => {
  const { ask } = await listening(fakeEngine())
  const answer = await ask('/v1/classify', { model: 'review', ...body })
  expect([answer.status, answer.json.error.param]).toEqual([status, param])
})

test("an error of the server's own is no mistake of the request", async () => {
  const { ask } = await listening(
    Object.assign(fakeEngine(), { classify: async () => [undefined] }) as FakeEngine,
  )
  for (const [path, field] of [
    ['/v1/classify', 'input'],
    ['/predict', 'inputs'],
  ] as const) {
    const { status, json } = await ask(path, { model: 'review', [field]: 'a' })
    expect([status, json.error.code]).toEqual([500, 'internal_error'])
    expect(json.error.message).not.toContain('undefined')
  }
})

test('classify is given up when its client goes', async () => {
  const engine = fakeEngine({ tokenMs: 10_000 })
  const { ask } = await listening(engine)
  const controller = new AbortController()
  const body = { model: 'review', input: ['a', 'b'] }
  const asking = ask('/v1/classify', body, { signal: controller.signal })
  await until(() => engine.busy === 2)
  controller.abort()
  await expect(asking).rejects.toThrow()
  await until(() => engine.busy === 0)
})

test('predict answers as text-embeddings-inference does: a list, the likeliest first', async () => {
  const { ask } = await listening(fakeEngine())
  const { json } = await ask('/predict', { inputs: 'ab', model: 'review' })
  expect(json.map(({ label }: { label: string }) => label)).toEqual(
    ['bad', 'good', 'so-so'].sort((a, b) => order(a) - order(b)),
  )
  expect(json[0].score).toBeGreaterThan(json[1].score)
  const raw = await ask('/predict', { inputs: ['ab'], model: 'review', raw_scores: true })
  expect(raw.json.map(({ score }: { score: number }) => score)).toEqual([-1, -2, -3])
})

// of 'ab': -3, -1, -2
const order = (label: string) => ['bad', 'so-so', 'good'].indexOf(label)

test('predict answers lists with lists, and takes a pair for a template of two fields', async () => {
  const engine = fakeEngine()
  const { ask } = await listening(engine)
  const batch = await ask('/predict', { inputs: [['a'], ['bc']], model: 'review' })
  expect(batch.json).toHaveLength(2)
  expect(batch.json[0]).toHaveLength(3)
  const one = await ask('/predict', { inputs: ['a', 'b'], model: 'pair' })
  expect(one.json).toHaveLength(2)
  await ask('/predict', {
    inputs: [['a', 'b'], { premise: 'c', hypothesis: 'd' }],
    model: 'pair',
  })
  await ask('/predict', { inputs: [['a', 'b']], model: 'pair' })
  const asked = engine.asked.map((request) => (request as ClassifyRequest).inputs)
  const pair = { premise: 'a', hypothesis: 'b' }
  expect(asked).toEqual([['a', 'bc'], [pair], [pair]])
  for (const model of ['review', 'plain', 'fake/model']) {
    const texts = await ask('/predict', { inputs: ['a', 'b'], model })
    expect(texts.status).toBe(422)
    expect(texts.json.error.message).toContain('[["one"], ["two"]]')
  }
})

test('predict needs no name where there is one prompt, and refuses what does not fit if told to', async () => {
  const engine = fakeEngine()
  const { ask } = await listening(engine)
  const inputs = 'x'.repeat(43)
  expect((await ask('/predict', { inputs })).json.error.param).toBe('model')
  engine.removePrompt('pair')
  engine.removePrompt('plain')
  expect((await ask('/predict', { inputs })).status).toBe(200)
  const refused = await ask('/predict', { inputs, truncate: false })
  expect(refused.json.error.message).toBe('inputs[0] is 3 tokens too long')
})
