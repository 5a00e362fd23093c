import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import type { BatchOptions } from '../../lib/inference/batch.js'
import {
  createPromptSet,
  Inputs,
  labelLogProbabilities,
  makeCausalBatch,
  makeEncoderDecoderBatch,
  type Row,
} from '../../lib/inference/index.js'
import type { Placement } from '../../lib/prompt/index.js'
import { noGrad, type Tensor, tidy } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { goldenPrompt } from './golden-prompts.js'

const one = (P: number, placement: Placement, shared = false): BatchOptions => ({
  places: [{ P, S: 0, placement, shared }],
  inputs: new Inputs('cpu'),
})
const rows: Row[] = [
  { text: [10, 11, 12], labels: [[20, 21]], prompt: 0 },
  { text: [13], labels: [[22]], prompt: 0 },
]

function orderOf(placement: Placement): [long: number[], short: number[]] {
  const order = makeCausalBatch(rows, one(2, placement)).groups[0]?.order as Tensor
  return order.toArray() as [number[], number[]]
}

describe('a batch', () => {
  test('is right-padded text and label, without the last label token', () => {
    const batch = makeCausalBatch(rows, one(2, 'prefix'))
    expect(batch.ids?.toArray()).toEqual([
      [10, 11, 12, 20],
      [13, 0, 0, 0],
    ])
    expect(batch.positions.toArray()).toEqual([
      [0, 1, 2, 3, 4, 5],
      [0, 1, 2, 3, 4, 5],
    ])
    expect(batch.groups[0]?.order).toBeNull() // [prompt | ids] is the order already
  })

  test('asks each row where its label tokens are predicted', () => {
    for (const placement of ['prefix', 'suffix', 'after-first-token'] as const) {
      const batch = makeCausalBatch(rows, one(2, placement))
      expect(batch.queries.toArray()).toEqual([
        [4, 5],
        [2, 2],
      ])
      expect(batch.asked.toArray()).toEqual([0, 1, 2])
      expect(batch.targets.toArray()).toEqual([20, 21, 22])
    }
  })

  test("puts a suffix at each row's own length, before padding", () => {
    const [long, short] = orderOf('suffix')
    expect(long).toEqual([2, 3, 4, 0, 1, 5])
    expect(short.slice(0, 3)).toEqual([2, 0, 1])
  })

  test('puts a prompt behind the first token of each row', () => {
    const [long, short] = orderOf('after-first-token')
    expect(long).toEqual([2, 0, 1, 3, 4, 5])
    expect(short.slice(0, 3)).toEqual([2, 0, 1])
  })

  test('leaves the prompt out where its keys and values are shared', () => {
    const batch = makeCausalBatch(rows, one(2, 'prefix', true))
    expect(batch.positions.toArray()).toEqual([
      [2, 3, 4, 5],
      [2, 3, 4, 5],
    ])
    expect(batch.queries.toArray()).toEqual([
      [2, 3],
      [0, 0],
    ])
  })

  test('without a prompt is the tokens alone', () => {
    const batch = makeCausalBatch(rows, one(0, 'suffix'))
    expect(batch.groups[0]?.order).toBeNull()
    expect(batch.queries.toArray()).toEqual([
      [2, 3],
      [0, 0],
    ])
  })
})

describe('a batch of an encoder-decoder', () => {
  const ends = { start: 0, end: 1 }
  const batchOf = (given: Row[]) => makeEncoderDecoderBatch(given, one(2, 'prefix'), ends)

  test('has each text once, and each of its labels at the decoder', () => {
    const batch = batchOf([
      { text: [10, 11], labels: [[20, 1], [21]], prompt: 0 },
      { text: [12], labels: [[22, 23, 1], [24]], prompt: 0 },
    ])
    expect(batch.encoder.ids?.toArray()).toEqual([
      [10, 11, 1],
      [12, 1, 0],
    ])
    expect(batch.decoder.map((ids) => ids.toArray())).toEqual([
      [
        [0, 20, 0],
        [0, 22, 23],
      ],
      [[0], [0]],
    ])
    // Positions 0 to 5 are the first labels', row by row; 6 and 7 the second ones'.
    expect(batch.asked.toArray()).toEqual([0, 1, 6, 3, 4, 5, 7])
    expect(batch.targets.toArray()).toEqual([20, 1, 21, 22, 23, 1, 24])
  })

  test('keeps rows apart that are the same text', () => {
    const text = [10, 11]
    const batch = batchOf([
      { text, labels: [[20]], prompt: 0 },
      { text, labels: [[21]], prompt: 0 },
      { text: [12], labels: [[22]], prompt: 0 },
    ])
    expect(batch.encoder.ids?.shape).toEqual([3, 3])
    expect(batch.decoder.map((ids) => ids.shape)).toEqual([[3, 1]])
    expect(batch.targets.toArray()).toEqual([20, 21, 22])
  })
})

describe("a row's log-probabilities do not depend on the padding beside it", () => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
  })
  afterAll(() => backbone.dispose())

  test.each(['prefix', 'suffix', 'after-first-token', null] as const)(
    'with placement %s',
    async (placement: Placement | null) => {
      await noGrad(() =>
        tidy(async () => {
          const prompt =
            placement === null ? null : goldenPrompt('lopt-1', placement, backbone)
          const prepared = createPromptSet(backbone, [prompt])
          const of = (given: Row[]) =>
            labelLogProbabilities(backbone, prepared.layouts, given)(prepared)
          const alone = await of([{ text: [5, 6, 7], labels: [[8, 9]], prompt: 0 }])
          const long = {
            text: Array.from({ length: 30 }, (_, i) => i + 40),
            labels: [[1]],
            prompt: 0,
          }
          const beside = await of([
            { text: [5, 6, 7], labels: [[8, 9]], prompt: 0 },
            long,
          ])
          const difference = beside.slice(0, 0, 2).sub(alone).abs().amax().item()
          expect(difference).toBeLessThan(1e-12)
          prompt?.dispose()
        }),
      )
    },
  )
})
