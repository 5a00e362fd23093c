// Training and evaluation of rows that texts answer, end to end on the smallest models.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { type GenerateRow, generate } from '../../lib/inference/index.js'
import { createPrompt, loadPrompt } from '../../lib/prompt/index.js'
import { openRun, selectWeights, type TrainEvent } from '../../lib/run/index.js'
import { createTask, type TextMetric } from '../../lib/task/index.js'
import { evaluate, type TrainOptions, train } from '../../lib/train/index.js'
import { temporaryFolder } from '../backbone/temporary.js'
import { bytesOf, loadSmall, loadSmallT5, small } from './small-runs.js'

const answers = ['an animal', 'a plant', 'the film was good', 'no']
const rows = Array.from({ length: 16 }, (_, i) => ({
  text: `${'the '.repeat(i % 5)}${['dog', 'cat', 'film', 'plant'][i % 4]} was`,
  target: answers[i % 4],
}))
const task = createTask({ train: rows, dev: rows.slice(0, 6), test: rows.slice(6) })

let gpt2: Backbone
let t5: Backbone
beforeAll(async () => {
  gpt2 = await loadSmall()
  t5 = await loadSmallT5()
})
afterAll(() => {
  gpt2.dispose()
  t5.dispose()
})

async function eventsOf(options: TrainOptions): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  for await (const event of train(options)) events.push(event)
  return events
}

const settings = { steps: 8, batchSize: 4, evalEvery: 4, learningRate: 0.05 }

describe.each(['GPT-2', 'T5'])('on a small %s', (name) => {
  const backboneOf = () => (name === 'T5' ? t5 : gpt2)

  test.each(['prefix', 'suffix'] as const)(
    'a %s prompt learns targets, and says what it generates',
    async (placement) => {
      const backbone = backboneOf()
      const prompt = createPrompt(backbone, { length: 4, rank: 2, placement })
      const before = await evaluate({ backbone, prompt, task, generation: false })
      const options = { ...settings, steps: 40, evalEvery: 20 }
      const events = await eventsOf({ backbone, prompt, task, ...options })
      const generation = { maxNewTokens: 5 }
      const after = await evaluate({ backbone, prompt, task, generation })
      expect(after.loss).toBeLessThan(before.loss)
      expect(after.perplexity).toBeCloseTo(Math.exp(after.loss), 8)
      expect(before.accuracy).toBeUndefined()
      expect(Object.keys(after)).toEqual(
        expect.arrayContaining(['accuracy', 'rougeL', 'bleu', 'chrf', 'tokenF1']),
      )
      const losses = after.samples?.map(({ loss }) => loss) ?? []
      expect(losses).toEqual([...losses].sort((a, b) => b - a))
      const [worst] = after.samples ?? []
      const text = worst?.text as string
      for await (const event of generate({ backbone, text, prompt, ...generation })) {
        if (event.type === 'done') expect(worst?.generated).toBe(event.text)
      }
      expect(events.find(({ type }) => type === 'eval')).toMatchObject({
        perplexity: expect.any(Number),
        samples: expect.arrayContaining([
          expect.objectContaining({ generated: expect.any(String) }),
        ]),
      })
      prompt.dispose()
    },
  )

  test('prompts that are trained together have the losses that each has alone', async () => {
    const backbone = backboneOf()
    const made = () =>
      (['prefix', 'suffix'] as const).map((placement, seed) =>
        createPrompt(backbone, { length: 3 + seed, rank: 2, placement, seed }),
      )
    const together = await eventsOf({ backbone, prompts: made(), task, ...settings })
    for (const [i, prompt] of made().entries()) {
      const alone = await eventsOf({ backbone, prompt, task, ...settings })
      const losses = (events: TrainEvent[]) =>
        events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))
      const own = losses(together.filter((event) => event.prompt === i))
      expect(own.length).toBe(8)
      losses(alone).forEach((loss, step) => {
        expect(own[step]).toBeCloseTo(loss, 3)
      })
    }
  })
})

test('a run goes on to the same bits and the same log, and its prompt knows its format', async () => {
  const whole = join(temporaryFolder(), 'run')
  const options = { backbone: gpt2, task, ...settings }
  const prompt = small(gpt2)
  await eventsOf({ ...options, prompt, out: whole })

  const parted = join(temporaryFolder(), 'run')
  const first = small(gpt2)
  for await (const event of train({ ...options, prompt: first, out: parted })) {
    if (event.type === 'checkpoint') break
  }
  const again = small(gpt2)
  await eventsOf({ ...options, prompt: again, out: parted, resume: true })
  expect(bytesOf(again)).toEqual(bytesOf(prompt))
  const evals = (folder: string) =>
    readFileSync(join(folder, 'metrics.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"eval"'))
  expect(evals(parted)).toEqual(evals(whole))
  expect(evals(whole)[0]).toContain('"generated"')

  const stored = loadPrompt(join(whole, 'prompt.lopt.safetensors'), gpt2)
  expect(stored.task).toMatchObject({
    template: '{text}',
    labels: {},
    target: { end: true },
  })
  await expect(openRun(whole)).rejects.toThrow(/never in a file/)
})

