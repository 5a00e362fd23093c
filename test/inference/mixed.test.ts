// Rows of different prompts in one batch give what each row gives with its prompt alone.

import { describe, expect, test } from 'vitest'
import {
  type Backbone,
  type BackboneDType,
  loadBackbone,
} from '../../lib/backbone/index.js'
import type { CandidateRow } from '../../lib/inference/candidates.js'
import {
  backward,
  candidateScores,
  createPromptSet,
  type PromptSetOptions,
  TextStore,
} from '../../lib/inference/index.js'
import { createPrompt, type MethodName, Prompt } from '../../lib/prompt/index.js'
import type { LabelTokens } from '../../lib/task/index.js'
import { noGrad, type Tensor, tidy } from '../../lib/torch/index.js'
import { type TrainingRow, trainingLosses } from '../../lib/train/loss.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'
import {
  difference,
  type LossAndGradients,
  randomNumbers,
} from '../train/random-cases.js'
import { loadSmall, loadSmallT5 } from '../train/small-runs.js'

const METHODS: readonly MethodName[] = [
  ...(['lopt-1', 'lopt-2', 'full', 'dpt', 'ulpt'] as const),
  ...(['residual', 'p-tuning', 'dept', 'prefix'] as const),
]

interface MixedCase {
  readonly prompts: Prompt[]
  /** Rows of each prompt. */
  readonly batches: TrainingRow[][]
  readonly labels: LabelTokens
  readonly objective: 'lm' | 'verbalizer'
}

/** 2 to 5 prompts of any methods and placements, of 1 to 6 vectors, with 1 to 4 rows of 1 to 20 tokens each. */
function mixedCase(backbone: Backbone, seed: number): MixedCase {
  const next = randomNumbers(seed)
  const integer = (least: number, most: number) =>
    least + Math.floor(next() * (most - least + 1))
  const ids = (length: number) =>
    Array.from({ length }, () => integer(2, backbone.config.vocabSize - 1))
  const prompts = Array.from({ length: integer(2, 5) }, (_, i) => {
    const method = METHODS[integer(0, METHODS.length - 1)] as MethodName
    const length = integer(1, 6)
    const placement = method === 'prefix' || integer(0, 1) === 0 ? 'prefix' : 'suffix'
    const made = createPrompt(backbone, {
      method,
      length,
      placement,
      init: 'random',
      seed: 100 * seed + i,
      ...(['lopt-1', 'lopt-2', 'dpt'].includes(method) && { rank: integer(1, length) }),
      ...(method === 'residual' && { bottleneck: 5 }),
      ...(method === 'dept' && { textTokens: 7, rank: 2 }),
    })
    if (method === 'prefix' || integer(0, 3) > 0) return made
    // `createPrompt` refuses it, since this tokenizer puts no first token; the rows have one all the same.
    const config = { ...made.config, placement: 'after-first-token' } as const
    return new Prompt(config, { ...made.parameters, ...made.buffers })
  })
  const each = integer(0, 1) === 0 ? () => 1 : () => integer(1, 3)
  const labelIds = Array.from({ length: integer(2, 4) }, () => ids(each()))
  const names = labelIds.map((_, i) => `label ${i}`)
  const shared = integer(0, 2) === 0 ? ids(integer(1, 20)) : undefined
  return {
    prompts,
    batches: prompts.map(() =>
      Array.from({ length: integer(1, 4) }, () => {
        const text = shared ?? ids(integer(1, 20))
        const label = integer(0, names.length - 1)
        return { text, length: text.length, target: labelIds[label] as number[], label }
      }),
    ),
    labels: {
      labels: names,
      words: names,
      ids: labelIds,
      singleToken: labelIds.every((label) => label.length === 1),
    },
    objective: integer(0, 1) === 0 ? 'lm' : 'verbalizer',
  }
}

/** Of each prompt of a set, in one batch. */
async function lossesAndGradients(
  backbone: Backbone,
  { prompts, batches, labels, objective }: MixedCase,
  options: PromptSetOptions,
): Promise<LossAndGradients[]> {
  return await tidy(async () => {
    const set = createPromptSet(backbone, prompts, options)
    const losses = await trainingLosses(
      { objective, meanOver: 'rows' },
      backbone,
      set.layouts,
      batches,
      labels,
    )(set)
    await backward(
      set,
      losses.reduce((a, b) => a.add(b)),
    )
    return await Promise.all(
      prompts.map(async (prompt, i) => {
        const gradients: Float64Array[] = []
        for (const parameter of Object.values(prompt.parameters)) {
          const gradient = (await parameter.grad()) as Tensor
          gradients.push(Float64Array.from(gradient.data() as Float64Array))
          await parameter.zeroGrad()
        }
        return { loss: (losses[i] as Tensor).item(), gradients }
      }),
    )
  })
}

/** What each prompt gives by itself, as it is written down in the papers. */
async function alone(backbone: Backbone, all: MixedCase): Promise<LossAndGradients[]> {
  const found: LossAndGradients[] = []
  for (const [i, prompt] of all.prompts.entries()) {
    const own = { ...all, prompts: [prompt], batches: [all.batches[i] as TrainingRow[]] }
    found.push(...(await lossesAndGradients(backbone, own, { fastPaths: false })))
  }
  return found
}

