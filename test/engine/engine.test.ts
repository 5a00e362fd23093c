// Requests of many prompts at once are answered as each would be alone.

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  createEngine,
  type Engine,
  type EngineEvent,
  type EngineLimits,
  type GenerateInput,
  type RequestError,
} from '../../lib/engine/index.js'
import { type GenerateRow, generate, score } from '../../lib/inference/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { memory, noGrad, type Tensor } from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import { randomNumbers } from '../train/random-cases.js'
import { loadSmall, loadSmallT5 } from '../train/small-runs.js'

const WORDS = ['the', 'dog', 'a', 'film', 'was', 'good', 'and', 'long']
const FORMAT = {
  template: '{text} It was',
  labels: ['good', 'bad film', 'long'],
  verbalizer: { good: 'good', 'bad film': 'bad film', long: 'long' },
}
const TASK = { ...FORMAT, labels: FORMAT.verbalizer, maxLength: 30 }

/** Prompts of several methods and placements, and what each was trained for. */
function somePrompts(backbone: Backbone): Record<string, Prompt> {
  const made = {
    full: createPrompt(backbone, { method: 'full', length: 3, init: 'random', seed: 1 }),
    low: createPrompt(backbone, { length: 4, rank: 2, init: 'random', seed: 2 }),
    behind: createPrompt(backbone, {
      ...{ method: 'full', length: 2, placement: 'suffix', init: 'random', seed: 3 },
    }),
    keys: createPrompt(backbone, {
      method: 'prefix',
      length: 3,
      init: 'random',
      seed: 4,
    }),
    moved: createPrompt(backbone, {
      ...{ method: 'dept', length: 2, rank: 2, textTokens: 5, init: 'random', seed: 5 },
    }),
  }
  for (const prompt of Object.values(made)) prompt.task = TASK as Prompt['task']
  return made
}

const next = randomNumbers(1)
const integer = (most: number) => Math.floor(next() * most)
const someText = (most = 9) =>
  Array.from({ length: 1 + integer(most) }, () => WORDS[integer(8)]).join(' ')

/** What the rows of a request say. */
async function said(engine: Engine, rows: GenerateInput[], signal?: AbortSignal) {
  const texts = rows.map(() => '')
  for await (const event of await engine.generate({ rows, signal })) {
    if (event.type === 'failed') throw event.error
    if (event.type === 'done') texts[event.row] = event.text
  }
  return texts
}

async function saidAlone(backbone: Backbone, row: GenerateRow): Promise<string> {
  for await (const event of generate({ backbone, rows: [row] })) {
    if (event.type === 'done') return event.text
  }
  return ''
}

/** While two texts of other lengths are continued again and again: at any time one is. */
async function besideOthers<T>(engine: Engine, work: () => Promise<T>): Promise<T> {
  let isOver = false
  const others = [60, 37].map(async (most) => {
    const rows = [{ text: 'a', maxNewTokens: most, minNewTokens: most }]
    while (!isOver) await said(engine, rows)
  })
  await until(() => engine.stats().running > 0)
  try {
    return await work()
  } finally {
    isOver = true
    await Promise.all(others)
  }
}

const until = async (condition: () => boolean) => {
  while (!condition()) await delay(1)
}

