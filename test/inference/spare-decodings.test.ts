// What a call captured is replayed by the next one, and nothing else of it is left: each says to the bit what it says alone.
// On a CPU, where a captured step is run again from inputs that stay.

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Backbone, createBackbone } from '../../lib/backbone/index.js'
import { LoptError } from '../../lib/errors.js'
import type { Decoding } from '../../lib/inference/decoding.js'
import {
  type GenerateManyOptions,
  type GenerateOptions,
  generate,
  StepGraphs,
} from '../../lib/inference/index.js'
import { SpareDecodings } from '../../lib/inference/spare-decodings.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import {
  allowTf32,
  memory,
  noGrad,
  releaseMemory,
  type Tensor,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import { loadSmall, loadSmallT5 } from '../train/small-runs.js'

afterEach(() => vi.restoreAllMocks())

type Options = Omit<GenerateOptions, 'backbone'> | Omit<GenerateManyOptions, 'backbone'>

/** Events of a call, and the code of what it threw; `most` events are waited for. */
async function said(
  backbone: Backbone,
  options: Options,
  most = Number.POSITIVE_INFINITY,
): Promise<unknown[]> {
  const events: unknown[] = []
  try {
    const all = { backbone, graphs: true, ...options } as GenerateOptions
    for await (const event of generate(all)) {
      events.push({ ...event, error: 'error' in event && codeOf(event.error) })
      if (events.length === most) break
    }
  } catch (error) {
    events.push(codeOf(error))
  }
  return events
}

const codeOf = (error: unknown) => (error instanceof LoptError ? error.code : `${error}`)

/** Aborted while a step runs, the n-th. */
function abortedAt(backbone: Backbone, n: number, options: Options): Options {
  const controller = new AbortController()
  atStep(backbone, n, () => controller.abort())
  return { ...options, signal: controller.signal }
}

/** The n-th step fails once it has written its keys and values. */
function failedAt(backbone: Backbone, n: number, options: Options): Options {
  atStep(backbone, n, () => {
    throw new LoptError('ERR_TORCH', 'it broke')
  })
  return options
}

function atStep(backbone: Backbone, n: number, what: () => void) {
  const step = backbone.decodeStep.bind(backbone) as (given: never) => Promise<never>
  let count = 0
  backbone.decodeStep = async (given: never) => {
    const hidden = await step(given)
    count += 1
    if (count !== n) return hidden
    backbone.decodeStep = step
    what()
    return hidden
  }
}

/** What is captured from now on, and how often steps run op by op. */
function watchSteps() {
  const seen = { captured: 0, opByOp: 0 }
  const run = StepGraphs.prototype.run
  vi.spyOn(StepGraphs.prototype, 'run').mockImplementation(async function (
    this: StepGraphs,
    ...given
  ) {
    const before = this.count
    let isRun = false
    const [inputs, work, kind] = given
    const watched = async () => {
      isRun = true
      return await work()
    }
    const found = await run.call(this, inputs, watched, kind)
    if (this.count > before) seen.captured += 1
    else if (isRun && before === 0) seen.opByOp += 1
    return found
  })
  return seen
}

/** The decodings that calls take from now on. */
function watchDecodings(): Decoding[] {
  const taken: Decoding[] = []
  const take = SpareDecodings.prototype.take
  vi.spyOn(SpareDecodings.prototype, 'take').mockImplementation(async function (
    this: SpareDecodings,
    size,
  ) {
    const decoding = await take.call(this, size)
    taken.push(decoding)
    return decoding
  })
  return taken
}

const models = [
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
] as const

