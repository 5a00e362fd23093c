// Fine-tuning of a backbone's own weights. Golden values: test/fixtures/make_methods.py (PyTorch 2.13,
// transformers 5.18, float64).

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  createPromptSet,
  encodeLabels,
  encodeTexts,
  labelLogProbabilities,
} from '../../lib/inference/index.js'
import { loadWeights, saveWeights, selectWeights } from '../../lib/run/index.js'
import { type Tensor, tidy } from '../../lib/torch/index.js'
import { evaluate, train } from '../../lib/train/index.js'
import { fixture } from '../backbone/golden.js'
import { temporaryFolder } from '../backbone/temporary.js'
import { golden, task as goldenTask, value } from './golden-methods.js'
import { loadSmall, run, small, task } from './small-runs.js'

const patterns = { all: /./, bias: /bias$/, embedding: /^(wte|shared)\.weight$/ }

describe('is that of PyTorch:', () => {
  test.each(golden.fineTunings)('$key', async (each) => {
    const backbone = await loadBackbone(fixture(each.backbone), { dtype: 'float64' })
    const weights = selectWeights(backbone, patterns[each.pattern])

    await backbone.setTrainable(weights.pattern)
    await tidy(async () => {
      const labels = encodeLabels(backbone, goldenTask)
      const texts = await encodeTexts(backbone, '{text}', goldenTask.train, 40)
      const rows = texts.map(({ ids }, i) => ({
        text: ids,
        labels: [labels.ids[i] as readonly number[]],
        prompt: 0,
      }))
      const prepared = createPromptSet(backbone, [null])
      const loss = (
        await labelLogProbabilities(backbone, prepared.layouts, rows)(prepared)
      )
        .sum()
        .div(-3)
      await loss.backward()
      for (const [name, [norm, product]] of Object.entries(each.gradients)) {
        const parameter = weights.parameters[name] as Tensor
        const gradient = (await parameter.grad()) as Tensor
        expect(Math.abs(gradient.norm().item() / norm - 1), name).toBeLessThan(1e-9)
        const found = gradient.mul(parameter.detach()).sum().item()
        expect(Math.abs(found - product) / norm, name).toBeLessThan(1e-9)
        await parameter.zeroGrad()
      }
    })
    await backbone.setTrainable(false)

    const losses: number[] = []
    for await (const event of train({
      backbone,
      weights,
      task: goldenTask,
      steps: 10,
      batchSize: 3,
      shuffle: false,
      learningRate: 0.003,
      clip: 0,
    })) {
      if (event.type === 'step') losses.push(event.loss)
    }
    const expected = tidy(() => value(`${each.key}.losses`).toArray() as number[])
    losses.forEach((loss, i) => {
      expect(Math.abs(loss - (expected[i] as number)), `step ${i}`).toBeLessThan(1e-8)
    })
    expect(losses.length).toBe(10)
    backbone.dispose()
  })
})

function bytesOf(backbone: Backbone): Map<string, string> {
  const all = [...backbone.parameters()]
  return new Map(
    all.map(([name, t]) => [
      name,
      Buffer.from((t.data() as Float32Array).buffer).toString('hex'),
    ]),
  )
}

/** Names of the parameters that differ. */
function changed(one: Map<string, string>, other: Map<string, string>): string[] {
  return [...one.keys()].filter((name) => one.get(name) !== other.get(name))
}

async function tuned(backbone: Backbone, pattern: RegExp, out?: string) {
  const weights = selectWeights(backbone, pattern)
  const events = []
  const options = { backbone, weights, task, steps: 6, batchSize: 4, evalEvery: 3 }
  for await (const event of train({ ...options, learningRate: 0.01, out })) {
    events.push(event)
  }
  return { weights, events }
}

