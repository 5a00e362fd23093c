// Golden values of the methods beyond LoPT on gpt2-plain and t5-gated, made by
// test/fixtures/make_methods.py with PyTorch and transformers in float64, each row alone and unpadded;
// and the prompts that they are of.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Backbone } from '../../lib/backbone/index.js'
import { type MethodName, type Placement, Prompt } from '../../lib/prompt/index.js'
import { METHODS } from '../../lib/prompt/methods/index.js'
import { createTask } from '../../lib/task/index.js'
import { openSafetensors, type Tensor } from '../../lib/torch/index.js'

const path = (name: string) =>
  fileURLToPath(new URL(`../fixtures/methods/methods.${name}`, import.meta.url))

export const golden = JSON.parse(readFileSync(path('json'), 'utf8')) as {
  length: number
  rank: number
  bottleneck: number
  textTokens: number
  alpha: number
  texts: string[]
  labels: string[]
  backbones: Record<
    string,
    { hiddenSize: number; layers: number; heads: number; headSize: number }
  >
  cases: { key: string; backbone: string; method: MethodName; placement: Placement }[]
  traces: { key: string; backbone: string; method: MethodName }[]
  fineTunings: {
    key: string
    backbone: string
    pattern: 'all' | 'bias' | 'embedding'
    /** Norm of each gradient, and its product with the weights. */
    gradients: Record<string, [number, number]>
  }[]
}

const file = openSafetensors(path('safetensors'))

export function value(key: string): Tensor {
  return file.tensor(key)
}

export const task = createTask({
  train: golden.texts.map((text, i) => ({ text, label: golden.labels[i] as string })),
  labels: golden.labels,
  devFraction: 0,
})

/** A prompt of the fixture, in the backbone's dtype. */
export function goldenPrompt(
  name: string,
  method: MethodName,
  placement: Placement,
  backbone: Backbone,
): Prompt {
  const { hiddenSize, layers, heads, headSize } = golden.backbones[
    name
  ] as (typeof golden.backbones)[string]
  const uses = METHODS[method].uses
  const config = {
    method,
    length: golden.length,
    rank: uses.includes('rank') ? golden.rank : 0,
    hiddenSize,
    placement,
    activation: 'relu',
    activationThreshold: 0.1,
    bottleneck: golden.bottleneck,
    textTokens: golden.textTokens,
    alpha: golden.alpha,
    layers,
    heads,
    headSize,
    backbone: backbone.fingerprint,
  } as const
  const prefix = `${name}.${method}.`
  const names = file.names.filter(
    (key) => key.startsWith(prefix) && key.split('.').length === 3,
  )
  const factors = names
    .filter((key) => !key.endsWith('.rowLosses'))
    .map((key) => [key.slice(prefix.length), value(key).to(backbone.dtype).clone()])
  return new Prompt(config, Object.fromEntries(factors) as Record<string, Tensor>)
}
