// Tokens whose steps are captured. On a CPU a captured step is run again from inputs that stay: it must give the bits of the
// step that is not, whatever joins and leaves, and keep nothing.

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Backbone, createBackbone, loadBackbone } from '../../lib/backbone/index.js'
import { createEngine } from '../../lib/engine/index.js'
import { Decoding } from '../../lib/inference/decoding.js'
import {
  ContinuousBatch,
  continuationsOf,
  type GenerateManyOptions,
  type GenerateOptions,
  type GenerateRow,
  generate,
  StepGraphs,
} from '../../lib/inference/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { CapturedGraph } from '../../lib/torch/graph.js'
import { releaseMemory } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'
import { captureNothing } from '../train/captured-runs.js'
import { randomNumbers } from '../train/random-cases.js'
import { loadSmall, loadSmallT5 } from '../train/small-runs.js'

afterEach(() => vi.restoreAllMocks())

const WORDS = ['the', 'dog', 'a', 'film', 'was', 'good', 'and', 'long']

/** Rows of any lengths and rules. */
function rowsFor(prompts: readonly (Prompt | null)[], seed: number): GenerateRow[] {
  const next = randomNumbers(seed)
  const integer = (most: number) => Math.floor(next() * most)
  const oneOf = <T>(values: readonly T[]) => values[integer(values.length)] as T
  return Array.from({ length: 24 }, (_, i) => ({
    prompt: prompts[i % prompts.length] ?? null,
    text: Array.from({ length: 1 + integer(9) }, () => oneOf(WORDS)).join(' '),
    maxNewTokens: 4 + integer(16),
    minNewTokens: integer(5),
    seed: i,
    temperature: oneOf([0, 0, 0.7, 1.5]),
    topK: oneOf([0, 3, 20]),
    topP: oneOf([1, 0.8]),
    repetitionPenalty: oneOf([1, 1.3]),
    ...(integer(2) === 0 && { logProbabilities: integer(4) }),
  }))
}

type Told = { row: number }[]

async function told(options: GenerateOptions | GenerateManyOptions): Promise<Told> {
  const events: Told = []
  for await (const event of generate(options as never)) events.push(event as never)
  return events
}

const tokensOf = (events: Told) =>
  (events as { row?: number; type?: string; tokens?: number[] }[])
    .filter(({ type }) => type === 'done')
    .map(({ row, tokens }) => [row, tokens])

describe.each([
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
] as const)('a captured step of decoding on %s', (_, load) => {
  let backbone: Backbone
  let exact: Backbone
  let prompts: (Prompt | null)[]
  beforeAll(async () => {
    // To the bit in float32, whose products are oneDNN's; MKL's in float64 may change in their last bit with where their
    // factors lie in memory.
    backbone = await load()
    exact = await load('float64')
    prompts = [
      createPrompt(backbone, { method: 'full', length: 3, init: 'random', seed: 1 }),
      createPrompt(backbone, { method: 'prefix', length: 4, init: 'random', seed: 2 }),
      null,
    ]
  })
  afterAll(() => {
    for (const one of [...prompts, backbone, exact]) one?.dispose()
  })

  test('gives the same bits, whatever joins and leaves', async () => {
    const rows = rowsFor(prompts, 1)
    for (const batchSize of [1, 3, 5, 24]) {
      const found: Told[] = []
      for (const isCaptured of [false, true]) {
        if (!isCaptured) captureNothing()
        const replay = vi.spyOn(CapturedGraph.prototype, 'replay')
        found.push(await told({ backbone, rows, batchSize, graphs: true }))
        expect(replay.mock.calls.length > 4).toBe(isCaptured)
        vi.restoreAllMocks()
      }
      expect(found[1]).toEqual(found[0])
    }
  })

  test('gives what a step without buckets gives, but for rounding', async () => {
    const rows = rowsFor([null], 2).map((row) => ({ ...row, logProbabilities: 2 }))
    const numbers = (events: Told) =>
      (events as { logProbability?: number }[]).flatMap(
        ({ logProbability }) => logProbability ?? [],
      )
    const found = []
    for (const graphs of [false, true]) {
      found.push(await told({ backbone: exact, rows, batchSize: 5, graphs }))
    }
    const [without, within] = found as [Told, Told]
    expect(tokensOf(within)).toEqual(tokensOf(without))
    expect(numbers(within).length).toBeGreaterThan(100)
    for (const [i, value] of numbers(within).entries()) {
      expect(Math.abs(value - (numbers(without)[i] as number))).toBeLessThan(1e-10)
    }
  })

  test('is one of beams too', async () => {
    const options = { backbone, text: 'the dog was', numBeams: 3, maxNewTokens: 12 }
    const replay = vi.spyOn(CapturedGraph.prototype, 'replay')
    const found = await told({ ...options, repetitionPenalty: 1.2, graphs: true })
    expect(replay.mock.calls.length).toBeGreaterThan(5)
    const without = await told({ ...options, repetitionPenalty: 1.2, graphs: false })
    expect(tokensOf(found)).toEqual(tokensOf(without))
  })

  test('goes on where texts are dropped, read in pieces, and join', async () => {
    const rows = rowsFor(prompts, 3)
    const run = async () => {
      const next = randomNumbers(4)
      const size = { slots: 6, capacity: 60, textCapacity: 60, graphs: true }
      const batch = new ContinuousBatch(backbone, size)
      const waiting = continuationsOf(backbone, rows)
      const said: unknown[] = []
      while (waiting.length > 0 || batch.running.length > 0) {
        const what = next()
        const isJoining = waiting.length > 0 && batch.free > 0
        const running = batch.running[Math.floor(next() * batch.running.length)]
        if (isJoining && what < 0.3) {
          const count = Math.min(batch.free, 1 + Math.floor(next() * 2))
          said.push(await batch.prefill(waiting.splice(0, count)))
        } else if (isJoining && what < 0.5) {
          const piece = waiting.splice(0, 1)
          let grown: readonly unknown[] = []
          while (grown.length === 0) grown = await batch.prefillPiece(piece, 2)
          said.push(grown)
        } else if (running !== undefined && what < 0.55) await batch.drop(running)
        else said.push(await batch.step())
      }
      await batch.dispose()
      return JSON.stringify(
        said.map((grown) => (grown as { events: unknown }[]).map(({ events }) => events)),
      )
    }
    captureNothing()
    const without = await run()
    vi.restoreAllMocks()
    expect(await run()).toBe(without)
  })

  test('serves an engine', async () => {
    const rows = rowsFor([null], 5).map(({ prompt: _, ...row }) => ({
      ...row,
      text: row.text as string,
    }))
    const found: unknown[] = []
    for (const graphs of [false, true]) {
      const engine = createEngine({ backbone: exact, graphs, limits: { maxRunning: 7 } })
      const events = []
      const replay = vi.spyOn(CapturedGraph.prototype, 'replay')
      for await (const event of await engine.generate({ rows })) events.push(event)
      expect(replay.mock.calls.length > 0).toBe(graphs)
      found.push(tokensOf(events as never).sort((a, b) => Number(a[0]) - Number(b[0])))
      await engine.close()
      vi.restoreAllMocks()
    }
    expect(found[1]).toEqual(found[0])
  })

  test('keeps neither tensors nor memory', async () => {
    const rows = rowsFor(prompts, 6)
    releaseMemory()
    const before = await settledMemory()
    await told({ backbone, rows, batchSize: 5, graphs: true })
    for await (const _ of generate({ backbone, rows, batchSize: 5, graphs: true })) break
    releaseMemory()
    expect((await settledMemory()).tensors).toBeLessThanOrEqual(before.tensors)
  })
})

