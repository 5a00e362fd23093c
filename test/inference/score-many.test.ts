// `score({ prompts })`: each text with its own prompt, in one batch.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  type ScoreManyOptions,
  type ScoreOptions,
  score,
} from '../../lib/inference/index.js'
import { createPrompt, type Placement, type Prompt } from '../../lib/prompt/index.js'
import { memory, noGrad, type Tensor } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'
import { loadSmallT5 } from '../train/small-runs.js'
import { golden, goldenPrompt, value } from './golden-prompts.js'

let backbone: Backbone // 64 positions
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
})
afterAll(() => backbone.dispose())

const texts = golden.rows.map(({ text }) => text)
const labels = golden.candidates.labels.map((label) => label.trim())
const verbalizer = Object.fromEntries(labels.map((label) => [label, label]))
const task = { template: '{text}', labels, verbalizer }
const trainedFor = { labels: verbalizer, objective: 'lm', maxLength: 20 } as const

describe('score of prompts', () => {
  test('gives PyTorch’s log-probabilities for every text, each with its own prompt', async () => {
    const cases = golden.scores.map(({ key, method, placement }) => ({
      prompt: goldenPrompt(method, placement as Placement, backbone),
      expected: value(key).toArray() as number[][],
    }))
    // Prompts change from one text to the next.
    const all = texts.flatMap((text, i) =>
      cases.map(({ prompt, expected }) => ({ text, prompt, expected: expected[i] })),
    )
    for (const batchSize of [1, 5, 16, 64]) {
      const found = await score({
        ...{ backbone, task, batchSize },
        prompts: all.map(({ prompt }) => prompt),
        texts: all.map(({ text }) => text),
      })
      found.forEach(({ scores, prediction }, i) => {
        const expected = all[i]?.expected as number[]
        labels.forEach((label, j) => {
          expect(scores[label]).toBeCloseTo(expected[j] as number, 8)
        })
        expect(prediction).toBe(labels[expected.indexOf(Math.max(...expected))])
      })
    }
    for (const { prompt } of cases) prompt.dispose()
  })

  test('takes what each was trained for: its template, its labels, its limit', async () => {
    const [a, b] = [0, 1].map((seed) =>
      createPrompt(backbone, { length: 4, rank: 2, seed }),
    ) as [Prompt, Prompt]
    a.task = { ...trainedFor, template: '{text}' }
    b.task = {
      ...{ ...trainedFor, template: 'They: {review}', maxLength: 6 },
      labels: { yes: 'good', no: 'bad' },
    }
    const four = [texts[0], texts[1], texts[0], texts[1]] as string[]
    const found = await score({ backbone, prompts: [a, b, b, a], texts: four })
    expect(found.map(({ scores }) => Object.keys(scores))).toEqual([
      labels,
      ['yes', 'no'],
      ['yes', 'no'],
      labels,
    ])
    for (const [i, prompt] of [a, b, b, a].entries()) {
      const [own] = await score({ backbone, prompt, texts: [four[i] as string] })
      expect(found[i]?.truncated).toBe(own?.truncated)
      expect(found[i]?.prediction).toBe(own?.prediction)
      for (const [label, value] of Object.entries(own?.scores ?? {})) {
        expect(found[i]?.scores[label]).toBeCloseTo(value, 10)
      }
    }
    a.dispose()
    b.dispose()
  })

  test('takes null for a text without a prompt, and no texts at all', async () => {
    const prompt = createPrompt(backbone, { length: 4, rank: 2 })
    const two = texts.slice(0, 2)
    const found = await score({ backbone, task, prompts: [null, prompt], texts: two })
    const [bare] = await score({ backbone, task, prompt: null, texts: two })
    const [, own] = await score({ backbone, task, prompt, texts: two })
    for (const label of labels) {
      expect(found[0]?.scores[label]).toBeCloseTo(bare?.scores[label] as number, 10)
      expect(found[1]?.scores[label]).toBeCloseTo(own?.scores[label] as number, 10)
    }
    expect(await score({ backbone, task, prompts: [], texts: [] })).toEqual([])
    prompt.dispose()
  })

  test.each([
    ['GPT-2', () => loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })],
    ['T5', () => loadSmallT5('float64')],
  ] as const)(
    'gives each what it has alone on %s, null beside prefix tuning',
    async (_, load) => {
      const own = await load()
      const made = [
        createPrompt(own, { method: 'prefix', length: 3, init: 'random' }),
        createPrompt(own, { method: 'prefix', length: 6, init: 'random', seed: 1 }),
        createPrompt(own, { length: 4, rank: 2 }),
        createPrompt(own, { length: 5, rank: 2, placement: 'suffix' }),
        createPrompt(own, { method: 'dept', length: 3, rank: 2, textTokens: 4 }),
      ]
      const pairs = [...made, null].flatMap((prompt, k) =>
        [0, 1].map((i) => ({
          prompt,
          text: texts[(k + 2 * i) % texts.length] as string,
        })),
      )
      // Rows of a prompt need not lie next to each other, and one comes before all prefixes.
      const all = [
        ...pairs.filter((_, i) => i % 2 === 1),
        ...pairs.filter((_, i) => i % 2 === 0),
      ]
      for (const batchSize of [3, 16]) {
        const found = await score({
          ...{ backbone: own, task, batchSize },
          prompts: all.map(({ prompt }) => prompt),
          texts: all.map(({ text }) => text),
        })
        for (const [i, { prompt, text }] of all.entries()) {
          const given = { backbone: own, task, prompt, texts: [text], fastPaths: false }
          const [alone] = await score(given)
          expect(found[i]?.prediction).toBe(alone?.prediction)
          for (const label of labels) {
            const expected = alone?.scores[label] as number
            expect(found[i]?.scores[label]).toBeCloseTo(expected, 9)
          }
        }
      }
      for (const prompt of made) prompt.dispose()
      own.dispose()
    },
  )

  test('keeps tensors and their memory flat over 2,000 calls', async () => {
    const small = await loadBackbone(fixture('gpt2-plain'))
    const made = (['full', 'prefix', 'lopt-1'] as const).flatMap((method, i) =>
      (method === 'prefix' ? (['prefix'] as const) : (['prefix', 'suffix'] as const)).map(
        (placement) =>
          createPrompt(small, {
            ...{ method, placement, length: 3 + i },
            ...(method === 'lopt-1' && { rank: 2 }),
          }),
      ),
    )
    const given = {
      ...{ backbone: small, task },
      prompts: [...made, ...made],
      texts: [...made, ...made].map((_, i) => texts[i % texts.length] as string),
    }
    await score(given)
    const before = await settledMemory()
    const { heapUsed } = process.memoryUsage()
    let most = 0
    for (let call = 0; call < 2000; call += 1) {
      await score(given)
      most = Math.max(most, memory().tensors)
    }
    expect(most).toBeLessThanOrEqual(before.tensors)
    const after = await settledMemory()
    expect(after.bytes).toBeLessThanOrEqual(before.bytes)
    expect(process.memoryUsage().heapUsed).toBeLessThan(heapUsed + 10e6)
    for (const prompt of made) prompt.dispose()
    small.dispose()
  }, 300_000)
})

