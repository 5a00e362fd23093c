// Rows that texts answer. Golden values: test/fixtures/make_targets.py (PyTorch 2.13, transformers 5.18, float64): each row
// alone, with all of its logits at once.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  backward,
  createPromptSet,
  type PromptSetOptions,
  TextStore,
} from '../../lib/inference/index.js'
import { type MethodName, type Placement, Prompt } from '../../lib/prompt/index.js'
import type { MeanOver } from '../../lib/run/index.js'
import { createTask } from '../../lib/task/index.js'
import { openSafetensors, type Tensor, tidy } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { type TrainingRow, trainingLosses } from '../../lib/train/loss.js'
import { fixture } from '../backbone/golden.js'

interface Case {
  key: string
  backbone: string
  method: MethodName
  placement: Placement
  over: MeanOver
}

const path = (name: string) =>
  fileURLToPath(new URL(`../fixtures/targets/targets.${name}`, import.meta.url))
const golden = JSON.parse(readFileSync(path('json'), 'utf8')) as {
  length: number
  rank: number
  learningRate: number
  steps: number
  texts: string[]
  answers: string[]
  backbones: Record<string, { ids: number[][]; targets: number[][]; hiddenSize: number }>
  cases: Case[]
  traces: Pick<Case, 'key' | 'backbone' | 'placement'>[]
}
const file = openSafetensors(path('safetensors'))

const backbones: Record<string, Backbone> = {}
beforeAll(async () => {
  for (const name of Object.keys(golden.backbones)) {
    backbones[name] = await loadBackbone(fixture(name), { dtype: 'float64' })
  }
})
afterAll(() => {
  for (const backbone of Object.values(backbones)) backbone.dispose()
})

function goldenPrompt(name: string, method: MethodName, placement: Placement): Prompt {
  const names = method === 'full' ? ['X'] : ['U', 'V']
  const factors = names.map((factor) => [
    factor,
    file.tensor(`${name}.${method}.${factor}`).clone(),
  ])
  return new Prompt(
    {
      method,
      length: golden.length,
      rank: method === 'full' ? 0 : golden.rank,
      hiddenSize: golden.backbones[name]?.hiddenSize as number,
      placement,
      activation: 'relu',
      activationThreshold: 0.1,
      backbone: backbones[name]?.fingerprint,
    },
    Object.fromEntries(factors) as Record<string, Tensor>,
  )
}

/** Whole and in pieces of 7 positions, with fast paths and without, with layers computed again. */
const WAYS = [
  {},
  { fastPaths: false },
  { positionsAtOnce: 7 },
  { once: true, positionsAtOnce: 1 },
  { positionsAtOnce: 50, checkpointLayers: 1, kept: true },
] satisfies (PromptSetOptions & { kept?: boolean })[]

describe('losses and gradients are those of PyTorch', () => {
  const cases = golden.cases.flatMap((each) => WAYS.map((way) => ({ ...each, way })))

  test.each(cases)('$key, $way', async ({ key, method, placement, over, way, ...of }) => {
    const backbone = backbones[of.backbone] as Backbone
    const { ids = [], targets = [] } = golden.backbones[of.backbone] ?? {}
    const rows = ids.map((text, i): TrainingRow => {
      const target = targets[i] as number[]
      return { text, length: text.length + target.length, target, label: 0 }
    })
    const labels = { labels: [], words: [], ids: [], singleToken: true }
    const isKept = 'kept' in way && backbone.kind === 'causal'
    const textStore = isKept ? new TextStore(backbone) : undefined
    await tidy(async () => {
      const prompt = goldenPrompt(of.backbone, method, placement)
      const set = createPromptSet(backbone, [prompt], { ...way, textStore })
      const how = { objective: 'lm', meanOver: over } as const
      const [loss] = await trainingLosses(how, backbone, set.layouts, [rows], labels)(set)
      const expected = file.tensor(`${key}.loss`).item()
      expect(Math.abs((loss as Tensor).item() / expected - 1)).toBeLessThan(1e-9)
      await backward(set, loss as Tensor)
      for (const [name, parameter] of Object.entries(prompt.parameters)) {
        const right = file.tensor(`${key}.grad.${name}`)
        const gradient = (await parameter.grad()) as Tensor
        const error = gradient.sub(right).norm().item() / right.norm().item()
        expect(error, name).toBeLessThan(1e-9)
      }
      prompt.dispose()
    })
    textStore?.dispose()
  })
})

describe('30 steps of Adam are those of PyTorch', () => {
  const task = createTask({
    train: golden.texts.map((text, i) => ({ text, target: golden.answers[i] })),
    devFraction: 0,
  })

  test.each(golden.traces)('$key', async ({ key, backbone: name, placement }) => {
    const backbone = backbones[name] as Backbone
    const prompt = goldenPrompt(name, 'lopt-1', placement)
    const losses: number[] = []
    for await (const event of train({
      backbone,
      prompt,
      task,
      steps: golden.steps,
      batchSize: 4,
      shuffle: false,
      learningRate: golden.learningRate,
      clip: 0,
    })) {
      if (event.type === 'step') losses.push(event.loss)
    }
    const expected = file.tensor(key).toArray() as number[]
    losses.forEach((loss, i) => {
      expect(Math.abs(loss - (expected[i] as number)), `step ${i}`).toBeLessThan(1e-8)
    })
    expect(losses.length).toBe(golden.steps)
    for (const [factor, parameter] of Object.entries(prompt.parameters)) {
      const final = file.tensor(`${key}.final.${factor}`)
      const gap = tidy(() => parameter.detach().sub(final).abs().amax().item())
      expect(gap, factor).toBeLessThan(1e-8)
    }
    prompt.dispose()
  })
})
