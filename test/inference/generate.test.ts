// Golden values: test/fixtures/make_generation.py (transformers 5.18, float32).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CausalBackbone, Tokenizer } from '../../lib/backbone/index.js'
import { type GenerateOptions, generate, Inputs } from '../../lib/inference/index.js'
import { placeRules, type Rules } from '../../lib/inference/sample.js'
import { type Placement, Prompt } from '../../lib/prompt/index.js'
import {
  cat,
  memory,
  openSafetensors,
  type Tensor,
  tensor,
} from '../../lib/torch/index.js'
import { distance, fixture, loadCausal } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

type Processor = { endOfTextId?: number } & Partial<GenerateOptions>

interface Described {
  cases: {
    name: string
    inputIds: number[]
    prompt: string | null
    placement: Placement | null
    maxNewTokens: number
    endOfTextId: number
    newIds: number[]
  }[]
  processors: ({ key: string } & Processor)[]
}

const file = openSafetensors(join(fixture('generation'), 'generation.safetensors'))
const golden = JSON.parse(
  readFileSync(join(fixture('generation'), 'generation.json'), 'utf8'),
) as Described

let backbone: CausalBackbone
beforeAll(async () => {
  backbone = await loadCausal(fixture('gpt2-plain'))
})
afterAll(() => backbone.dispose())

/** The backbone with a tokenizer that differs by `change`. */
function withTokenizer(change: Partial<Tokenizer>): CausalBackbone {
  const { tokenizer } = backbone
  const changed: Tokenizer = {
    ...tokenizer,
    vocabSize: tokenizer.vocabSize,
    files: tokenizer.files,
    eosTokenId: tokenizer.eosTokenId as number,
    encode: (text) => tokenizer.encode(text),
    encodeBatch: (texts) => tokenizer.encodeBatch(texts),
    tokenize: (texts) => tokenizer.tokenize(texts),
    decode: (ids, options) => tokenizer.decode(ids, options),
    decodeBatch: (lists, options) => lists.map((ids) => changed.decode(ids, options)),
    ...change,
  }
  const { config, device, dtype, fingerprint, quantization } = backbone
  const { source, tokenEmbedding } = backbone
  return {
    ...{ config, device, dtype, fingerprint, quantization, source, tokenEmbedding },
    decodesInPlace: backbone.decodesInPlace,
    kind: 'causal',
    maxPositions: backbone.maxPositions,
    tokenizer: changed,
    endTokenIds: changed.eosTokenId === undefined ? [] : [changed.eosTokenId],
    embed: (ids) => backbone.embed(ids),
    run: (options) => backbone.run(options),
    runBehind: (options) => backbone.runBehind(options),
    runWithPrefixes: (options) => backbone.runWithPrefixes(options),
    decodeStep: (options) => backbone.decodeStep(options),
    head: (h, rows) => backbone.head(h, rows),
    parameters: () => backbone.parameters(),
    setTrainable: (pattern) => backbone.setTrainable(pattern),
    onDispose: (free) => backbone.onDispose(free),
    dispose: () => undefined,
  }
}

async function collected(options: GenerateOptions) {
  const pieces: string[] = []
  const tokens: number[] = []
  for await (const event of generate(options)) {
    if (event.type === 'done') return { ...event, pieces, streamed: tokens }
    pieces.push(event.text)
    tokens.push(event.token)
  }
  throw new Error('no done event')
}

function promptOf(key: string, placement: Placement): Prompt {
  const X = file.tensor(key).clone()
  return new Prompt(
    {
      method: 'full',
      length: X.shape[0] as number,
      rank: 0,
      hiddenSize: X.shape[1] as number,
      placement,
      activation: 'relu',
      activationThreshold: 0,
      backbone: backbone.fingerprint,
    },
    { X },
  )
}