/** Of each candidate of each row, in one batch. */
function scoresOf(
  backbone: Backbone,
  prompts: readonly Prompt[],
  rows: readonly CandidateRow[],
  fastPaths: boolean,
  positionsAtOnce?: number,
): Promise<number[][]> {
  return noGrad(() =>
    tidy(async () => {
      const set = createPromptSet(backbone, prompts, { fastPaths, positionsAtOnce })
      const scores = await candidateScores(backbone, set.layouts, rows)(set)
      return scores.toArray() as number[][]
    }),
  )
}

const MODELS = [
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
] as const

describe.each(MODELS)('rows of different prompts on %s', (_, load) => {
  test('have the losses and gradients of each alone, over 30 random batches', async () => {
    const backbone = await load('float64')
    const { tensors: before } = await settledMemory()
    for (let seed = 1; seed <= 30; seed += 1) {
      const one = mixedCase(backbone, seed)
      const expected = await alone(backbone, one)
      const textStore = backbone.kind === 'causal' ? new TextStore(backbone) : undefined
      const ways: PromptSetOptions[] = [
        { fastPaths: false },
        {},
        { once: true },
        { once: true, textStore },
        { checkpointLayers: 1, textStore, positionsAtOnce: 2 },
        { once: true, positionsAtOnce: 1 },
      ]
      for (const way of ways) {
        const found = await lossesAndGradients(backbone, one, way)
        found.forEach((own, i) => {
          const gap = difference(own, expected[i] as LossAndGradients)
          const what = `seed ${seed}, ${one.prompts[i]?.config.method}, ${JSON.stringify(way)}`
          expect(gap, what).toBeLessThan(1e-10)
        })
      }
      textStore?.dispose()
      for (const prompt of one.prompts) prompt.dispose()
    }
    // The tensors that a prompt of another placement was made of are the collector's.
    expect((await settledMemory()).tensors).toBe(before)
    backbone.dispose()
  })

  test('have the scores of each alone, over 30 random batches', async () => {
    const backbone = await load('float64')
    for (let seed = 1; seed <= 30; seed += 1) {
      const { prompts, batches, labels } = mixedCase(backbone, seed)
      const rows = batches.flatMap((batch, prompt) =>
        batch.map(({ text }, i) => ({
          text,
          candidates: labels.ids.slice(i % 2),
          prompt,
        })),
      )
      // The rows of a prompt need not lie next to each other.
      const order = [...rows.keys()].sort(
        (a, b) => ((a * 7) % 5) - ((b * 7) % 5) || a - b,
      )
      const shuffled = order.map((i) => rows[i] as (typeof rows)[number])
      for (const [fastPaths, positions] of [[true], [false], [true, 3]] as const) {
        const found = await scoresOf(backbone, prompts, shuffled, fastPaths, positions)
        for (const [i, row] of shuffled.entries()) {
          const own = [{ ...row, prompt: 0 }]
          const prompt = prompts[row.prompt] as Prompt
          const [expected] = await scoresOf(backbone, [prompt], own, false)
          expected?.forEach((score, c) => {
            expect(Math.abs((found[i]?.[c] as number) - score)).toBeLessThan(1e-10)
          })
        }
      }
      for (const prompt of prompts) prompt.dispose()
    }
    backbone.dispose()
  })
})

const HALF = [
  ['GPT-2', loadSmall],
  [
    'GPT-2 with upcast attention',
    (dtype) => loadBackbone(fixture('gpt2-upcast'), { dtype }),
  ],
  ['T5', loadSmallT5],
] as const satisfies [string, (dtype: BackboneDType) => Promise<Backbone>][]

/** All gradients as one: of a tensor that hardly matters the rounding is all there is. */
function joined({ loss, gradients }: LossAndGradients): LossAndGradients {
  return { loss, gradients: [Float64Array.from(gradients.flatMap((one) => [...one]))] }
}

describe.each(HALF)('in half precision rows of different prompts on %s', (_, load) => {
  // What is summed in another order is rounded otherwise, in each layer: a few steps of 2^-8 and of 2^-11.
  test.each([
    ['bfloat16', 0.1],
    ['float16', 0.015],
  ] as const)(
    'have in %s what each has alone, over 10 random batches',
    async (dtype, close) => {
      const backbone = await load(dtype)
      for (let seed = 1; seed <= 10; seed += 1) {
        const one = mixedCase(backbone, seed)
        const { prompts, batches, labels } = one
        const expected = await alone(backbone, one)
        for (const way of [{}, { once: true }]) {
          const found = await lossesAndGradients(backbone, one, way)
          found.forEach((own, i) => {
            const gap = difference(joined(own), joined(expected[i] as LossAndGradients))
            expect(gap, `seed ${seed}, ${JSON.stringify(way)}`).toBeLessThan(close)
          })
        }
        const rows = batches.flatMap((batch, prompt) =>
          batch.map(({ text }) => ({ text, candidates: labels.ids, prompt })),
        )
        const found = await scoresOf(backbone, prompts, rows, true)
        for (const [i, row] of rows.entries()) {
          const prompt = prompts[row.prompt] as Prompt
          const [own] = await scoresOf(backbone, [prompt], [{ ...row, prompt: 0 }], false)
          own?.forEach((score, c) => {
            const gap = Math.abs((found[i]?.[c] as number) - score)
            expect(gap, `seed ${seed}, row ${i}`).toBeLessThan(close)
          })
        }
        for (const prompt of prompts) prompt.dispose()
      }
      backbone.dispose()
    },
  )
})