test('fields go into the template that a prompt was trained with, and are cut as texts are', async () => {
  const made = createTask({ train: rows, template: 'A {text} It', devFraction: 0 })
  const prompt = small(gpt2)
  await eventsOf({ backbone: gpt2, prompt, task: made, steps: 1 })
  const textsOf = async (texts: GenerateRow['text'][]) => {
    const said: string[] = []
    const given = texts.map((text) => ({ text, prompt }))
    for await (const event of generate({
      backbone: gpt2,
      rows: given,
      maxNewTokens: 5,
    })) {
      if (event.type === 'done') said[event.row] = event.text
    }
    return said
  }
  const [filled, plain, cut] = await textsOf([
    { text: 'dog was' },
    'A dog was It',
    { text: 'the dog '.repeat(99) },
  ])
  expect(filled).toBe(plain)
  expect(cut).toEqual(expect.any(String))
  await expect(textsOf([{ other: 'dog' }])).rejects.toThrow(
    /rows\[0\]: .*field "text" is missing/,
  )
  prompt.dispose()
})

test('the best is kept by a metric of the texts, or by a function', async () => {
  const judged: number[] = []
  const judge: TextMetric = (given) => {
    judged.push(given.length)
    expect(given[0]).toMatchObject({ fields: { text: expect.any(String) } })
    return -judged.length // the first evaluation is the best
  }
  const own = createTask({ train: rows, dev: rows.slice(0, 6), metric: judge })
  const events = await eventsOf({
    backbone: gpt2,
    prompt: small(gpt2),
    task: own,
    ...settings,
  })
  expect(judged).toEqual([6, 6])
  expect(events.at(-1)).toMatchObject({ type: 'done', bestStep: 4, own: -1 })
  const chrf = createTask({ train: rows, dev: rows.slice(0, 6), metric: 'chrf' })
  const more = await eventsOf({
    backbone: gpt2,
    prompt: small(gpt2),
    task: chrf,
    ...settings,
  })
  expect(more.at(-1)).toMatchObject({ chrf: expect.any(Number) })
})

test("the model's own weights learn targets too", async () => {
  const backbone = await loadSmall()
  const weights = selectWeights(backbone, /bias$/)
  const events = await eventsOf({
    backbone,
    weights,
    task,
    ...settings,
    learningRate: 0.01,
  })
  const losses = events.flatMap((event) => (event.type === 'eval' ? [event.loss] : []))
  expect(losses[1]).toBeLessThan(losses[0] as number)
  backbone.dispose()
})

describe('a target that is too long', () => {
  // 64 positions, a prompt of 4: a text of one token leaves 59.
  const long = createTask({
    train: [
      { text: 'a dog '.repeat(40), target: 'it was good' },
      { text: 'it was', target: 'the film was good '.repeat(40) },
    ],
    devFraction: 0,
  })
  const run = (options: Partial<TrainOptions>) =>
    eventsOf({ backbone: gpt2, prompt: small(gpt2), task: long, steps: 1, ...options })

  test('is refused by its place', async () => {
    await expect(run({})).rejects.toThrow(
      /example 1: the target has \d+ tokens, and prompt and template leave 59 of 64 positions/,
    )
    await expect(run({ maxTargetLength: 3 })).rejects.toThrow(/maxTargetLength is 3/)
  })

  test('is cut where that is asked for, and counted beside the texts', async () => {
    const [start] = await run({ longTargets: 'cut' })
    expect(start).toMatchObject({ truncated: 2, truncatedTargets: 1 })
    const both = await run({ longTargets: 'cut', maxTargetLength: 2 })
    expect(both[0]).toMatchObject({ truncated: 1, truncatedTargets: 2 })
  })

  test('has no use for the objective verbalizer', async () => {
    await expect(run({ objective: 'verbalizer' })).rejects.toThrow(/chooses among labels/)
  })
})

test('a target without tokens is named', async () => {
  const odd = createTask({
    train: [{ text: 'it was', target: 'good' }],
    targetTemplate: '{target}',
    devFraction: 0,
  })
  const blank = { ...odd, train: [{ ...odd.train[0], label: '' }] } as typeof odd
  await expect(
    eventsOf({ backbone: gpt2, prompt: small(gpt2), task: blank, steps: 1 }),
  ).rejects.toThrow(/example 0: the target has no tokens/)
})
