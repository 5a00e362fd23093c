// What prompts give is kept between calls, and never used once it is wrong.

import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type CausalBackbone, loadBackbone } from '../../lib/backbone/index.js'
import { generate, score } from '../../lib/inference/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { Adam, noGrad, type Tensor, tidy } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

const labels = ['good', 'bad']
const verbalizer = { good: 'good', bad: 'bad' }
const task = { template: '{text}', labels, verbalizer }
const texts = ['A fine day', 'Rain']

const load = async () =>
  (await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })) as CausalBackbone

/** The backbone, and how many vectors before texts it has run without one: a prefix's own. */
async function watched() {
  const backbone = await load()
  let runs = 0
  const run = backbone.run.bind(backbone)
  backbone.run = async (options) => {
    if (options.past === undefined && options.x.shape[1] === 4) runs += 1
    return await run(options)
  }
  return { backbone, runs: () => runs }
}

const scoresOf = async (backbone: CausalBackbone, prompt: Prompt) =>
  (await score({ backbone, prompt, task, texts })).map(({ scores }) => scores)

async function textOf(backbone: CausalBackbone, prompt: Prompt) {
  for await (const event of generate({
    backbone,
    prompt,
    text: 'Rain',
    maxNewTokens: 3,
  })) {
    if (event.type === 'done') return event.text
  }
  throw new Error('the text has no end')
}

test('a prefix runs once for all calls, one of the same numbers not again', async () => {
  const { backbone, runs } = await watched()
  const prompt = createPrompt(backbone, { length: 4, rank: 2, seed: 3 })
  const same = createPrompt(backbone, { length: 4, rank: 2, seed: 3 })
  const [first, second] = [
    await scoresOf(backbone, prompt),
    await scoresOf(backbone, same),
  ]
  await textOf(backbone, prompt)
  expect(runs()).toBe(1)
  expect(second).toEqual(first)
  const alone = await score({ backbone, prompt, task, texts, fastPaths: false })
  alone.forEach(({ scores }, i) => {
    for (const label of task.labels) {
      expect(first[i]?.[label]).toBeCloseTo(scores[label] as number, 10)
    }
  })
  prompt.dispose()
  same.dispose()
  backbone.dispose()
})

test('a prompt that was changed, and one behind changed weights, run again', async () => {
  const { backbone, runs } = await watched()
  const prompt = createPrompt(backbone, { length: 4, rank: 2 })
  const change = (tensor: Tensor) => noGrad(() => tensor.mul_(1.5))
  const before = await scoresOf(backbone, prompt)
  await change(prompt.parameters.U as Tensor)
  const trained = await scoresOf(backbone, prompt)
  expect(runs()).toBe(2)
  await change(backbone.parameters().get('h.0.attn.c_attn.weight') as Tensor)
  const found = await scoresOf(backbone, prompt)
  expect(runs()).toBe(3)
  // by an optimizer, whose step is an op of its own
  const weight = backbone.parameters().get('h.0.mlp.c_fc.weight') as Tensor
  await backbone.setTrainable(/^h\.0\.mlp\.c_fc\.weight$/)
  const optimizer = new Adam([weight], { lr: 0.1 })
  await tidy(() => weight.pow(2).sum().backward())
  await optimizer.step()
  await backbone.setTrainable(false)
  const tuned = await scoresOf(backbone, prompt)
  expect(runs()).toBe(4)
  expect(tuned).not.toEqual(found)
  for (const scores of [trained, found]) expect(scores).not.toEqual(before)
  const whole = await score({ backbone, prompt, task, texts, fastPaths: false })
  whole.forEach(({ scores }, i) => {
    for (const label of task.labels) {
      expect(tuned[i]?.[label]).toBeCloseTo(scores[label] as number, 10)
    }
  })
  optimizer.dispose()
  prompt.dispose()
  backbone.dispose()
})

test('a prompt that is trained on while it is prepared is not kept', async () => {
  const { backbone, runs } = await watched()
  const prompt = createPrompt(backbone, { length: 4, rank: 2 })
  const same = createPrompt(backbone, { length: 4, rank: 2 })
  const { run } = backbone
  backbone.run = async (options) => {
    const result = await run(options)
    await noGrad(() => (prompt.parameters.U as Tensor).mul_(1.5))
    return result
  }
  await scoresOf(backbone, prompt)
  backbone.run = run
  await scoresOf(backbone, same)
  expect(runs()).toBe(2)
  for (const one of [prompt, same]) one.dispose()
  backbone.dispose()
})

test('a call is not told of another one’s prompt', async () => {
  const { backbone } = await watched()
  const [good, bad] = [0, 1].map((seed) =>
    createPrompt(backbone, { length: 4, rank: 2, seed }),
  ) as [Prompt, Prompt]
  const { run } = backbone
  let alone: ReturnType<typeof scoresOf> | undefined
  backbone.run = async (options) => {
    if (options.past !== undefined || options.x.shape[0] !== 2) return await run(options)
    alone = scoresOf(backbone, good)
    await setTimeout(100) // it waits for what is prepared here
    throw new Error('too much')
  }
  const both = score({ backbone, prompts: [good, bad], task, texts })
  await expect(both).rejects.toThrow('too much')
  expect(await alone).toEqual(await scoresOf(backbone, good))
  for (const one of [good, bad]) one.dispose()
  backbone.dispose()
})

test('calls that overlap prepare a prompt once, and have what each has alone', async () => {
  const { backbone, runs } = await watched()
  const prompts = [0, 1, 2].map((seed) =>
    createPrompt(backbone, { length: 4, rank: 2, seed }),
  )
  const [all, ...ones] = await Promise.all([
    Promise.all(prompts.map((prompt) => scoresOf(backbone, prompt))),
    ...prompts.map((prompt) => scoresOf(backbone, prompt)),
  ])
  expect(ones).toEqual(all)
  expect(runs()).toBe(3)
  for (const prompt of prompts) prompt.dispose()
  backbone.dispose()
})

test('what is kept goes with the backbone', async () => {
  const before = await settledMemory()
  const backbone = await load()
  const prompt = createPrompt(backbone, { length: 4, rank: 2 })
  await scoresOf(backbone, prompt)
  prompt.dispose()
  backbone.dispose()
  const after = await settledMemory()
  expect(after.tensors).toBeLessThanOrEqual(before.tensors)
  expect(after.bytes).toBeLessThanOrEqual(before.bytes)
})

test('a call that failed leaves the next one right', async () => {
  const { backbone, runs } = await watched()
  const prompt = createPrompt(backbone, { length: 4, rank: 2 })
  const run = backbone.run
  backbone.run = () => Promise.reject(new Error('no memory'))
  await expect(scoresOf(backbone, prompt)).rejects.toThrow('no memory')
  backbone.run = run
  await scoresOf(backbone, prompt)
  expect(runs()).toBe(1)
  prompt.dispose()
  backbone.dispose()
})