describe('fine-tuning', () => {
  test('of the biases changes them and nothing else, and freezes the backbone again', async () => {
    const backbone = await loadSmall()
    const before = bytesOf(backbone)
    const { weights, events } = await tuned(backbone, /bias$/)
    const names = Object.keys(weights.parameters)
    expect(changed(before, bytesOf(backbone)).sort()).toEqual(names.sort())
    expect(events[0]).toMatchObject({ trainableParameters: weights.trainableParameters })
    for (const [name, parameter] of backbone.parameters()) {
      expect(parameter.requiresGrad, name).toBe(false)
      expect(await parameter.grad(), name).toBeNull()
    }
    backbone.dispose()
  })

  test('leaves a file that gives the same backbone again', async () => {
    const out = join(temporaryFolder(), 'run')
    const backbone = await loadSmall()
    const fresh = bytesOf(backbone)
    const { weights, events } = await tuned(backbone, /./, out)
    const path = join(out, 'weights.lopt.safetensors')
    expect(events.at(-1)).toMatchObject({ type: 'done', path })
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))
    expect(config.prompt).toBeNull()
    expect(config.weights).toEqual({
      pattern: '.',
      flags: '',
      trainableParameters: weights.trainableParameters,
    })

    const other = await loadSmall()
    const loaded = await loadWeights(path, other)
    expect(changed(bytesOf(other), bytesOf(backbone))).toEqual([])
    expect(changed(bytesOf(other), fresh).length).toBeGreaterThan(0)
    expect(loaded.task).toEqual(weights.task)
    // The token embedding is another now, and a prompt of the one before does not fit.
    expect(other.fingerprint).toBe(backbone.fingerprint)
    expect(other.fingerprint).not.toBe(weights.fingerprint)
    const of = (each: Backbone) => evaluate({ backbone: each, prompt: null, task })
    expect(await of(other)).toEqual(await of(backbone))
    for (const each of [backbone, other]) each.dispose()
  })

  test('puts the best weights back at the end', async () => {
    const backbone = await loadSmall()
    const { events } = await tuned(backbone, /./)
    const done = events.at(-1)
    const best = events.find(
      (event) =>
        event.type === 'eval' && done?.type === 'done' && event.step === done.bestStep,
    )
    const found = await evaluate({ backbone, prompt: null, task, split: 'dev' })
    expect(best).toMatchObject({ accuracy: found.accuracy })
    expect(best?.type === 'eval' && best.loss).toBeCloseTo(found.loss, 5)
    backbone.dispose()
  })

  test('is refused with a prompt besides, and for weights of another backbone', async () => {
    const backbone = await loadSmall()
    const other = await loadSmall()
    const weights = selectWeights(other, /bias$/)
    await expect(
      run({ backbone, weights: selectWeights(backbone, /./) }),
    ).rejects.toThrow('Give what is to be trained: either prompt, prompts or weights')
    await expect(train({ backbone, task }).next()).rejects.toThrow(
      'Give what is to be trained: either prompt, prompts or weights',
    )
    await expect(train({ backbone, weights, task }).next()).rejects.toThrow(
      'Expected weights to be those of the backbone that is given',
    )
    expect(() => selectWeights(backbone, /nothing/)).toThrow(
      'Expected a pattern that matches a parameter',
    )
    for (const each of [backbone, other]) each.dispose()
  })

  test('weights of another backbone are refused, and it stays as it was', async () => {
    const path = join(temporaryFolder(), 'weights.lopt.safetensors')
    const backbone = await loadSmall()
    const other = await loadBackbone(fixture('gpt2-untied'))
    await saveWeights(path, selectWeights(other, /bias$/))
    const before = bytesOf(backbone)
    await expect(loadWeights(path, backbone)).rejects.toThrow(
      `${path}: its weights were trained from the backbone ${other.fingerprint}`,
    )
    expect(changed(before, bytesOf(backbone))).toEqual([])
    writeFileSync(path, 'no safetensors')
    await expect(loadWeights(path, backbone)).rejects.toMatchObject({
      code: 'ERR_PROMPT_FILE',
    })
    for (const each of [backbone, other]) each.dispose()
  })
})

describe('groups', () => {
  test('learn at rates of their own', async () => {
    const backbone = await loadSmall()
    const moved = async (learningRates: Record<string, number>) => {
      const prompt = small(backbone)
      const U = (prompt.parameters.U as Tensor).detach().clone()
      const V = (prompt.parameters.V as Tensor).detach().clone()
      const options = { backbone, prompt, steps: 1, evalEvery: 0, learningRate: 0.01 }
      await run({ ...options, learningRates })
      const by = (now: Tensor | undefined, before: Tensor) =>
        tidy(() => (now as Tensor).detach().sub(before).abs().amax().item())
      const found = [by(prompt.parameters.U, U), by(prompt.parameters.V, V)]
      prompt.dispose()
      return found as [number, number]
    }
    // Adam's first step is the learning rate, whatever the gradient.
    const [u, v] = await moved({ V: 0.5 })
    expect(u).toBeCloseTo(0.01, 4)
    expect(v).toBeCloseTo(0.5, 3)
    const [uAll] = await moved({ '*': 0.2 })
    expect(uAll).toBeCloseTo(0.2, 3)
    await expect(moved({ W: 1 })).rejects.toThrow(
      'Expected learningRates to name trained tensors (U, V) but received W',
    )
    backbone.dispose()
  })

  test('decay at rates of their own', async () => {
    const backbone = await loadSmall()
    const prompt = small(backbone)
    const before = (prompt.parameters.U as Tensor).detach().clone()
    await run({
      backbone,
      prompt,
      steps: 1,
      evalEvery: 0,
      optimizer: 'adamw',
      learningRate: 1e-9,
      learningRates: { U: 1 },
      weightDecays: { U: 1 },
    })
    // lr · weight decay = 1 leaves nothing but Adam's own step of 1
    const left = tidy(() => (prompt.parameters.U as Tensor).abs().sub(1).abs().amax())
    expect(left.item()).toBeLessThan(1e-2)
    expect(before.abs().amin().item()).toBeLessThan(0.5)
    prompt.dispose()
    backbone.dispose()
  })

  test('Adafactor trains a prompt', async () => {
    const backbone = await loadSmall()
    const { events, prompt } = await run({
      backbone,
      optimizer: 'adafactor',
      learningRate: 0.3,
      steps: 40,
    })
    const losses = events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) / 2)
    prompt.dispose()
    backbone.dispose()
  })
})