describe('greedy generation is that of transformers, token for token,', () => {
  for (const cache of [true, false]) {
    test.each(golden.cases)(`$name, cache ${cache}`, async (expected) => {
      const { inputIds, endOfTextId, maxNewTokens } = expected
      const prompt =
        expected.prompt && promptOf(expected.prompt, expected.placement as Placement)
      const found = await collected({
        backbone: withTokenizer({ encode: () => [...inputIds], eosTokenId: endOfTextId }),
        prompt: prompt || null,
        text: 'the ids of the fixture',
        maxNewTokens,
        cache,
      })
      const stops = expected.newIds.at(-1) === endOfTextId
      expect(found.tokens).toEqual(stops ? expected.newIds.slice(0, -1) : expected.newIds)
      expect(found.streamed).toEqual(found.tokens)
      expect(found.finishReason).toBe(stops ? 'stop' : 'length')
      if (prompt) prompt.dispose()
    })
  }
})

describe('logits are processed as by transformers:', () => {
  const logits = file.tensor('processors.logits') as Tensor<'float32'>
  const kind = { vocabSize: logits.shape[1] as number, dtype: 'float32' } as const
  const plain = { temperature: 1, topK: 0, topP: 1, repetitionPenalty: 1 }
  const rulesOf = ({ endOfTextId, minNewTokens, ...given }: Processor) =>
    (file.tensor('processors.previousIds').toArray() as number[][]).map((seen) => ({
      ...{ ...plain, ...given, seen },
      banned: minNewTokens === undefined ? [] : [endOfTextId as number], // of the row so far, one token was new
    }))
  const probabilities = async (rules: Rules[], given = logits, bucketed = false) =>
    (await placeRules(rules, kind, new Inputs('cpu', { bucketed }))(given)).softmax(1)

  test.each(golden.processors)('%o', async ({ key, ...given }) => {
    const found = await probabilities(rulesOf(given))
    expect(distance(found, file.tensor(key))).toBeLessThan(1e-6)
  })

  test('each row by its own rules, whatever those of the others are', async () => {
    const cases = golden.processors.flatMap(({ key: _, ...given }) =>
      rulesOf(given).map((rules, row) => ({ rules, row })),
    )
    const alone: Tensor[] = []
    for (const { rules, row } of cases) {
      alone.push(await probabilities([rules], logits.slice(0, row, row + 1)))
    }
    const places = cases.map(({ row }) => row)
    const all = logits.indexSelect(0, tensor(places, { dtype: 'int64' }))
    for (const bucketed of [false, true]) {
      const rules = cases.map((one) => one.rules)
      const found = await probabilities(rules, all, bucketed)
      expect(found.toArray()).toEqual(cat(alone, 0).toArray())
    }
  })

  test('a banned token gets no probability', async () => {
    const rules = { ...plain, seen: [1], banned: [4] }
    const [row] = (
      await probabilities([rules], logits.slice(0, 0, 1))
    ).toArray() as number[][]
    expect(row?.[4]).toBe(0)
  })
})

const text = 'A dog and a cat'

