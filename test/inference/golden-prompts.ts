// Golden values of soft prompts on gpt2-plain, made by test/fixtures/make_lopt.py with PyTorch and
// transformers in float64, each row alone and unpadded; and the prompts that they are of.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Backbone } from '../../lib/backbone/index.js'
import type { ActivationName, Placement } from '../../lib/prompt/index.js'
import { type MethodName, Prompt } from '../../lib/prompt/index.js'
import { openSafetensors, type Tensor } from '../../lib/torch/index.js'

const path = (name: string) =>
  fileURLToPath(new URL(`../fixtures/lopt/lopt-golden.${name}`, import.meta.url))

interface Described {
  promptLength: number
  rank: number
  hiddenSize: number
  activations: Record<
    string,
    { activation: ActivationName; activationThreshold?: number }
  >
  rows: {
    text: string
    textIds: number[]
    label: string
    labelIds: number[]
    verbalizerTarget: number
  }[]
  verbalizer: { words: string[]; ids: number[] }
  candidates: { labels: string[]; ids: number[][] }
  parameters: Record<string, Record<string, number[]>>
  cases: {
    key: string
    method: string
    placement: Placement
    objective: 'lm' | 'verbalizer'
    loss: number
    trainable: string[]
  }[]
  scores: { key: string; method: string; placement: Placement; predictions: string[] }[]
  traces: {
    key: string
    method: string
    placement: Placement
    objective: 'lm' | 'verbalizer'
    optimizer: 'adam' | 'adamw' | 'sgd'
    options: Record<string, number | boolean>
    steps: number
    clipGradNorm: number | null
    trainable: string[]
  }[]
}

export const golden = JSON.parse(readFileSync(path('json'), 'utf8')) as Described

const file = openSafetensors(path('safetensors'))

export function value(key: string): Tensor {
  return file.tensor(key)
}

/** A prompt of the fixture, in the backbone's dtype. */
export function goldenPrompt(
  method: string,
  placement: Placement,
  backbone: Backbone,
): Prompt {
  const name = (method.startsWith('lopt-2') ? 'lopt-2' : method) as MethodName
  const { activation = 'relu', activationThreshold = 0.1 } =
    golden.activations[method] ?? {}
  const tensors = Object.keys(golden.parameters[method] as object).map((key) => [
    key,
    value(`${method}.${key}`).to(backbone.dtype).clone(),
  ])
  return new Prompt(
    {
      method: name,
      length: golden.promptLength,
      rank: name === 'full' ? 0 : golden.rank,
      hiddenSize: golden.hiddenSize,
      placement,
      activation,
      activationThreshold,
      backbone: backbone.fingerprint,
    },
    Object.fromEntries(tensors) as Record<string, Tensor>,
  )
}

/** |a - b| / |b| */
export function relativeError(a: Tensor, b: Tensor): number {
  if (a.shape.join() !== b.shape.join()) throw new Error(`${a} and ${b} differ in shape`)
  return a.sub(b).norm().item() / b.norm().item()
}

export function distance(a: Tensor, b: Tensor): number {
  if (a.shape.join() !== b.shape.join()) throw new Error(`${a} and ${b} differ in shape`)
  return a.sub(b).abs().amax().item()
}
