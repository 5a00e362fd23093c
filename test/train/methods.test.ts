// Golden values: test/fixtures/make_methods.py (PyTorch 2.13, transformers 5.18, float64), whose T5
// prefix is checked against PEFT's there.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { createPromptSet, encodeLabels, encodeTexts } from '../../lib/inference/index.js'
import { createPrompt, METHOD_NAMES, type Prompt } from '../../lib/prompt/index.js'
import { setNumThreads, type Tensor, tidy } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { trainingLosses } from '../../lib/train/loss.js'
import { fixture } from '../backbone/golden.js'
import { relativeError } from '../inference/golden-prompts.js'
import { golden, goldenPrompt, task, value } from './golden-methods.js'
import { bytesOf, run } from './small-runs.js'

const backbones: Record<string, Backbone> = {}
beforeAll(async () => {
  await setNumThreads(1)
  for (const name of Object.keys(golden.backbones)) {
    backbones[name] = await loadBackbone(fixture(name), { dtype: 'float64' })
  }
})
afterAll(() => {
  for (const backbone of Object.values(backbones)) backbone.dispose()
})

/** The loss of the rows of the fixture, with its graph. */
async function lossOf(
  backbone: Backbone,
  prompt: Prompt,
  fastPaths: boolean,
): Promise<Tensor> {
  const labels = encodeLabels(backbone, task)
  const encoded = await encodeTexts(backbone, task.template, task.train, 40)
  const rows = encoded.map(({ ids }, label) => {
    return {
      text: ids,
      length: ids.length,
      target: labels.ids[label] as readonly number[],
      label,
    }
  })
  const prepared = createPromptSet(backbone, [prompt], { fastPaths })
  const [loss] = await trainingLosses(
    { objective: 'lm', meanOver: 'rows' },
    backbone,
    prepared.layouts,
    [rows],
    labels,
  )(prepared)
  return loss as Tensor
}

describe('loss and gradients are those of PyTorch', () => {
  const cases = golden.cases.flatMap((each) => [
    { ...each, fastPaths: true },
    { ...each, fastPaths: false },
  ])

  test.each(cases)('$key, fast paths $fastPaths', async (each) => {
    await tidy(async () => {
      const backbone = backbones[each.backbone] as Backbone
      const { key, method, placement, fastPaths } = each
      const prompt = goldenPrompt(each.backbone, method, placement, backbone)
      const loss = await lossOf(backbone, prompt, fastPaths)
      const expected = value(`${key}.rowLosses`).mean().item()
      expect(Math.abs(loss.item() - expected) / expected).toBeLessThan(1e-12)
      await loss.backward()
      for (const [name, parameter] of Object.entries(prompt.parameters)) {
        const gradient = (await parameter.grad()) as Tensor
        const error = relativeError(gradient, value(`${key}.grad.${name}`))
        expect(error, name).toBeLessThan(1e-9)
      }
      for (const buffer of Object.values(prompt.buffers)) {
        expect(await buffer.grad()).toBeNull()
      }
      prompt.dispose()
    })
  })
})

describe('training gives the losses of PyTorch', () => {
  test.each(golden.traces)('$key', async ({ key, backbone: name, method }) => {
    const backbone = backbones[name] as Backbone
    const prompt = goldenPrompt(name, method, 'prefix', backbone)
    const losses: number[] = []
    for await (const event of train({
      backbone,
      prompt,
      task,
      steps: 30,
      batchSize: 3,
      shuffle: false,
      learningRate: 0.01,
      learningRates: method === 'dept' ? { A: 0.002, B: 0.002 } : {},
      clip: 0,
    })) {
      if (event.type === 'step') losses.push(event.loss)
    }
    tidy(() => {
      const expected = value(`${key}.losses`).toArray() as number[]
      expect(losses.length).toBe(30)
      losses.forEach((loss, i) => {
        expect(Math.abs(loss - (expected[i] as number)), `step ${i}`).toBeLessThan(1e-8)
      })
      for (const [part, parameter] of Object.entries(prompt.parameters)) {
        const final = value(`${key}.final.${part}`)
        expect(relativeError(parameter.detach(), final), part).toBeLessThan(1e-8)
      }
    })
    prompt.dispose()
  })
})

describe.each(Object.keys(golden.backbones))('a step on %s', (name) => {
  test.each(METHOD_NAMES)('changes the prompt of %s and nothing else', async (method) => {
    const backbone = backbones[name] as Backbone
    const before = await sums(backbone)
    const prompt = createPrompt(backbone, { method, length: 4, rank: 2, init: 'random' })
    const fixed = Object.values(prompt.buffers).map((tensor) => tensor.data())
    const start = bytesOf(prompt)
    await run({ backbone, prompt, steps: 2, evalEvery: 0 })
    bytesOf(prompt).forEach((now, i) => {
      expect(now, Object.keys(prompt.parameters)[i]).not.toBe(start[i])
    })
    expect(Object.values(prompt.buffers).map((tensor) => tensor.data())).toEqual(fixed)
    expect(await sums(backbone)).toEqual(before)
    prompt.dispose()
  })
})

async function sums(backbone: Backbone): Promise<number[]> {
  return tidy(() =>
    [...backbone.parameters().values()].map((parameter) =>
      parameter.detach().square().sum().item(),
    ),
  )
}
