// Texts that are continued together say what each says alone.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Backbone,
  type CausalBackbone,
  type DecodeStepOptions,
  loadBackbone,
} from '../../lib/backbone/index.js'
import { Decoding } from '../../lib/inference/decoding.js'
import {
  type Continuation,
  ContinuousBatch,
  cacheBytes,
  continuationsOf,
  type GenerateManyOptions,
  type GenerateRow,
  generate,
  PromptCache,
} from '../../lib/inference/index.js'
import { createPrompt, METHOD_NAMES, type Prompt } from '../../lib/prompt/index.js'
import {
  memory,
  noGrad,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'
import { randomNumbers } from '../train/random-cases.js'
import { loadSmall, loadSmallT5 } from '../train/small-runs.js'

interface Said {
  text: string
  tokens: readonly number[]
  finishReason: string
  pieces: string
  logProbabilities: (number | undefined)[]
}

/** What is said of each row. */
async function said(options: GenerateManyOptions): Promise<Said[]> {
  const found = Array.from(options.rows ?? []).map(
    (): Said => ({
      ...{ text: '', tokens: [], finishReason: '', pieces: '' },
      logProbabilities: [],
    }),
  )
  for await (const event of generate(options)) {
    const own = found[event.row] as Said
    if (event.type === 'done') Object.assign(own, event)
    else if (event.type === 'failed') own.finishReason = event.error.code
    else {
      own.pieces += event.text
      own.logProbabilities.push(event.logProbability)
    }
  }
  return found
}

/** Prompts of every method, in every placement that it has, and none. */
function everyPrompt(backbone: Backbone): (Prompt | null)[] {
  const made = METHOD_NAMES.flatMap((method, i) =>
    (method === 'prefix' ? (['prefix'] as const) : (['prefix', 'suffix'] as const)).map(
      (placement) =>
        createPrompt(backbone, {
          ...{ method, placement, length: 2 + (i % 4), init: 'random', seed: i },
          ...(['lopt-1', 'lopt-2', 'dpt'].includes(method) && { rank: 2 }),
          ...(method === 'residual' && { bottleneck: 5 }),
          ...(method === 'dept' && { textTokens: 7, rank: 2 }),
        }),
    ),
  )
  return [...made, null]
}

const WORDS = ['the', 'dog', 'a', 'film', 'was', 'good', 'and', 'long']

/** A row for each prompt, with texts and ends of their own. */
function rowsFor(prompts: readonly (Prompt | null)[], seed: number): GenerateRow[] {
  const next = randomNumbers(seed)
  const integer = (most: number) => Math.floor(next() * most)
  return prompts.map((prompt) => ({
    prompt,
    text: Array.from({ length: 1 + integer(9) }, () => WORDS[integer(8)]).join(' '),
    maxNewTokens: 1 + integer(12),
  }))
}

const MODELS = [
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
] as const

describe.each(MODELS)('texts that are continued together on %s', (_, load) => {
  let backbone: Backbone
  let prompts: (Prompt | null)[]
  beforeAll(async () => {
    backbone = await load('float64')
    prompts = everyPrompt(backbone)
  })
  afterAll(() => {
    for (const prompt of prompts) prompt?.dispose()
    backbone.dispose()
  })

  test('say what each says alone and without a cache, whatever joins and leaves', async () => {
    const rows = rowsFor(prompts, 1)
    const shared = { backbone, logProbabilities: 3 }
    const alone: Said[] = []
    for (const row of rows) alone.push(...(await said({ ...shared, rows: [row] })))
    for (const [i, { text, prompt, maxNewTokens }] of rows.entries()) {
      const given = { backbone, text, prompt: prompt ?? null, cache: false }
      for await (const event of generate({
        ...given,
        maxNewTokens: maxNewTokens ?? 64,
      })) {
        if (event.type === 'done') expect(event.tokens).toEqual(alone[i]?.tokens)
      }
    }
    for (const batchSize of [2, 5, 64]) {
      const together = await said({ ...shared, rows, batchSize })
      for (const [i, one] of together.entries()) {
        const own = alone[i] as Said
        expect(one.tokens).toEqual(own.tokens)
        expect(one.text).toBe(own.text)
        expect(one.pieces).toBe(one.text)
        expect(one.finishReason).toBe(own.finishReason)
        one.logProbabilities.forEach((value, t) => {
          const gap = Math.abs((value as number) - (own.logProbabilities[t] as number))
          expect(gap).toBeLessThan(1e-10)
        })
      }
    }
  })

  test('are drawn the same for the same seed, whatever else is drawn', async () => {
    const rows = rowsFor(prompts, 2).map((row, seed) => ({
      ...{ ...row, seed, temperature: 1.5 },
      ...(seed % 3 === 1 && { topK: 5 }),
      ...(seed % 3 === 2 && { topP: 0.8, repetitionPenalty: 1.3 }),
    }))
    const together = await said({ backbone, rows, batchSize: 7 })
    for (const [i, row] of rows.entries()) {
      const [own] = await said({ backbone, rows: [row] })
      expect(together[i]?.tokens).toEqual(own?.tokens)
    }
  })

  test('leave one out whose logits are not finite, and go on', async () => {
    const rows = rowsFor(prompts, 7)
    const bad = createPrompt(backbone, { method: 'full', length: 3, init: 'random' })
    await noGrad(() => (bad.parameters.X as Tensor).fill_(Number.NaN))
    const alone = await said({ backbone, rows })
    const broken = { text: 'the dog', prompt: bad, maxNewTokens: 9 }
    const mixed = rows.flatMap((row) => [row, broken])
    const together = await said({ backbone, rows: mixed, batchSize: 5 })
    for (const [i, own] of alone.entries()) {
      expect(together[2 * i]?.tokens).toEqual(own.tokens)
      const code = 'ERR_NON_FINITE_LOSS'
      expect(together[2 * i + 1]).toMatchObject({ finishReason: code, tokens: [] })
    }
    await expect(
      (async () => {
        for await (const _ of generate({ backbone, text: 'the', prompt: bad })) break
      })(),
    ).rejects.toMatchObject({ code: 'ERR_NON_FINITE_LOSS' })
    bad.dispose()
  })

  test('are served one thing after the other, whoever asks', async () => {
    const rows = rowsFor(prompts, 9).map((row) => ({ ...row, maxNewTokens: 6 }))
    const alone = await said({ backbone, rows, batchSize: 1 })
    const size = { slots: rows.length, capacity: 60, textCapacity: 60 }
    const batch = new ContinuousBatch(backbone, size)
    const made = continuationsOf(backbone, rows)
    const [first, ...others] = made
    // None waits for the one before.
    const asked = [batch.prefill([first as (typeof made)[number]]), batch.prefill(others)]
    asked.push(batch.step(), batch.step())
    const dropping = batch.drop(first as (typeof made)[number])
    for (let i = 0; i < 6; i += 1) asked.push(batch.step())
    await Promise.all([...asked, dropping])
    for (const [i, own] of alone.entries()) {
      if (i > 0) expect(made[i]?.made).toEqual(own.tokens)
    }
    expect(batch.running).toEqual([])
    batch.dispose()
  })

  test('leave one out whose temperature makes no numbers', async () => {
    const [row] = rowsFor(prompts, 10)
    const rows = [
      { ...row, temperature: 1e-44 },
      { ...row, temperature: 0 },
    ] as GenerateRow[]
    const [cold, own] = await said({ backbone, rows })
    const [alone] = await said({ backbone, rows: rows.slice(1) })
    expect(own?.tokens).toEqual(alone?.tokens)
    expect(['ERR_NON_FINITE_LOSS', own?.finishReason]).toContain(cold?.finishReason)
  })

  test('read a prompt once while it holds the same, and again when it changed', async () => {
    const kept = new PromptCache(backbone)
    const size = { slots: 4, capacity: 60, textCapacity: 60 }
    const batch = new ContinuousBatch(backbone, size, new Decoding(backbone, size, kept))
    const prompt = createPrompt(backbone, { method: 'full', length: 4, init: 'random' })
    const row = { text: 'the dog', prompt, maxNewTokens: 4, logProbabilities: 0 }
    const other = createPrompt(backbone, { method: 'full', length: 4, init: 'random' })
    const said = async (one: GenerateRow) => {
      const values: (number | undefined)[] = []
      let grown = await batch.prefill(continuationsOf(backbone, [one]))
      while (batch.running.length > 0 || grown.length > 0) {
        for (const event of grown.flatMap(({ events }) => events)) {
          if (event.type === 'token') values.push(event.logProbability)
        }
        grown = await batch.step()
      }
      return values
    }
    const first = await said(row)
    const { tensors } = memory()
    expect(await said(row)).toEqual(first)
    expect(await said({ ...row, prompt: other })).toEqual(first) // it holds the same
    expect(memory().tensors).toBe(tensors)
    await noGrad(() => (prompt.parameters.X as Tensor).fill_(0.5))
    expect(await said(row)).not.toEqual(first)
    expect(await said({ ...row, prompt: other })).toEqual(first)
    batch.dispose()
    kept.dispose()
    for (const one of [prompt, other]) one.dispose()
  })

  test('go on as they would have where others are dropped', async () => {
    const rows = rowsFor(prompts, 3).map((row) => ({ ...row, maxNewTokens: 12 }))
    const alone = await said({ backbone, rows, batchSize: 1 })
    const next = randomNumbers(4)
    const found = new Map<number, readonly number[]>()
    const dropped = new Set<number>()
    let waiting = [...rows.keys()]
    // What `generate` does, and a scheduler that drops some texts on the way.
    const size = { slots: 4, capacity: 60, textCapacity: 60, tokensAtOnce: 24 }
    const batch = new ContinuousBatch(backbone, size)
    const running = new Map<unknown, number>()
    while (waiting.length > 0 || batch.running.length > 0) {
      const count = Math.min(batch.free, waiting.length, 1 + Math.floor(2 * next()))
      const isJoining = count > 0 && (next() < 0.6 || batch.running.length === 0)
      const joining = isJoining ? waiting.slice(0, count) : []
      waiting = waiting.slice(joining.length)
      const made = continuationsOf(
        backbone,
        joining.map((i) => rows[i] as GenerateRow),
      )
      made.forEach((one, n) => {
        running.set(one, joining[n] as number)
      })
      const grown = isJoining ? await batch.prefill(made) : await batch.step()
      for (const { continuation, events } of grown) {
        const row = running.get(continuation) as number
        for (const event of events)
          if (event.type === 'done') found.set(row, event.tokens)
      }
      const [first] = batch.running
      if (first !== undefined && next() < 0.1) {
        dropped.add(running.get(first) as number)
        await batch.drop(first)
      }
    }
    batch.dispose()
    expect(dropped.size).toBeGreaterThan(0)
    for (const [i, own] of alone.entries()) {
      if (!dropped.has(i)) expect(found.get(i)).toEqual(own.tokens)
    }
  })

  test('are read in pieces between which others go on', async () => {
    const rows = rowsFor(prompts, 11).map((row) => ({ ...row, maxNewTokens: 9 }))
    const alone = await said({ backbone, rows, batchSize: 1 })
    const size = { slots: 3, capacity: 60, textCapacity: 60 }
    const before = await settledMemory()
    const batch = new ContinuousBatch(backbone, size)
    const made = continuationsOf(backbone, rows)
    const pieces: number[] = []
    for (const [i, one] of made.entries()) {
      const length = (one.options.prompt?.config.length ?? 0) + one.options.given.length
      let count = 0
      for (let isRead = false; !isRead; count += 1) {
        isRead = (await batch.prefillPiece([one], 1 + (i % 3))).length > 0
        await batch.step()
      }
      pieces.push(count / length)
      while (batch.free < 1) await batch.step()
      if (i % 5 !== 0) continue
      // One that is dropped in the middle leaves nothing.
      const [dropped] = continuationsOf(backbone, [
        { text: 'the dog was good', maxNewTokens: 4 },
      ])
      expect(await batch.prefillPiece([dropped as Continuation], 1)).toHaveLength(
        backbone.kind === 'causal' ? 0 : 1,
      )
      await batch.drop(dropped as Continuation)
    }
    while (batch.running.length > 0) await batch.step()
    for (const [i, own] of alone.entries()) expect(made[i]?.made).toEqual(own.tokens)
    if (backbone.kind === 'causal') expect(Math.max(...pieces)).toBeGreaterThan(0.5)
    expect(batch.free).toBe(3)
    batch.dispose()
    expect(memory().tensors).toBeLessThanOrEqual(before.tensors)
  })

  test('are read once where several are of one text, at once or in pieces', async () => {
    const shared = { text: 'the dog was good and long', temperature: 1, maxNewTokens: 8 }
    const rows = prompts.slice(0, 4).flatMap((prompt, i) =>
      [0, 1, 2].map((n) => ({
        ...shared,
        prompt,
        seed: 3 * i + n,
        maxNewTokens: 4 + n,
      })),
    )
    const alone = await said({ backbone, rows, batchSize: 1 })
    const together = await said({ backbone, rows, batchSize: rows.length })
    expect(together.map(({ tokens }) => tokens)).toEqual(
      alone.map(({ tokens }) => tokens),
    )

    const size = { slots: 3, capacity: 60, textCapacity: 60 }
    const before = await settledMemory()
    for (let i = 0; i < rows.length; i += 3) {
      const batch = new ContinuousBatch(backbone, size)
      const made = continuationsOf(backbone, rows.slice(i, i + 3))
      let isRead = (await batch.prefillPiece(made, 3)).length > 0
      expect(batch.free).toBe(0)
      // One leaves, before or after it was read.
      await batch.drop(made[1] as Continuation)
      expect(batch.free).toBe(1)
      while (!isRead) isRead = (await batch.prefillPiece(made, 3)).length > 0
      while (batch.running.length > 0) await batch.step()
      expect(batch.free).toBe(3)
      for (const n of [0, 2]) expect(made[n]?.made).toEqual(alone[i + n]?.tokens)
      batch.dispose()
    }
    expect(memory().tensors).toBeLessThanOrEqual(before.tensors)

    // What runs is one row.
    const shapes: number[] = []
    const look =
      <Options extends { x: Tensor }, Result>(run: (given: Options) => Result) =>
      (given: Options) => {
        shapes.push(given.x.shape[0] as number)
        return run.call(backbone, given)
      }
    const plain =
      backbone.kind === 'causal'
        ? { run: look(backbone.run) }
        : { encode: look(backbone.encode) }
    const looked = Object.assign(backbone, plain)
    await said({ backbone: looked, rows: [1, 2, 3].map((seed) => ({ ...shared, seed })) })
    expect(shapes).toEqual([1])
    for (const name of Object.keys(plain)) Reflect.deleteProperty(backbone, name)
  })

  test('take no memory for tokens that may never come', async () => {
    const batch = new ContinuousBatch(backbone, {
      ...{ slots: 1000, capacity: 2 ** 20, textCapacity: 2 ** 20 },
    })
    await batch.prefill(continuationsOf(backbone, rowsFor(prompts.slice(0, 2), 12)))
    await batch.step()
    expect(batch.bytes).toBeLessThan(2 ** 20)
    batch.dispose()
  })

  test('keep tensors and their memory flat over 5,000 steps', async () => {
    const rows = rowsFor(prompts, 6).map((row) => ({ ...row, maxNewTokens: 12 }))
    const size = { slots: 3, capacity: 60, textCapacity: 60 }
    const before = await settledMemory()
    const batch = new ContinuousBatch(backbone, size)
    const { layers, heads, hiddenSize } = backbone.config
    const slots = { slots: 3, capacity: 60 }
    const expected =
      backbone.kind === 'causal'
        ? cacheBytes(
            { layers, heads, headSize: hiddenSize / heads, ...slots },
            backbone.dtype,
          )
        : 2 *
          cacheBytes(
            {
              layers: backbone.config.decoderLayers,
              ...{ heads, headSize: backbone.config.headSize, ...slots },
            },
            backbone.dtype,
          )
    expect(batch.bytes).toBe(0)
    let most = 0
    let next = 0
    let held = Number.POSITIVE_INFINITY
    for (let step = 0; step < 5000; step += 1) {
      if (batch.free > 0 && step % 3 === 0) {
        const row = rows[next % rows.length] as GenerateRow
        next += 1
        await batch.prefill(continuationsOf(backbone, [row]))
      } else if (step % 7 === 0 && batch.running[0]) await batch.drop(batch.running[0])
      else await batch.step()
      if (step === 500) held = memory().tensors
      if (step > 500) most = Math.max(most, memory().tensors)
    }
    expect(most).toBeLessThanOrEqual(held)
    expect(batch.bytes).toBeGreaterThan(0)
    expect(batch.bytes).toBeLessThanOrEqual(expected)
    expect(memory().bytes - before.bytes).toBe(batch.bytes)
    batch.dispose()
    expect(memory().tensors).toBeLessThanOrEqual(before.tensors)
  }, 300_000)
})

describe('what does not fit is refused', () => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await loadSmall()
  })
  afterAll(() => backbone.dispose())

  const text = { prompt: null, made: [] }

  test('more texts than there are slots, and a text that is longer than one', async () => {
    const decoding = new Decoding(backbone, {
      ...{ slots: 2, capacity: 6, textCapacity: 6 },
    })
    await noGrad(() =>
      tidy(async () => {
        await decoding.prefill([{ ...text, ids: [3, 4, 5, 6, 7] }])
        await expect(
          decoding.prefill([
            { ...text, ids: [3] },
            { ...text, ids: [4] },
          ]),
        ).rejects.toThrow(/1 texts at most, for which there are slots, but received 2/)
        await expect(
          decoding.prefill([{ ...text, ids: [3, 4, 5, 6, 7, 8, 9] }]),
        ).rejects.toThrow(/6 positions at most, which a slot has, but they take 7/)
        expect(decoding.rows).toBe(1)
        await decoding.step([3])
        await expect(decoding.step([3])).rejects.toThrow(/row 0 .* 6 keys and values/)
      }),
    )
    decoding.dispose()
  })

  test('a text that would not fit to its end, before it takes a slot', async () => {
    const size = { slots: 2, capacity: 12, textCapacity: 1 }
    const batch = new ContinuousBatch(backbone, size)
    const of = (maxNewTokens: number) =>
      continuationsOf(backbone, [{ text: 'a', maxNewTokens }])
    await expect(batch.prefill([...of(5), ...of(40)])).rejects.toThrow(
      /12 positions at most/,
    )
    expect([batch.free, batch.running]).toEqual([2, []])
    expect(await batch.prefill([])).toEqual([])
    expect(await batch.step()).toEqual([])
    await batch.prefill(of(5))
    expect(batch.free).toBe(1)
    batch.dispose()
  })

  test('rows that are none, and options of a row by its number', async () => {
    const refused = (options: Partial<GenerateManyOptions>) =>
      expect(said({ backbone, rows: [], ...options })).rejects
    await refused({ rows: 'a text' as never }).toThrow(/rows to be a list/)
    await refused({ rows: [{ text: 'a' }, null as never] }).toThrow(/rows\[1\]/)
    await refused({ rows: [{ text: 'a' }, { text: 'a', topP: 2 }] }).toThrow(
      /rows\[1\]: .*topP/,
    )
    await refused({ rows: [{ text: 'a', numBeams: 2 } as never] }).toThrow(/numBeams/)
    await refused({ rows: [{ text: 'a', stop: [''] }] }).toThrow(/stop/)
    await refused({ batchSize: 0 }).toThrow(/batchSize/)
    expect(await said({ backbone, rows: [] })).toEqual([])
  })
})