describe('graphs of decoding', () => {
  const texts = (backbone: Backbone, count: number, maxNewTokens: number) =>
    continuationsOf(
      backbone,
      Array.from({ length: count }, (_, seed) => ({
        ...{ text: 'the dog', seed, temperature: 1 },
        ...{ maxNewTokens, minNewTokens: maxNewTokens },
      })),
    )

  test.each(['gpt2', 't5'] as const)(
    'go with the memory that they read, which grows with the text: %s',
    async (model) => {
      const small = model === 'gpt2' ? await loadSmall() : await loadSmallT5()
      const { tokenizer } = small
      const made = { hiddenSize: 32, heads: 4, layers: 2, positions: 400 }
      const backbone =
        model === 't5' ? small : await createBackbone(made, { seed: 0, tokenizer })
      const size = { slots: 4, capacity: 400, textCapacity: 400, graphs: true }
      const found: (readonly number[])[][] = []
      for (const isCaptured of [false, true]) {
        if (!isCaptured) captureNothing()
        const dropped = vi.spyOn(StepGraphs.prototype, 'dispose')
        const batch = new ContinuousBatch(backbone, size)
        const long = texts(backbone, 3, 260)
        await batch.prefill(long)
        while (batch.running.length > 0) await batch.step()
        found.push(long.map((one) => one.made))
        if (isCaptured) expect(dropped.mock.calls.length).toBeGreaterThan(2)
        await batch.dispose()
        vi.restoreAllMocks()
      }
      expect(found[1]).toEqual(found[0])
      for (const one of new Set([backbone, small])) one.dispose()
    },
  )

  test('are few: one for a count of rows and of keys, from the second step of its kind on', async () => {
    const backbone = await loadSmallT5()
    const counts: number[] = []
    const run = StepGraphs.prototype.run
    vi.spyOn(StepGraphs.prototype, 'run').mockImplementation(async function (
      this: StepGraphs,
      ...given
    ) {
      const found = await run.apply(this, given)
      counts.push(this.count)
      return found
    })
    const size = { slots: 8, capacity: 256, textCapacity: 64, graphs: true }
    const batch = new ContinuousBatch(backbone, size)
    await batch.prefill(texts(backbone, 6, 120))
    for (let i = 0; i < 119; i += 1) await batch.step()
    expect(batch.running).toEqual([])
    expect(counts.slice(0, 3)).toEqual([0, 1, 1])
    expect(Math.max(...counts)).toBeLessThanOrEqual(2)
    await batch.dispose()
    backbone.dispose()
  })

  test('are not made of a file whose decode step reads lengths back', async () => {
    const file = 'torchscript/gpt2-plain.pt'
    const backbone = await loadBackbone(fixture(file))
    expect(backbone.decodesInPlace).toBe(false)
    const size = { slots: 1, capacity: 20, textCapacity: 1, graphs: true }
    expect(new Decoding(backbone, size).isCaptured).toBe(false)
    backbone.dispose()
  })
})