describe('generation', () => {
  test('gives the same text for the same seed, another for another', async () => {
    const of = async (seed: number, cache: boolean) =>
      (
        await collected({
          backbone,
          text,
          temperature: 1.5,
          seed,
          cache,
          maxNewTokens: 12,
        })
      ).tokens
    expect(await of(1, true)).toEqual(await of(1, true))
    expect(await of(1, true)).not.toEqual(await of(2, true))
  })

  test('with topK 1 is greedy at any temperature', async () => {
    const greedy = await collected({ backbone, text, maxNewTokens: 8 })
    const sampled = await collected({
      backbone,
      text,
      maxNewTokens: 8,
      temperature: 2,
      topK: 1,
    })
    expect(sampled.tokens).toEqual(greedy.tokens)
  })

  test('never repeats a token under a huge penalty', async () => {
    const found = await collected({
      backbone,
      text,
      repetitionPenalty: 1e6,
      maxNewTokens: 20,
    })
    const all = [...backbone.tokenizer.encode(text), ...found.tokens]
    expect(new Set(all).size).toBe(all.length)
  })

  test('gives at least minNewTokens', async () => {
    const [first] = (await collected({ backbone, text, maxNewTokens: 1 })).tokens
    const stopping = withTokenizer({ eosTokenId: first as number })
    const none = await collected({ backbone: stopping, text })
    expect(none).toMatchObject({ finishReason: 'stop', tokens: [], text: '' })
    const found = await collected({ backbone: stopping, text, minNewTokens: 4 })
    expect(found.tokens.length).toBeGreaterThanOrEqual(4)
    expect(found.tokens.slice(0, 4)).not.toContain(first)
  })

  test('ends where the model has no more positions, and says so', async () => {
    for (const cache of [true, false]) {
      const found = await collected({ backbone, text, maxNewTokens: 500, cache })
      const given = backbone.tokenizer.encode(text).length
      expect(found.finishReason).toBe('positions')
      // the last token is predicted at the last position and needs none of its own
      expect(given + found.tokens.length).toBe(64 + 1)
    }
  })

  test('streams text by whole characters, which add up to the whole', async () => {
    // '€' is three bytes, each a token here
    const bytes = backbone.tokenizer.encode('a€b')
    const wanted = [...bytes]
    const scripted = withTokenizer({})
    const found: string[] = []
    let step = 0
    const head = scripted.head
    scripted.head = async (h, rows) => {
      const logits = await head(h, rows)
      const next = wanted[step++] as number
      return logits.mul(0).scatter(1, tensor([[next]], { dtype: 'int64' }), tensor([[9]]))
    }
    for await (const event of generate({
      backbone: scripted,
      text,
      maxNewTokens: wanted.length,
    })) {
      if (event.type === 'token') found.push(event.text)
      else expect(event.text).toBe('a€b')
    }
    expect(found.join('')).toBe('a€b')
    expect(found.some((piece) => piece.includes('\uFFFD'))).toBe(false)
    expect(found.length).toBe(bytes.length)
    expect(bytes.length).toBeGreaterThan(3)
  })

  test('stops between two tokens when it is aborted', async () => {
    const controller = new AbortController()
    const seen: number[] = []
    const run = async () => {
      const { signal } = controller
      for await (const event of generate({ backbone, text, signal })) {
        if (event.type === 'token') seen.push(event.token)
        if (seen.length === 3) controller.abort()
      }
    }
    await expect(run()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    expect(seen.length).toBe(3)
  })

  test('leaves no tensor behind: to its end, left early, aborted', async () => {
    const once = async () => {
      await collected({ backbone, text, maxNewTokens: 5, temperature: 1, topP: 0.9 })
      for await (const _ of generate({ backbone, text })) break
      const signal = AbortSignal.abort()
      await expect(collected({ backbone, text, signal })).rejects.toThrow()
    }
    await once()
    const { tensors: before } = await settledMemory()
    for (let i = 0; i < 4; i++) await once()
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })
})

describe('generate refuses', () => {
  const cases: [string, Partial<GenerateOptions>, RegExp][] = [
    ['a negative temperature', { temperature: -1 }, /temperature/],
    ['a NaN temperature', { temperature: Number.NaN }, /temperature/],
    ['topP 0', { topP: 0 }, /topP/],
    ['topP above 1', { topP: 1.1 }, /topP/],
    ['a negative topK', { topK: -1 }, /topK/],
    ['no new tokens', { maxNewTokens: 0 }, /maxNewTokens/],
    ['a penalty of 0', { repetitionPenalty: 0 }, /repetitionPenalty/],
    ['a negative seed', { seed: -1 }, /seed/],
    [
      'a text that fills the positions',
      { text: 'a dog '.repeat(60) },
      /text of 1\.\.63 tokens/,
    ],
  ]
  test.each(cases)('%s', async (_, change, message) => {
    await expect(collected({ backbone, text, ...change })).rejects.toThrow(RangeError)
    await expect(collected({ backbone, text, ...change })).rejects.toThrow(message)
  })
})