describe.each([
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
] as const)('an engine over %s', (_, load) => {
  let backbone: Backbone
  let prompts: Record<string, Prompt>
  let names: string[]
  let engine: Engine
  const open = (limits: EngineLimits = {}) =>
    createEngine({ backbone, prompts: somePrompts(backbone), name: 'small', limits })
  beforeAll(async () => {
    backbone = await load('float64')
    prompts = somePrompts(backbone)
    names = Object.keys(prompts)
    engine = open({ maxRunning: 4, pieceTokens: 8 })
  })
  afterAll(async () => {
    await engine.close()
    for (const prompt of Object.values(prompts)) prompt.dispose()
    backbone.dispose()
  })

  test('answers 120 mixed requests as score and generate do', async () => {
    const requests = Array.from({ length: 120 }, (_, i) => async () => {
      const name = names[integer(names.length)] as string
      const prompt = prompts[name] as Prompt
      const text = someText()
      if (i % 2 === 0) {
        const [own] = await engine.classify({ prompt: name, inputs: [text] })
        const [alone] = await score({ backbone, prompt, texts: [text] })
        expect(own?.label).toBe(alone?.prediction)
        for (const [k, label] of (own?.labels ?? []).entries()) {
          expect(own?.scores[k]).toBeCloseTo(alone?.scores[label] as number, 8)
        }
        expect(own?.probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 8)
      } else {
        const settings = {
          ...{
            maxNewTokens: 1 + integer(9),
            temperature: i % 3 === 0 ? 1.2 : 0,
            seed: i,
          },
        }
        const [own] = await said(engine, [{ prompt: name, text, ...settings }])
        expect(own).toBe(await saidAlone(backbone, { prompt, text, ...settings }))
      }
    })
    await Promise.all(requests.map((request) => request()))
    expect(engine.stats()).toMatchObject({
      queuedRequests: 0,
      queuedTokens: 0,
      running: 0,
    })
  })

  test('takes fields, token ids, labels and candidates of a request', async () => {
    const ids = backbone.tokenizer.encode('the dog It was')
    const answers = await engine.classify({
      prompt: 'low',
      inputs: ['the dog', { text: 'the dog' }, ids],
    })
    expect(
      new Set(answers.map(({ scores }) => scores.map((x) => x.toFixed(9)).join())).size,
    ).toBe(1)
    expect(answers[0]).toMatchObject({ tokens: ids.length, truncated: 0 })
    const labels = { yes: 'good', no: 'bad' }
    const waits = vi.spyOn(backbone.tokenizer, 'encode')
    const [alone] = await engine.classify({ inputs: ['a film'], labels })
    expect(waits).not.toHaveBeenCalled() // the event loop waits for nothing
    waits.mockRestore()
    expect(alone?.labels).toEqual(['yes', 'no'])
    const format = { template: '{text}', labels: ['yes', 'no'], verbalizer: labels }
    const [expected] = await score({
      backbone,
      prompt: null,
      task: format,
      texts: ['a film'],
    })
    expect(alone?.scores[1]).toBeCloseTo(expected?.scores.no as number, 8)
    const [one, two] = await engine.classify({
      ...{ prompt: 'full', inputs: ['a film', 'a dog'] },
      candidates: [['good'], ['good', 'long and good']],
    })
    expect([one?.label, two?.labels.length]).toEqual(['good', 2])
  })

  test('scores many candidates in pieces', async () => {
    const small = open({ maxBatchTokens: 12 })
    const candidates = Array.from({ length: 30 }, (_, i) => `good ${WORDS[i % 8]} ${i}`)
    const inputs = ['the dog was long']
    const [own] = await small.classify({
      prompt: 'low',
      inputs,
      candidates: [candidates],
    })
    const [alone] = await engine.classify({
      prompt: 'low',
      inputs,
      candidates: [candidates],
    })
    own?.scores.forEach((value, i) => {
      expect(value).toBeCloseTo(alone?.scores[i] as number, 8)
    })
    await small.close()
  })

  test('ends what is aborted, and frees all that it had', async () => {
    await said(engine, [{ text: 'the', prompt: 'low' }])
    const before = await settledMemory()
    const requests = Array.from({ length: 60 }, async (_, i) => {
      const leaving = new AbortController()
      const row = { text: someText(), prompt: names[i % names.length] as string }
      const rows = [row, { ...row, maxNewTokens: 30 }]
      const work =
        i % 3 === 0
          ? engine.classify({
              prompt: row.prompt,
              inputs: [row.text],
              signal: leaving.signal,
            })
          : said(engine, rows, leaving.signal)
      setTimeout(() => leaving.abort(), integer(30))
      return await work.catch((error: { code: string }) => error.code)
    })
    const ends = await Promise.all(requests)
    expect(ends).toContain('ERR_ABORTED')
    await until(() => engine.stats().running === 0)
    expect(engine.stats()).toMatchObject({ queuedRequests: 0, queuedTokens: 0 })
    // A pass that nobody waits for may still run.
    await expect.poll(() => memory().tensors).toBeLessThanOrEqual(before.tensors)
    // Leaving the loop ends a request as well.
    for await (const _ of await engine.generate({ rows: [{ text: 'the dog' }] })) break
    await until(() => engine.stats().running === 0)
  })

  test('says what is wrong with a request, and goes on', async () => {
    const refused = (request: object) =>
      expect(engine.classify({ inputs: ['a'], ...request } as never)).rejects
    await refused({ prompt: 'none' }).toMatchObject({ code: 'ERR_UNKNOWN_PROMPT' })
    await refused({ inputs: [''], labels: ['good', 'bad'] }).toMatchObject({
      code: 'ERR_DATA',
    })
    await refused({ prompt: 'low', inputs: [] }).toThrow(/inputs/)
    await refused({ prompt: 'low', inputs: [7] }).toThrow(
      /string, token ids or the fields/,
    )
    await refused({ prompt: 'low', inputs: [{ other: 'a' }] }).toThrow(/text/)
    await refused({ prompt: 'low', inputs: [[10 ** 6]] }).toThrow(/inputs\[0\]/)
    await refused({}).toThrow(/give `labels`/)
    await refused({ candidates: [['a'], ['b']] }).toThrow(
      /each of 1 inputs but received 2/,
    )
    await refused({ inputs: Array(257).fill('a') }).toThrow(
      /inputs to be a list of 1..256/,
    )
    await refused({ prompt: 'low', timeoutMs: 0 }).toThrow(/timeoutMs/)
    await refused({ prompt: 'low', signal: AbortSignal.abort() }).toMatchObject({
      code: 'ERR_ABORTED',
    })
    const rows = (row: object) =>
      expect(engine.generate({ rows: [row] } as never)).rejects
    await rows({ text: 'a', prompt: 'none' }).toMatchObject({
      code: 'ERR_UNKNOWN_PROMPT',
    })
    await rows({ text: 'a', topP: 2 }).toThrow(/rows\[0\]: .*topP/)
    await rows({ text: 3 }).toThrow(/rows\[0\]: .*text/)
    await expect(engine.generate({ rows: [] })).rejects.toThrow(/rows/)
    expect(() => engine.addPrompt('../x', prompts.low as Prompt)).toThrow(/name/)
    const spaced = somePrompts(backbone).full as Prompt
    spaced.task = { ...TASK, labels: { good: ' good', bad: 'bad' } }
    expect(() => engine.addPrompt('spaced', spaced)).toThrow(/spaced: .*white space/)
    spaced.dispose()
    const { full: twice } = somePrompts(backbone) as { full: Prompt }
    engine.addPrompt('once', twice)
    expect(() => engine.addPrompt('twice', twice)).toThrow(/served as once already/)
    engine.removePrompt('once')
    expect(() => engine.addPrompt('small', prompts.low as Prompt)).toThrow(/backbone/)
    expect(engine.stats()).toMatchObject({
      queuedRequests: 0,
      queuedTokens: 0,
      running: 0,
    })
  })

  test('says which field of a request is wrong, and which text is too long', async () => {
    const wrong = (request: object) =>
      engine.classify({ inputs: ['a'], ...request } as never).then(
        () => 'none',
        ({ field }: RequestError) => field,
      )
    expect(await wrong({ labels: ['a', ' b'] })).toBe('labels')
    expect(await wrong({ labels: { a: 'dog', b: 'dog' } })).toBe('labels')
    expect(await wrong({ prompt: 'low', inputs: [{ other: 'a' }] })).toBe('inputs')
    if (backbone.kind === 'causal') {
      expect(await wrong({ candidates: [['dog '.repeat(99)]] })).toBe('candidates')
      expect(await wrong({ labels: ['a', 'dog '.repeat(99).trim()] })).toBe('labels')
      const rows = [{ text: 'the dog '.repeat(99) }]
      await expect(engine.generate({ rows })).rejects.toMatchObject({
        isTooLong: true,
        field: 'rows',
        message: expect.stringMatching(/rows\[0\]: .*1\.\.63 tokens/),
      })
    }
  })

  test('what fails while it runs is no mistake of the request', async () => {
    const small = open()
    const broken = vi.spyOn(backbone, 'head').mockRejectedValueOnce(new RangeError('[2]'))
    const work = small.classify({ prompt: 'low', inputs: ['a film'] })
    await expect(work).rejects.toThrow('The request failed: [2]')
    await expect(work).rejects.not.toBeInstanceOf(RangeError)
    broken.mockRestore()
    expect(await small.classify({ prompt: 'low', inputs: ['a film'] })).toHaveLength(1)
    await small.close()
  })

  test('reads a text once for all of its choices', async () => {
    const passes: EngineEvent[] = []
    const stop = engine.observe((event) => passes.push(event))
    const text = 'the dog was good and long'
    const row = { text, prompt: 'low', temperature: 1, maxNewTokens: 6 }
    const rows = [1, 2, 3, 4].map((seed) => ({ ...row, seed }))
    const texts = await said(engine, rows)
    stop()
    for (const [i, own] of texts.entries()) {
      const { prompt: name, ...alone } = rows[i] as (typeof rows)[number]
      expect(own).toBe(
        await saidAlone(backbone, { ...alone, prompt: prompts[name] ?? null }),
      )
    }
    const read = passes.flatMap((event) =>
      event.type === 'pass' && event.work === 'read' ? [[event.rows, event.tokens]] : [],
    )
    expect(read).toEqual([[1, 4 + backbone.tokenizer.encode(text).length]])
    // More choices than slots, one that ends early, and all of them given up.
    const many = Array.from({ length: 9 }, (_, seed) => ({
      ...row,
      seed,
      maxNewTokens: 1 + seed,
    }))
    expect(await said(engine, many)).toHaveLength(9)
    const leaving = new AbortController()
    const given = said(engine, many, leaving.signal)
    given.catch(() => {})
    await until(() => engine.stats().running > 0)
    leaving.abort()
    await until(() => engine.stats().running === 0)
    expect(engine.stats()).toMatchObject({ queuedRequests: 0, queuedTokens: 0 })
  })

  test('refuses more than may wait, and takes requests again', async () => {
    const small = open({ maxQueuedRequests: 3, maxRunning: 2 })
    const work = Array.from({ length: 20 }, () =>
      small.classify({ prompt: 'low', inputs: ['a film'] }).then(
        () => 'answered',
        (error: { code: string }) => error.code,
      ),
    )
    const ends = await Promise.all(work)
    expect(ends.filter((end) => end === 'ERR_OVERLOADED')).toHaveLength(17)
    expect(ends.filter((end) => end === 'answered')).toHaveLength(3)
    expect(small.stats().totals.rejected).toBe(17)
    const tokens = open({ maxQueuedTokens: 20 })
    const long = 'the dog was good and '.repeat(10)
    await expect(
      tokens.classify({ prompt: 'low', inputs: [long, long] }),
    ).rejects.toThrow(/20 tokens at most/)
    await small.classify({ prompt: 'low', inputs: ['a film'] })
    await Promise.all([small.close(), tokens.close()])
  })

  test('ends a request that takes too long', async () => {
    const rows = Array.from({ length: 12 }, () => ({ text: 'a', maxNewTokens: 40 }))
    const late = (async () => {
      for await (const _ of await engine.generate({ rows, timeoutMs: 5 })) await delay(0)
    })()
    await expect(late).rejects.toMatchObject({ code: 'ERR_DEADLINE' })
    await until(() => engine.stats().running === 0)
  })

  test('changes prompts while it serves: a request ends with the one that it began with', async () => {
    const old = somePrompts(backbone).low as Prompt
    const other = somePrompts(backbone).full as Prompt
    engine.addPrompt('changing', old)
    const row = { text: 'the dog', maxNewTokens: 12 }
    const expected = await saidAlone(backbone, { ...row, prompt: old })
    const running = said(engine, [{ ...row, prompt: 'changing' }])
    engine.addPrompt('changing', other)
    const [after] = await said(engine, [{ ...row, prompt: 'changing' }])
    expect((await running)[0]).toBe(expected)
    expect(after).toBe(
      await saidAlone(backbone, { ...row, prompt: prompts.full ?? null }),
    )
    await until(() => engine.stats().running === 0)
    await delay(5)
    expect(() => old.inputs()).toThrow(/dispose/)
    const events: EngineEvent[] = []
    const stop = engine.observe((event) => events.push(event))
    expect(engine.removePrompt('changing')).toBe(true)
    expect(engine.removePrompt('changing')).toBe(false)
    stop()
    expect(events).toEqual([{ type: 'removed', prompt: 'changing' }])
    expect([...engine.prompts.keys()]).toEqual(names)
    expect(engine.prompts.get('low')).toMatchObject({
      method: 'lopt-1',
      length: 4,
      rank: 2,
    })
    expect(engine.prompts.get('full')).not.toHaveProperty('rank')
  })

  test('lets a broken prompt fail alone', async () => {
    const { full, low } = somePrompts(backbone) as { full: Prompt; low: Prompt }
    await noGrad(() => (full.parameters.X as Tensor).fill_(Number.NaN))
    engine.addPrompt('nan', full)
    engine.addPrompt('gone', low)
    low.dispose() // what must not be done: the engine owns it
    const ask = (prompt: string) =>
      engine.classify({ prompt, inputs: ['a film'] }).then(
        ([answer]) => answer?.label,
        (error: Error & { code?: string }) => error.code ?? error.name,
      )
    const [nan, gone, fine] = await Promise.all([ask('nan'), ask('gone'), ask('behind')])
    expect(nan).toBe('ERR_NON_FINITE_LOSS')
    expect(gone).toBe('ERR_DISPOSED')
    expect(FORMAT.labels).toContain(fine)
    const rows = [{ text: 'a film', prompt: 'nan' }]
    const answer = said(engine, rows)
    answer.catch(() => {})
    const [other] = await said(engine, [
      { text: 'a film', prompt: 'behind', maxNewTokens: 5 },
    ])
    await expect(answer).rejects.toMatchObject({ code: 'ERR_NON_FINITE_LOSS' })
    expect(other).toBeDefined()
    for (const name of ['nan', 'gone']) engine.removePrompt(name)
  })

  test('does not let one prompt starve another', async () => {
    const small = open({ maxBatchTokens: 40 })
    let isAnswered = 0
    const flood = Array.from({ length: 60 }, () =>
      small.classify({ prompt: 'low', inputs: ['the dog was good'] }).then(() => {
        isAnswered += 1
      }),
    )
    await delay(0)
    await small.classify({ prompt: 'full', inputs: ['a film'] })
    expect(isAnswered).toBeLessThan(40)
    await Promise.all(flood)
    await small.close()
  })

  test('is closed once it has answered, and takes nothing then', async () => {
    const small = open()
    const first = said(small, [{ text: 'the dog', maxNewTokens: 8 }])
    const late = said(small, [{ text: 'the dog', maxNewTokens: 40 }])
    late.catch(() => {})
    await until(() => small.stats().running > 0)
    const closing = small.close({ graceMs: 10_000 })
    await expect(small.classify({ prompt: 'low', inputs: ['a'] })).rejects.toMatchObject({
      code: 'ERR_CLOSED',
    })
    expect((await first)[0]).toBeDefined()
    await closing
    const hasty = open()
    const cut = said(hasty, [{ text: 'the dog', maxNewTokens: 40 }])
    cut.catch(() => {})
    await until(() => hasty.stats().running > 0)
    const patient = hasty.close({ graceMs: 10_000 })
    await hasty.close({ graceMs: 0 })
    await expect(cut).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    await patient
    expect(hasty.stats()).toMatchObject({ running: 0, cacheBytes: 0 })
  })

  test('holds what it says of its cache', async () => {
    const before = engine.stats().totals.tokensMade
    let count = 0
    const rows = [{ text: 'the dog', maxNewTokens: 3 }]
    for await (const event of await engine.generate({ rows })) {
      if (event.type === 'token') count += 1
    }
    expect(engine.stats().totals.tokensMade - before).toBe(count)
    const { cacheBytes, maxCacheBytes, slots } = engine.stats()
    expect(slots).toBe(4)
    expect(cacheBytes).toBeGreaterThan(0)
    expect(cacheBytes).toBeLessThanOrEqual(maxCacheBytes)
  })
})