describe.each(models)('calls one after the other on %s', (_, load) => {
  let backbone: Backbone
  let exact: Backbone
  beforeAll(async () => {
    backbone = await load()
    exact = await load('float64')
  })
  afterAll(() => {
    for (const one of [backbone, exact]) one.dispose()
  })

  const promptsFor = (on: Backbone) => [
    createPrompt(on, { method: 'full', length: 3, init: 'random', seed: 1 }),
    createPrompt(on, { method: 'prefix', length: 4, init: 'random', seed: 2 }),
    createPrompt(on, { method: 'full', length: 2, placement: 'suffix', seed: 3 }),
    createPrompt(on, { method: 'full', length: 2, init: 'random', seed: 4 }),
  ]

  const long = { maxNewTokens: 40, minNewTokens: 40 }
  const short = { maxNewTokens: 6, minNewTokens: 6 }

  /** What is said by calls that have little in common, of which some end badly. */
  async function saidByAll(on: Backbone, before: () => void): Promise<unknown[][]> {
    const prompts = promptsFor(on)
    const [vectors, prefix, suffix, wild] = prompts as [Prompt, Prompt, Prompt, Prompt]
    await noGrad(() => (wild.parameters.X as Tensor).mul_(Number.POSITIVE_INFINITY))
    const found: unknown[][] = []
    const say = async (options: Options, most?: number) => {
      before()
      found.push(await said(on, options, most))
    }
    const a = { text: 'the dog was good and long', prompt: vectors }
    const b = { text: 'a film', prompt: prefix }
    const drawn = { temperature: 0.9, topK: 12, topP: 0.9, seed: 5 }
    await say({ ...a, ...long })
    await say({ ...b, ...short })
    await say({ ...b, ...short, prompt: suffix, logProbabilities: 2 })
    await say({ ...a, ...short, ...drawn, logProbabilities: 1 })
    await say({ ...a, ...short, ...drawn, seed: 6 })
    await say({ rows: [a, { ...b, ...drawn }, { text: 'no' }], ...short, batchSize: 3 })
    await say({ ...b, ...short, logProbabilities: 0 })
    // Left in the middle, aborted, failed: of one text and of several.
    await say({ ...a, ...long }, 9)
    await say({ ...b, ...short })
    await say({ rows: [a, b, a], ...long, batchSize: 2 }, 20)
    await say({ ...b, ...short, text: 'no' })
    await say(abortedAt(on, 5, { ...a, ...long }))
    await say({ ...b, ...short })
    await say(failedAt(on, 5, { ...a, ...long }))
    await say({ ...a, ...short, ...drawn })
    // What is not finite is forgotten too.
    await say({ text: 'a film', prompt: wild, ...short })
    await say({ rows: [{ ...b, prompt: wild }, a, b], ...short })
    await say({ ...b, ...short, text: 'the film was good' })
    await say({ ...a, ...short, numBeams: 3, repetitionPenalty: 1.2 })
    await say({ ...b, ...short, numBeams: 2 })
    await say({ ...a, ...short, prompt: wild, numBeams: 2 })
    await say({ text: 'no', ...short })
    await say({ ...a, ...short })
    await say({ ...a, ...long, stop: ['e'], minNewTokens: 0, repetitionPenalty: 1.3 })
    await say({ ...a, ...long })
    await noGrad(() => (vectors.parameters.X as Tensor).mul_(1.5))
    await say({ ...a, ...short })
    await say({ ...a, ...short, prompt: null })
    for (const prompt of prompts) prompt.dispose()
    return found
  }

  test('say to the bit what each says alone', async () => {
    const alone = await saidByAll(backbone, releaseMemory)
    expect(alone.flat()).toEqual(expect.arrayContaining(['ERR_ABORTED', 'ERR_TORCH']))
    expect(alone.flat()).toContain('ERR_NON_FINITE_LOSS')
    releaseMemory()
    const taken = watchDecodings()
    const together = await saidByAll(backbone, () => {})
    for (const [i, events] of together.entries()) expect(events).toEqual(alone[i])
    // One for all, but for more rows than it had room for, and what failed in the middle of a step.
    expect(taken.length).toBeGreaterThan(20)
    expect(new Set(taken).size).toBeLessThanOrEqual(4)
    releaseMemory()
    const found = (await saidByAll(exact, () => {})).flat()
    releaseMemory()
    const expected = (await saidByAll(exact, releaseMemory)).flat()
    expect(found.map(rounded)).toEqual(expected.map(rounded))
  })

  test('capture what the first one has not, and nothing else', async () => {
    releaseMemory()
    const prompts = promptsFor(backbone)
    const [first, second] = [
      { text: 'the dog', prompt: prompts[0] },
      { text: 'a film was' },
    ]
    const seen = watchSteps()
    await said(backbone, { ...first, ...long })
    expect(seen).toEqual({ captured: 1, opByOp: 1 })
    await said(backbone, { ...second, ...long, prompt: prompts[1] })
    await said(backbone, { ...first, ...short })
    await said(backbone, { rows: [second], ...short })
    expect(seen).toEqual({ captured: 1, opByOp: 1 })
    // of other rules, of more rows, and of beams, each once
    for (let i = 0; i < 2; i += 1) {
      await said(backbone, { ...first, ...short, temperature: 1, seed: i })
    }
    expect(seen.captured).toBe(2)
    for (let i = 0; i < 3; i += 1) {
      await said(backbone, { rows: [first, second, first], ...short })
    }
    const { captured } = seen
    await said(backbone, { ...second, ...short })
    await said(backbone, { rows: [second, first, second], ...short })
    for (let i = 0; i < 3; i += 1)
      await said(backbone, { ...first, ...short, numBeams: 3 })
    const withBeams = seen.captured
    await said(backbone, { ...second, ...short, numBeams: 4 })
    await said(backbone, { ...second, ...short })
    expect(seen.captured).toBe(withBeams)
    expect(withBeams - captured).toBeLessThanOrEqual(2)
    for (const prompt of prompts) prompt.dispose()
  })

  test('that overlap have their own, and one is kept', async () => {
    releaseMemory()
    const options = [
      { text: 'the dog was', ...long, temperature: 1, seed: 3 },
      { text: 'a film', ...long },
    ]
    const alone = [await said(backbone, options[0] as Options)]
    releaseMemory()
    alone.push(await said(backbone, options[1] as Options))
    const taken = watchDecodings()
    const both = () => Promise.all(options.map((one) => said(backbone, one)))
    expect(await both()).toEqual(alone)
    expect(new Set(taken).size).toBe(2)
    const before = await settledMemory()
    for (let i = 0; i < 3; i += 1) expect(await both()).toEqual(alone)
    expect(await settledMemory()).toEqual(before)
  })

  test('go on with what one had that was left or aborted, and not that failed', async () => {
    releaseMemory()
    const options = { text: 'the dog', ...short }
    const taken = watchDecodings()
    await said(backbone, options)
    await said(backbone, options, 2)
    await said(backbone, abortedAt(backbone, 3, options))
    await said(backbone, options)
    expect(new Set(taken).size).toBe(1)
    expect(await said(backbone, failedAt(backbone, 3, options))).toContain('ERR_TORCH')
    await said(backbone, options)
    await said(backbone, options)
    expect(new Set(taken).size).toBe(2)
  })

  test('leave nothing more than the first one did', async () => {
    const prompts = promptsFor(backbone)
    const say = async (i: number) => {
      const own = { prompt: prompts[i % 3], temperature: i % 2, seed: i }
      await said(backbone, { text: 'the dog', ...short, ...own }, i % 5 === 4 ? 3 : 99)
    }
    for (let i = 0; i < 6; i += 1) await say(i)
    const before = await settledMemory()
    for (let i = 0; i < 20; i += 1) await say(i)
    expect(await settledMemory()).toEqual(before)
    for (const prompt of prompts) prompt.dispose()
  })

  test('give it all back when memory is asked for, or the backbone goes', async () => {
    releaseMemory()
    const before = await settledMemory()
    const other = await load()
    await said(other, { text: 'the dog', ...short, graphs: false }) // the tokenizer is there, a prompt kept
    const opened = await settledMemory()
    await said(other, { text: 'the dog', ...short })
    expect(memory().bytes).toBeGreaterThan(opened.bytes)
    releaseMemory()
    expect(await settledMemory()).toEqual(opened)
    // One that is out when the backbone goes is not kept either.
    const left = generate({ backbone: other, text: 'the dog', ...short, graphs: true })
    await left.next()
    await said(other, { text: 'the dog', ...short })
    other.dispose()
    await left.return(undefined as never)
    expect(await settledMemory()).toEqual(before)
  })

  test('keep nothing where nothing is captured', async () => {
    releaseMemory()
    await said(backbone, { text: 'the dog', ...short, graphs: false })
    const before = await settledMemory()
    await said(backbone, { text: 'the dog', ...long, graphs: false })
    await said(backbone, { text: 'the dog', ...short, graphs: undefined })
    expect(await settledMemory()).toEqual(before)
  })
})

