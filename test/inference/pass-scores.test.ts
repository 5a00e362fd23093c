// Passes of scores that are captured. On a CPU a captured pass is run again from inputs that stay: it must give what the
// pass that is not gives, whichever prompts and rows take the place of others.

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { createEngine } from '../../lib/engine/index.js'
import { type Score, StepGraphs, score } from '../../lib/inference/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { CapturedGraph } from '../../lib/torch/graph.js'
import { evaluate, train } from '../../lib/train/index.js'
import { settledMemory } from '../live.js'
import { randomNumbers } from '../train/random-cases.js'
import { loadSmall, loadSmallT5, task as trained } from '../train/small-runs.js'

afterEach(() => vi.restoreAllMocks())

const WORDS = ['the', 'dog', 'a', 'film', 'was', 'good', 'and', 'long']
const one = { template: '{text}', labels: ['a', 'b'], verbalizer: { a: 'a', b: 'b' } }
const several = {
  template: '{text}',
  labels: ['a', 'b'],
  verbalizer: { a: 'rather good', b: 'a' },
}

function textsOf(count: number, seed: number): string[] {
  const next = randomNumbers(seed)
  const integer = (most: number) => Math.floor(next() * most)
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + integer(9) }, () => WORDS[integer(WORDS.length)]).join(' '),
  )
}

function expectNear(found: readonly Score[], expected: readonly Score[], by: number) {
  expect(found.map(({ prediction }) => prediction)).toEqual(
    expected.map(({ prediction }) => prediction),
  )
  for (const [i, { scores }] of found.entries()) {
    for (const [label, value] of Object.entries(scores)) {
      expect(Math.abs(value - (expected[i]?.scores[label] as number))).toBeLessThan(by)
    }
  }
}

describe.each([
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
] as const)('a captured pass of scores on %s', (_, load) => {
  let backbone: Backbone
  let prefixes: Prompt[]
  let prompts: (Prompt | null)[]
  beforeAll(async () => {
    backbone = await load('float64')
    prefixes = [1, 2, 3, 4, 5].map((seed) =>
      createPrompt(backbone, { method: 'full', length: 3, init: 'random', seed }),
    )
    prompts = [
      ...prefixes,
      createPrompt(backbone, { method: 'prefix', length: 4, init: 'random', seed: 6 }),
      createPrompt(backbone, { method: 'dept', length: 4, init: 'random', seed: 7 }),
      createPrompt(backbone, {
        ...{ method: 'full', length: 2, placement: 'suffix', init: 'random', seed: 8 },
      }),
      null,
    ]
  })
  afterAll(() => {
    for (const one of [...prompts, backbone]) one?.dispose()
  })

  test.each([
    ['one token', one],
    ['several', several],
  ] as const)('gives what one that is not gives, by labels of %s', async (_, task) => {
    const texts = textsOf(40, 1)
    const replay = vi.spyOn(CapturedGraph.prototype, 'replay')
    for (const chosen of [prefixes, prompts, [null], [prompts.at(-2) as Prompt]]) {
      const own = texts.map((_, i) => chosen[i % chosen.length] as Prompt | null)
      for (const batchSize of [1, 7, 16]) {
        const options = { backbone, prompts: own, task, texts, batchSize }
        const expected = await score({ ...options, graphs: false })
        // Once op by op, once captured, once replayed.
        for (let i = 0; i < 3; i += 1) {
          expectNear(await score({ ...options, graphs: true }), expected, 1e-9)
        }
      }
    }
    expect(replay.mock.calls.length).toBeGreaterThan(100)
  })

  test('is the same for other prompts of its shape, and knows one that was changed', async () => {
    const texts = textsOf(12, 2)
    const before = vi.spyOn(StepGraphs.prototype, 'run')
    const run = async (chosen: Prompt[], graphs: boolean) => {
      const own = texts.map((_, i) => chosen[(i * i) % chosen.length] as Prompt)
      return await score({ backbone, prompts: own, task: one, texts, graphs })
    }
    const [a, b, c, d, e] = prefixes as [Prompt, Prompt, Prompt, Prompt, Prompt]
    const groups = [
      [a, b, c],
      [c, d, e],
      [e, a, b, c],
      [b, a, d],
    ]
    for (const chosen of [...groups, ...groups]) {
      expectNear(await run(chosen, true), await run(chosen, false), 1e-9)
    }
    const signatures = before.mock.calls.map(([inputs]) => inputs.signature)
    expect(signatures.length).toBe(2 * groups.length)
    expect(new Set(signatures).size).toBe(1)
    const changed = createPrompt(backbone, {
      method: 'full',
      length: 3,
      init: 'random',
      seed: 9,
    })
    const first = await run([changed], true)
    for (const [name, own] of Object.entries(changed.parameters)) {
      await own.copy_((a.parameters as Record<string, typeof own>)[name] as typeof own)
    }
    const second = await run([changed], true)
    expectNear(second, await run([a], false), 1e-9)
    expect(second).not.toEqual(first)
    changed.dispose()
  })

  test('tells a prompt that gives something from none, in whatever order they come', async () => {
    const [keys] = prompts.slice(-4) as [Prompt]
    expect(keys.config.method).toBe('prefix')
    const lengths = ['the dog was good', 'the', 'a film', 'the dog was long and good']
    // Two rows a batch: the first prompt of one is the second of another.
    const own = [keys, null, null, keys, keys, null, null, keys]
    const texts = [...lengths, ...lengths]
    const options = { backbone, prompts: own, task: one, texts, batchSize: 2 }
    const expected = await score({ ...options, graphs: false })
    for (let i = 0; i < 3; i += 1) {
      expectNear(await score({ ...options, graphs: true }), expected, 1e-9)
    }
  })

  test('of more positions than have their logits at once', async () => {
    const labels = Array.from(
      { length: 6 },
      (_, i) => `${WORDS[i]} ${WORDS[i + 1]} good film`,
    )
    const verbalizer = Object.fromEntries(labels.map((label) => [label, label]))
    const task = { template: '{text}', labels, verbalizer }
    const texts = textsOf(16, 3)
    const options = { backbone, prompt: prefixes[0] as Prompt, task, texts }
    const expected = await score({ ...options, graphs: false })
    for (let i = 0; i < 3; i += 1) {
      expectNear(await score({ ...options, graphs: true }), expected, 1e-9)
    }
  })

  test('is had by calls that overlap, one after the other', async () => {
    const lists = [4, 5, 6, 7].map((seed) => textsOf(8, seed))
    const run = (graphs: boolean) =>
      lists.map((texts, i) => {
        const prompt = prefixes[i] as Prompt
        return score({ backbone, prompt, task: one, texts, graphs })
      })
    const expected = await Promise.all(run(false))
    for (let i = 0; i < 3; i += 1) {
      const found = await Promise.all(run(true))
      found.forEach((own, k) => {
        expectNear(own, expected[k] as Score[], 1e-9)
      })
    }
  })

  test("is an engine's, of any prompts", async () => {
    const engines = [false, true].map((graphs) =>
      createEngine({
        ...{ backbone, graphs },
        prompts: Object.fromEntries(prefixes.map((prompt, i) => [`p${i}`, prompt])),
      }),
    )
    const replay = vi.spyOn(CapturedGraph.prototype, 'replay')
    const texts = textsOf(24, 8)
    const answers = engines.map(async (engine) => {
      const found = []
      for (let round = 0; round < 4; round += 1) {
        const asked = texts.map((text, i) =>
          engine.classify({
            prompt: `p${(i * (round + 1)) % 5}`,
            inputs: [text],
            labels: ['a', 'b'],
          }),
        )
        found.push(...(await Promise.all(asked)))
      }
      await engine.close()
      return found.flatMap((results) => results.flatMap(({ scores }) => scores))
    })
    const [expected, found] = (await Promise.all(answers)) as [number[], number[]]
    expect(replay.mock.calls.length).toBeGreaterThan(0)
    expect(found.length).toBe(192)
    found.forEach((value, i) => {
      expect(Math.abs(value - (expected[i] as number))).toBeLessThan(1e-9)
    })
  })
})