test('very long texts of others hold no token up', async () => {
  const backbone = await loadBackbone('builtin:nano-gpt2')
  const engine = createEngine({ backbone })
  const word = (i: number) => Math.floor(Math.abs(Math.sin(i)) * 1e9).toString(36)
  const long = Array.from({ length: 150_000 }, (_, i) => word(i)).join(' ') // 0.9 MB
  const encoded = vi.spyOn(backbone.tokenizer, 'tokenize')
  let isOver = false
  const cut = engine.classify({ inputs: [long], labels: ['a', 'b'] }).finally(() => {
    isOver = true
  })
  await Promise.all([
    expect(engine.generate({ rows: [{ text: long }] })).rejects.toThrow(/characters/),
    expect(engine.read({ texts: [long] })).rejects.toThrow(/characters/),
    expect(engine.classify({ inputs: ['a'], labels: ['a', long] })).rejects.toThrow(
      /characters/,
    ),
  ])
  let tokens = 0
  while (!isOver) {
    const rows = [{ text: 'the dog', maxNewTokens: 100, minNewTokens: 100 }]
    for await (const { type } of await engine.generate({ rows })) {
      if (type === 'token' && !isOver) tokens += 1
    }
  }
  expect(tokens).toBeGreaterThan(10)
  const [found] = await cut
  expect((found?.tokens ?? 0) + (found?.truncated ?? 0)).toBeGreaterThan(150_000)
  // What cannot fit was not encoded, and where a text is cut was looked for in what can be kept.
  const lengths = encoded.mock.calls
    .flatMap(([texts]) => texts)
    .map((text) => text.length)
  expect(lengths.filter((length) => length > 5000)).toEqual([long.length])
  await engine.close()
  backbone.dispose()
})

