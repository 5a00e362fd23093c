// What transformers and PyTorch compute with soft prompts on every checkpoint in test/fixtures
// (make_gpt2_prompts.py, make_t5.py), and the same computed here.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Backbone,
  type BackboneDType,
  loadBackbone,
  type Tokenizer,
} from '../../lib/backbone/index.js'
import { generate } from '../../lib/inference/index.js'
import { type Placement, Prompt } from '../../lib/prompt/index.js'
import { createTask } from '../../lib/task/index.js'
import { openSafetensors, type Tensor, tidy } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { CHECKPOINTS, distance, fixture, golden, logitsOf } from '../backbone/golden.js'
import { batchLogits, goldenT5, T5_CHECKPOINTS } from '../backbone/golden-t5.js'

export const ALL = [...CHECKPOINTS, ...T5_CHECKPOINTS]
export type Name = (typeof ALL)[number]

export const FACTORS = { full: ['X'], 'lopt-1': ['U', 'V'] }
export type Method = keyof typeof FACTORS
export const CASES = (['full', 'lopt-1'] as const).flatMap((method) =>
  (['prefix', 'suffix'] as const).map((placement) => ({ method, placement })),
)

export interface PromptGolden {
  /** Mean absolute error of transformers' bfloat16 logits. */
  bfloat16Error: number
  texts: string[]
  textIds: number[][]
  labels: string[]
  labelIds: number[][]
  learningRate: number
  generated: Generated[]
  value(name: string): Tensor
}

interface Generated {
  inputIds: number[]
  options: Record<string, number>
  newIds: number[]
  stopped: boolean
}

function isT5(name: Name): name is (typeof T5_CHECKPOINTS)[number] {
  return (T5_CHECKPOINTS as readonly string[]).includes(name)
}

export function promptGolden(name: Name): PromptGolden {
  const stem = isT5(name) ? 'expected' : 'prompts'
  const path = (extension: string) => join(fixture(name), `${stem}.${extension}`)
  const file = openSafetensors(path('safetensors'))
  const described = JSON.parse(readFileSync(path('json'), 'utf8'))
  return { ...described, value: (key: string) => file.tensor(key) }
}

export function goldenPrompt(
  { value }: PromptGolden,
  { method, placement }: { method: Method; placement: Placement },
  backbone: Backbone,
): Prompt {
  const factors = FACTORS[method].map((name) => [
    name,
    value(`${method}.${name}`).clone(),
  ])
  const { hiddenSize } = backbone.config
  const config = { method, placement, hiddenSize, backbone: backbone.fingerprint }
  return new Prompt(
    {
      ...config,
      length: 4,
      rank: method === 'full' ? 0 : 2,
      activation: 'relu',
      activationThreshold: 0.1,
    },
    Object.fromEntries(factors) as Record<string, Tensor>,
  )
}

/** Logits and golden logits (transformers' float32) of each of the fixture's texts. */
async function logitPairs(backbone: Backbone, name: Name): Promise<[Tensor, Tensor][]> {
  if (isT5(name) && backbone.kind === 'encoder-decoder') {
    const of = goldenT5(name)
    return [[await batchLogits(backbone, of), of.value('logits.float32')]]
  }
  if (backbone.kind !== 'causal') throw new Error(`${name} is no GPT-2`)
  const of = golden(name)
  const pairs: [Tensor, Tensor][] = []
  for (const [i, { ids }] of of.rows.entries()) {
    pairs.push([await logitsOf(backbone, ids), of.values(i, 'logits.float32')])
  }
  return pairs
}

/** Largest and mean absolute difference of the logits from transformers' in float32. */
export async function logitError(
  name: Name,
  dtype: BackboneDType,
): Promise<{ largest: number; mean: number }> {
  const backbone = await loadBackbone(fixture(name), { dtype })
  try {
    return await tidy(async () => {
      const pairs = (await logitPairs(backbone, name)).map(
        ([own, theirs]) => [own.to('float32'), theirs] as const,
      )
      const means = pairs.map(([a, b]) => a.sub(b).abs().mean().item())
      return {
        largest: Math.max(...pairs.map(([a, b]) => distance(a, b))),
        mean: means.reduce((sum, mean) => sum + mean, 0) / means.length,
      }
    })
  } finally {
    backbone.dispose()
  }
}

/** Largest relative difference of 30 steps' losses. */
export async function traceError(name: Name): Promise<number> {
  const of = promptGolden(name)
  const backbone = await loadBackbone(fixture(name), { dtype: 'float64' })
  const prompt = goldenPrompt(of, { method: 'lopt-1', placement: 'prefix' }, backbone)
  const task = createTask({
    train: of.texts.map((text, i) => ({ text, label: of.labels[i] as string })),
    devFraction: 0,
  })
  const losses: number[] = []
  const options = { backbone, prompt, task, steps: 30, batchSize: 3 }
  const learningRate = of.learningRate
  for await (const event of train({
    ...options,
    learningRate,
    shuffle: false,
    clip: 0,
  })) {
    if (event.type === 'step') losses.push(event.loss)
  }
  prompt.dispose()
  backbone.dispose()
  const expected = of.value('trace').toArray() as number[]
  if (losses.length !== expected.length) throw new Error(`${losses.length} steps`)
  return Math.max(
    ...losses.map((loss, i) => Math.abs(loss / (expected[i] as number) - 1)),
  )
}

/** What is generated behind the golden prompt, with and without a cache. */
export async function generated(
  name: Name,
): Promise<
  { wanted: Generated; found: { tokens: readonly number[]; stopped: boolean } }[]
> {
  const of = promptGolden(name)
  const backbone = await loadBackbone(fixture(name), { dtype: 'float64' })
  const prompt = goldenPrompt(of, { method: 'lopt-1', placement: 'prefix' }, backbone)
  const all = []
  for (const wanted of of.generated) {
    const { options } = wanted
    for (const cache of [true, false]) {
      const events = generate({
        backbone: withIds(backbone, wanted.inputIds),
        prompt,
        text: 'x',
        maxNewTokens: 20,
        minNewTokens: options.min_new_tokens ?? 0,
        numBeams: options.num_beams ?? 1,
        lengthPenalty: options.length_penalty ?? 1,
        repetitionPenalty: options.repetition_penalty ?? 1,
        cache,
      })
      for await (const event of events) {
        if (event.type !== 'done') continue
        const stopped = event.finishReason === 'stop'
        all.push({ wanted, found: { tokens: event.tokens, stopped } })
      }
    }
  }
  prompt.dispose()
  backbone.dispose()
  return all
}

/** The backbone with a tokenizer that gives these ids for any text. */
function withIds(backbone: Backbone, ids: number[]): Backbone {
  const tokenizer: Tokenizer = new Proxy(backbone.tokenizer, {
    get: (target, key) => (key === 'encode' ? () => ids : member(target, key)),
  })
  return new Proxy(backbone, {
    get: (target, key) => (key === 'tokenizer' ? tokenizer : member(target, key)),
  })
}

function member(target: object, key: string | symbol): unknown {
  const value: unknown = Reflect.get(target, key, target)
  return typeof value === 'function' ? value.bind(target) : value
}
