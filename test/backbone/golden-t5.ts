// Golden values of the T5 checkpoints in test/fixtures, made by make_t5.py there with transformers
// (eager attention).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type EncoderDecoderBackbone,
  type LoadBackboneOptions,
  loadBackbone,
} from '../../lib/backbone/index.js'
import { openSafetensors, type Tensor } from '../../lib/torch/index.js'
import { fixture } from './golden.js'

export const T5_CHECKPOINTS = [
  't5-plain',
  't5-gated',
  't5-old-tied',
  't5-old-untied',
  't5-buckets',
  'mt5',
] as const

/** `loadBackbone` of a checkpoint that is a T5. */
export async function loadT5(
  name: string,
  options?: LoadBackboneOptions,
): Promise<EncoderDecoderBackbone> {
  const backbone = await loadBackbone(fixture(name), options)
  if (backbone.kind !== 'encoder-decoder') throw new Error(`${name} is no T5`)
  return backbone
}

export interface GoldenT5 {
  /** Real encoder tokens of each row of `ids`. */
  lengths: number[]
  /** Mean absolute error of transformers' bfloat16 logits. */
  bfloat16Error: number
  texts: string[]
  textIds: number[][]
  labels: string[]
  /** With the end token. */
  labelIds: number[][]
  learningRate: number
  generated: {
    inputIds: number[]
    options: Record<string, number>
    newIds: number[]
    stopped: boolean
  }[]
  value(name: string): Tensor
}

export function goldenT5(name: string): GoldenT5 {
  const described = JSON.parse(readFileSync(join(fixture(name), 'expected.json'), 'utf8'))
  const file = openSafetensors(join(fixture(name), 'expected.safetensors'))
  return { ...described, value: (key: string) => file.tensor(key) }
}

/** Logits [3, K, N] of the golden batch. */
export async function batchLogits(
  backbone: EncoderDecoderBackbone,
  { value }: GoldenT5,
): Promise<Tensor> {
  const mask = value('mask')
  const decoder = value('decoder')
  const encoded = await backbone.encode({ x: await backbone.embed(value('ids')), mask })
  const { hidden } = await backbone.decode({
    x: await backbone.embed(decoder),
    cross: await backbone.crossKeyValues(encoded),
    crossMask: mask,
  })
  const logits = await backbone.head(hidden.reshape([-1, backbone.config.hiddenSize]))
  return logits.reshape([...decoder.shape, -1])
}