describe('on GPT-2', () => {
  let backbone: Backbone
  let engine: Engine
  let engineLow: Prompt
  beforeAll(async () => {
    backbone = await loadSmall('float64')
    engineLow = somePrompts(backbone).low as Prompt
    engine = createEngine({
      ...{ backbone, prompts: somePrompts(backbone), limits: { pieceTokens: 4 } },
    })
  })
  afterAll(async () => {
    await engine.close()
    backbone.dispose()
  })

  test('a long text is read in pieces, and others go on between them', async () => {
    const passes: EngineEvent[] = []
    const row = { text: 'the dog was good and long a film '.repeat(3), maxNewTokens: 2 }
    await besideOthers(engine, async () => {
      const stop = engine.observe((event) => passes.push(event))
      await said(engine, [{ ...row, prompt: 'low' }])
      stop()
    })
    const kinds = passes.map((event) => (event.type === 'pass' ? event.work : event.type))
    expect(kinds.filter((kind) => kind === 'read').length).toBeGreaterThan(3)
    expect(kinds.join(' ')).toMatch(/read decode read decode read/)
  })

  test('a long text is scored in pieces, and others go on between them', async () => {
    const text = 'the dog was good and long a film '.repeat(2)
    const asked = { prompt: 'low', inputs: [text] }
    const [whole] = await engine.classify(asked)
    const [alone] = await score({ backbone, prompt: engineLow, texts: [text] })
    const events: EngineEvent[] = []
    const [inPieces] = await besideOthers(engine, async () => {
      // One of them leaves in the middle.
      const leaving = new AbortController()
      const stop = engine.observe((event) => {
        events.push(event)
        if (event.type === 'pass' && event.work === 'score') leaving.abort()
      })
      const left = engine.classify({ ...asked, signal: leaving.signal })
      await expect(left).rejects.toMatchObject({ code: 'ERR_ABORTED' })
      const found = await engine.classify(asked)
      stop()
      return found
    })
    for (const [i, label] of (whole?.labels ?? []).entries()) {
      expect(inPieces?.scores[i]).toBeCloseTo(alone?.scores[label] as number, 8)
      expect(whole?.scores[i]).toBeCloseTo(alone?.scores[label] as number, 8)
    }
    const kinds = events.map((event) => (event.type === 'pass' ? event.work : event.type))
    expect(kinds.join(' ')).toMatch(/score decode score decode score decode score/)
  })

  test('a long text of several choices is read in pieces once', async () => {
    // As ids: to encode it would take time, in which the other text could end.
    const text = backbone.tokenizer.encode('the dog was good and long a film '.repeat(3))
    const row = { text, prompt: 'low' }
    const rows = [1, 2, 3].map((seed) => ({
      ...row,
      seed,
      temperature: 1,
      maxNewTokens: 4,
    }))
    const alone = await Promise.all(rows.map((one) => said(engine, [one])))
    const passes: EngineEvent[] = []
    const short = said(engine, [{ text: 'a', maxNewTokens: 59, minNewTokens: 59 }])
    await until(() => engine.stats().running > 0)
    const stop = engine.observe((event) => passes.push(event))
    expect(await said(engine, rows)).toEqual(alone.flat())
    stop()
    await short
    const read = passes.flatMap((event) =>
      event.type === 'pass' && event.work === 'read' ? [event.tokens] : [],
    )
    const length = 4 + text.length
    expect(read.length).toBe(Math.ceil(length / 4))
  })

  test("tells a text's own log-probabilities, as scores are made of them", async () => {
    const text = 'the dog was good'
    const candidate = ' and long'
    const ids = backbone.tokenizer.encode(text)
    for (const prompt of ['low', 'keys', 'full']) {
      const [scored] = await engine.classify({
        ...{ prompt, inputs: [ids], candidates: [[candidate.trim()]] },
      })
      const texts = ['a film', text + candidate]
      const [, found] = await engine.read({ prompt, texts, logProbabilities: 2 })
      const tokens = found ?? []
      expect(tokens.map(({ token }) => token)).toEqual(
        backbone.tokenizer.encode(text + candidate),
      )
      expect(tokens[0]?.logProbability).toBeUndefined()
      const own = tokens.slice(ids.length).map((one) => one.logProbability as number)
      expect(own.reduce((a, b) => a + b)).toBeCloseTo(scored?.scores[0] as number, 8)
      expect(tokens[1]?.likeliest).toHaveLength(2)
    }
    // A suffix stands behind it.
    const [[plain], [behind]] = await Promise.all([
      engine.read({ texts: [text] }),
      engine.read({ texts: [text], prompt: 'behind' }),
    ])
    expect(behind?.length).toBe(ids.length)
    behind?.forEach(({ logProbability }, i) => {
      const alone = plain?.[i]?.logProbability as number
      if (i > 0) expect(logProbability).toBeCloseTo(alone, 8)
    })
  })
})

test('an encoder-decoder says no probabilities of what it is given', async () => {
  const backbone = await loadSmallT5()
  const engine = createEngine({ backbone })
  await expect(engine.read({ texts: ['a'] })).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED',
  })
  await engine.close()
  backbone.dispose()
})