test('what was captured with exact factors is not replayed where they may be rounded', async () => {
  const backbone = await loadSmall()
  const options = { text: 'the dog', maxNewTokens: 6, minNewTokens: 6 }
  await said(backbone, options)
  const seen = watchSteps()
  await said(backbone, options)
  expect(seen.captured).toBe(0)
  allowTf32(true)
  await said(backbone, options)
  allowTf32(false)
  expect(seen.captured).toBe(1)
  await said(backbone, options)
  expect(seen.captured).toBe(1)
  backbone.dispose()
})

describe('where texts are longer than those before', () => {
  let backbone: Backbone
  beforeAll(async () => {
    const small = await loadSmall()
    const { tokenizer } = small
    const made = { hiddenSize: 32, heads: 4, layers: 2, positions: 1024 }
    backbone = await createBackbone(made, { seed: 0, tokenizer })
    small.dispose()
  })
  afterAll(() => backbone.dispose())

  const tokens = (maxNewTokens: number) => ({ maxNewTokens, minNewTokens: maxNewTokens })
  const a = { text: 'the dog', temperature: 1, seed: 1 }

  test('the memory is another, and each count of keys is captured once in it', async () => {
    const seen = watchSteps()
    const taken = watchDecodings()
    await said(backbone, { ...a, ...tokens(130) })
    const first = seen.captured
    expect(first).toBe(3) // of 64, 128 and 192 keys
    await said(backbone, { ...a, ...tokens(180) })
    expect(seen.captured).toBe(first)
    expect(new Set(taken).size).toBe(1)
    await said(backbone, { ...a, ...tokens(300) })
    expect(new Set(taken).size).toBe(2)
    const second = seen.captured
    await said(backbone, { ...a, ...tokens(400), seed: 2 })
    await said(backbone, { ...a, ...tokens(300) })
    await said(backbone, { ...a, ...tokens(20) })
    expect(new Set(taken).size).toBe(2)
    expect(seen.captured - second).toBeLessThanOrEqual(2) // of 384 and 448 keys
  })

  test('rows and lengths that came apart find room together', async () => {
    releaseMemory()
    const rows = Array.from({ length: 6 }, (_, seed) => ({ ...a, seed }))
    const calls: Options[] = [
      { ...a, ...tokens(150) },
      { rows, ...tokens(20) },
      { rows: rows.slice(0, 2), ...tokens(150) },
      { ...a, ...tokens(40) },
    ]
    const alone: unknown[][] = []
    for (const options of calls) {
      releaseMemory()
      alone.push(await said(backbone, options))
    }
    releaseMemory()
    const taken = watchDecodings()
    for (const [i, options] of calls.entries()) {
      expect(await said(backbone, options)).toEqual(alone[i])
    }
    expect(taken.map(({ size: { slots, capacity } }) => [slots, capacity])).toEqual([
      [1, 256],
      [8, 256],
      [8, 256],
      [8, 256],
    ])
    expect(new Set(taken).size).toBe(2)
  })
})

/** Figures as far as float64 products are the same wherever their factors lie. */
function rounded(value: unknown): unknown {
  if (typeof value === 'number') return Number(value.toFixed(9))
  if (Array.isArray(value)) return value.map(rounded)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, rounded(one)]),
  )
}