describe.each([
  ['gpt2-plain', 'torchscript/gpt2-plain.pt'],
  ['t5-gated', 'torchscript/t5-gated.pt'],
])('a file of %s that was made before there was a decode step', (folder, file) => {
  test('continues texts together as the folder does', async () => {
    const [whole, made] = await Promise.all(
      [folder, file].map((name) => loadBackbone(fixture(name), { dtype: 'float64' })),
    )
    const of = async (backbone: Backbone) => {
      const prompts = (['full', 'prefix'] as const).map((method, i) =>
        createPrompt(backbone, { method, length: 2 + i, init: 'random', seed: 5 }),
      )
      const rows = rowsFor([...prompts, null, ...prompts], 8).map((row) => ({
        ...{ ...row, maxNewTokens: 3 + (row.maxNewTokens ?? 0) },
      }))
      const found = await said({ backbone, rows, batchSize: 3, logProbabilities: 0 })
      for (const prompt of prompts) prompt.dispose()
      return found
    }
    const [expected, found] = [await of(whole as Backbone), await of(made as Backbone)]
    for (const [i, one] of found.entries()) {
      expect(one.tokens).toEqual(expected[i]?.tokens)
      one.logProbabilities.forEach((value, t) => {
        const other = expected[i]?.logProbabilities[t] as number
        expect(Math.abs((value as number) - other)).toBeLessThan(1e-10)
      })
    }
    for (const backbone of [whole, made]) backbone?.dispose()
  })
})