test('evaluation is captured with a training, and alone', async () => {
  const backbone = await loadSmall()
  const figures: unknown[] = []
  for (const graphs of [false, true]) {
    const prompt = createPrompt(backbone, { length: 3, rank: 2, seed: 0 })
    const alone = await evaluate({
      backbone,
      prompt,
      task: trained,
      split: 'dev',
      graphs,
    })
    const captured = vi.spyOn(StepGraphs.prototype, 'runInTurn')
    const losses: number[] = []
    const run = train({
      backbone,
      prompt,
      task: trained,
      steps: 6,
      batchSize: 4,
      evalEvery: 2,
      graphs,
    })
    for await (const event of run) if (event.type === 'eval') losses.push(event.loss)
    expect(captured.mock.calls.length > 0).toBe(graphs)
    captured.mockRestore()
    figures.push([alone.loss, ...losses])
    prompt.dispose()
  }
  const [without, within] = figures as [number[], number[]]
  expect(within.length).toBe(4)
  within.forEach((loss, i) => {
    expect(loss).toBeCloseTo(without[i] as number, 5)
  })
  backbone.dispose()
})

test('what is captured is freed with the backbone', async () => {
  const before = await settledMemory()
  const backbone = await loadSmall()
  const prompt = createPrompt(backbone, { length: 3, rank: 2 })
  for (let i = 0; i < 4; i += 1) {
    await score({ backbone, prompt, task: one, texts: textsOf(20, 9), graphs: true })
  }
  prompt.dispose()
  backbone.dispose()
  expect((await settledMemory()).tensors).toBe(before.tensors)
})

test('graphs are wanted or not', async () => {
  const backbone = await loadSmall()
  const options = { backbone, prompt: null, task: one, texts: ['the dog'] }
  await expect(score({ ...options, graphs: 1 as never })).rejects.toThrow(TypeError)
  backbone.dispose()
})