describe('score of prompts refuses', () => {
  let prompt: Prompt
  beforeAll(() => {
    prompt = createPrompt(backbone, { length: 4, rank: 2 })
  })
  afterAll(() => prompt.dispose())

  const refused = (options: Partial<ScoreManyOptions> | Partial<ScoreOptions>) => {
    const given = { backbone, task, texts: ['A dog', 'A cat'], ...options }
    return expect(score(given as ScoreManyOptions)).rejects
  }

  test('more or fewer than texts, and what is no list', async () => {
    await refused({ prompts: [prompt] }).toThrow(/each of 2 texts, but received 1/)
    await refused({ prompts: [] }).toThrow(/each of 2 texts, but received 0/)
    await refused({ prompts: prompt as never }).toThrow(/prompts to be a list/)
  })

  test('prompt beside prompts, and neither: a prompt that was not found is not none', async () => {
    const found = new Map<string, Prompt>()
    for (const wrong of [
      { prompts: [prompt, prompt], prompt: null },
      { prompt: found.get('typo') as never },
      {},
    ]) {
      await refused(wrong as Partial<ScoreOptions>).toThrow(
        new TypeError(
          'Give what the texts are scored with: either prompt (null: none) or prompts',
        ),
      )
    }
  })

  test('what is no prompt, and one that is disposed', async () => {
    await refused({ prompts: [prompt, {} as never] }).toThrow(/prompts\[1\]/)
    await refused({ prompts: [prompt, undefined as never] }).toThrow(/prompts\[1\]/)
    const gone = createPrompt(backbone, { length: 4, rank: 2 })
    gone.dispose()
    await refused({ prompts: [gone, prompt] }).toThrow(/disposed/)
  })

  test('a prompt of another backbone', async () => {
    const t5 = await loadSmallT5()
    const foreign = createPrompt(t5, { length: 4, rank: 2 })
    await refused({ prompts: [prompt, foreign] }).toThrow(
      /prompts\[1\] is for a backbone of hidden size 24; .* has 32/,
    )
    foreign.dispose()
    t5.dispose()
  })

  const three = ['A dog', 'A cat', 'A film']
  const own = (change: object): Prompt => {
    const made = createPrompt(backbone, { length: 4, rank: 2 })
    made.task = { ...trainedFor, template: '{text}', ...change }
    return made
  }

  test('a prompt that leaves no room for its text', async () => {
    const long = createPrompt(backbone, { length: 62, rank: 2 })
    await refused({ prompts: [prompt, prompt, long], texts: three }).toThrow(
      /^prompts\[2\]: A prompt of 62 virtual tokens and a label of 2 tokens leave no room.*64 positions/,
    )
    long.dispose()
  })

  test('a prompt whose labels or template cannot be used, by its name', async () => {
    const same = own({ labels: { a: 'good', b: 'good' } })
    const two = own({ template: '{a} {b}' })
    const good = own({})
    const given = { task: undefined as never, texts: three }
    await refused({ ...given, prompts: [good, good, same] }).toThrow(
      /^prompts\[2\]: Labels "a" and "b" have the same words/,
    )
    await refused({ ...given, prompts: [good, two, two] }).toThrow(
      /^prompts\[1\]: The template has the fields a, b/,
    )
    for (const one of [same, two, good]) one.dispose()
  })

  test('a text by its place among all, or by its source', async () => {
    const other = createPrompt(backbone, { length: 3, rank: 2 })
    const given = { prompts: [prompt, prompt, other], texts: ['A dog', 'A cat', ''] }
    await refused(given).toThrow(/^example 2: the text has no tokens/)
    const sources = [1, 3, 5].map((line) => ({ file: 'rows.jsonl', line }))
    await refused({ ...given, sources }).toThrow(/^rows\.jsonl:5: the text has no tokens/)
    other.dispose()
  })

  test('a score that is not finite, by its text and its prompt', async () => {
    const broken = createPrompt(backbone, { method: 'full', length: 3 })
    await noGrad(() => (broken.parameters.X as Tensor).fill_(Number.NaN))
    const why =
      'A score is not finite: the prompt holds values too large for the backbone'
    const code = 'ERR_NON_FINITE_LOSS'
    await refused({ prompts: [prompt, prompt, broken], texts: three }).toMatchObject({
      ...{ code, message: `example 2, prompts[2]: ${why}` },
    })
    await refused({ prompt: broken }).toMatchObject({
      ...{ code, message: `example 0: ${why}` },
    })
    broken.dispose()
  })

  test('prompts without a task where none is given', async () => {
    const given = { task: undefined as never, texts: three }
    const good = own({})
    await refused({ ...given, prompts: [good, prompt, prompt] }).toThrow(
      /^prompts\[1\]: The prompt says no template and labels of its own: give `task`$/,
    )
    await refused({ ...given, prompts: [good, good, null] }).toThrow(
      /^prompts\[2\]: Without a prompt nothing says template and labels: give `task`$/,
    )
    good.dispose()
  })
})