describe('a decode step refuses', () => {
  let backbone: CausalBackbone
  let cache: Tensor[]
  beforeAll(async () => {
    backbone = (await loadBackbone(fixture('gpt2-plain'))) as CausalBackbone
    const { layers, heads, hiddenSize } = backbone.config
    cache = Array.from({ length: 2 * layers }, () =>
      zeros([2, heads, 8, hiddenSize / heads]),
    )
  })
  afterAll(() => backbone.dispose())

  const lengths = (...values: number[]) => tensor(values, { dtype: 'int64' })

  const cases: [string, () => Partial<DecodeStepOptions>, RegExp][] = [
    ['more rows than slots', () => ({ x: row(3), lengths: lengths(0, 0, 0) }), /3 slots/],
    [
      'a row that has as many as are read',
      () => ({ lengths: lengths(0, 4) }),
      /lengths in 0\.\.3 .* 4/,
    ],
    ['a length below 0', () => ({ lengths: lengths(0, -1) }), /lengths in 0\.\.3 .* -1/],
    ['reading more than a slot has', () => ({ read: 9 }), /read in 1\.\.8 .* 9/],
    ['a cache of fewer layers', () => ({ cache: cache.slice(2) }), /cache to hold/],
    ['lengths of other rows', () => ({ lengths: lengths(0) }), /lengths of shape \[2\]/],
  ]
  const row = (B: number) => zeros([B, 1, backbone.config.hiddenSize])
  test.each(cases)('%s', async (_, change, message) => {
    const given = { x: row(2), cache, lengths: lengths(0, 1), read: 4 }
    await expect(backbone.decodeStep({ ...given, ...change() })).rejects.toThrow(message)
  })
})
