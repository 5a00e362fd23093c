import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { type ScoreOptions, score } from '../../lib/inference/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { memory } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'
import { golden, goldenPrompt, value } from './golden-prompts.js'

let backbone: Backbone // 64 positions
let prompt: Prompt // P 5, prefix
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
  prompt = goldenPrompt('lopt-1', 'prefix', backbone)
})
afterAll(() => {
  prompt.dispose()
  backbone.dispose()
})

const texts = golden.rows.map(({ text }) => text)
const labels = golden.candidates.labels.map((label) => label.trim())
const verbalizer = Object.fromEntries(labels.map((label) => [label, label]))
const task = { template: '{text}', labels, verbalizer }

describe('score', () => {
  test('gives PyTorch’s log-probability of every label for every text', async () => {
    const expected = value('lopt-1.prefix.scores').toArray() as number[][]
    for (const batchSize of [1, 3, 16]) {
      const found = await score({ backbone, prompt, task, texts, batchSize })
      found.forEach(({ scores, prediction, truncated }, i) => {
        labels.forEach((label, j) => {
          expect(scores[label]).toBeCloseTo(expected[i]?.[j] as number, 8)
        })
        const best = expected[i]?.indexOf(Math.max(...(expected[i] as number[])))
        expect(prediction).toBe(labels[best as number])
        expect(truncated).toBe(0)
      })
    }
  })

  test('of labels of one token is the same as beside labels of several', async () => {
    const single = { ...task, labels: ['good', 'maybe'] }
    const [all, few] = [
      await score({ backbone, prompt, task, texts }),
      await score({
        backbone,
        prompt,
        task: { ...single, verbalizer: { good: 'good', maybe: 'maybe' } },
        texts,
      }),
    ]
    few.forEach(({ scores }, i) => {
      for (const label of single.labels) {
        expect(scores[label]).toBeCloseTo(all[i]?.scores[label] as number, 10)
      }
    })
  })

  test('without a prompt is the text alone', async () => {
    const [bare] = await score({
      backbone,
      prompt: null,
      task,
      texts: [texts[0] as string],
    })
    const [prompted] = await score({
      backbone,
      prompt,
      task,
      texts: [texts[0] as string],
    })
    expect(bare?.scores.good).not.toBe(prompted?.scores.good)
    expect(Object.values(bare?.scores ?? {}).every((x) => x < 0)).toBe(true)
  })

  test('takes the fields of a template by name', async () => {
    const [whole] = await score({ backbone, prompt, task, texts: ['A dog and a cat'] })
    const [fields] = await score({
      backbone,
      prompt,
      task: { ...task, template: '{first} and {second}' },
      texts: [{ first: 'A dog', second: 'a cat' }],
    })
    expect(fields?.scores).toEqual(whole?.scores)
  })

  test('takes a text where the template has braces of its own', async () => {
    const [found] = await score({
      backbone,
      prompt,
      task: { ...task, template: '{{x}} {review}' },
      texts: ['A dog'],
    })
    const [whole] = await score({ backbone, prompt, task, texts: ['{x} A dog'] })
    expect(found?.scores).toEqual(whole?.scores)
  })

  test('takes template and labels from what the prompt was trained for', async () => {
    const trained = goldenPrompt('lopt-1', 'prefix', backbone)
    trained.task = {
      template: '{text}',
      labels: verbalizer,
      objective: 'lm',
      maxLength: 20,
    }
    const found = await score({ backbone, prompt: trained, texts })
    expect(found).toEqual(await score({ backbone, prompt, task, texts }))
    trained.dispose()
    await expect(score({ backbone, prompt, texts })).rejects.toThrow(/give `task`/)
  })

  test('cuts a text that is too long, and says by how many tokens', async () => {
    const text = 'A dog and a cat '.repeat(20)
    const tokens = backbone.tokenizer.encode(text).length
    const [found] = await score({ backbone, prompt, task, texts: [text] })
    expect(found?.truncated).toBeGreaterThanOrEqual(tokens - (64 - 5 - 2))
    const [short] = await score({ backbone, prompt, task, texts: [text], maxLength: 10 })
    expect(short?.truncated).toBeGreaterThanOrEqual(tokens - 10)
  })

  test('of no texts is nothing', async () => {
    expect(await score({ backbone, prompt, task, texts: [] })).toEqual([])
  })

  test('leaves no tensor behind', async () => {
    await score({ backbone, prompt, task, texts })
    const { tensors: before } = await settledMemory()
    for (let i = 0; i < 5; i++) await score({ backbone, prompt, task, texts })
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })

  test('stops when it is aborted', async () => {
    await expect(
      score({ backbone, prompt, task, texts, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'ERR_ABORTED' })
  })
})

describe('score refuses', () => {
  test('a prompt that leaves no room for a text', async () => {
    const long = createPrompt(backbone, { length: 62, rank: 2 })
    await expect(score({ backbone, prompt: long, task, texts })).rejects.toThrow(
      /62 virtual tokens and a label of 2 tokens leave no room.*64 positions/,
    )
    long.dispose()
  })

  const cases: [string, Partial<ScoreOptions>, RegExp][] = [
    ['an empty text', { texts: [''] }, /no tokens/],
    ['a batch size of 0', { batchSize: 0 }, /batchSize/],
    ['half a batch size', { batchSize: 1.5 }, /batchSize/],
    ['a maxLength of 0', { maxLength: 0 }, /maxLength in 1\.\.57.*0/],
    ['more than the positions left', { maxLength: 58 }, /maxLength in 1\.\.57.*58/],
    ['a row without the field', { texts: [{ body: 'x' }] }, /"text" is missing/],
    [
      'two labels of the same words',
      { task: { ...task, labels: ['a', 'b'], verbalizer: { a: 'good', b: 'good' } } },
      /"a" and "b"/,
    ],
  ]
  test.each(cases)('%s', { timeout: 5000 }, async (_, change, message) => {
    await expect(score({ backbone, prompt, task, texts, ...change })).rejects.toThrow(
      message,
    )
  })
})
