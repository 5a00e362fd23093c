// A task and runs small enough for tests: gpt2-plain of test/fixtures, 24 rows, prompts [4, 32].

import {
  type Backbone,
  type BackboneDType,
  createBackbone,
  loadBackbone,
} from '../../lib/backbone/index.js'
import { loadTokenizer } from '../../lib/backbone/tokenizer.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import type { TrainEvent } from '../../lib/run/index.js'
import { createTask } from '../../lib/task/index.js'
import { setNumThreads, type Tensor } from '../../lib/torch/index.js'
import { type TrainOptions, train } from '../../lib/train/index.js'
import { fixture } from '../backbone/golden.js'

// Which animal a row names decides: learnable, and rows of 3 to 11 tokens.
const animals = ['dog', 'cat', 'film', 'plant']
export const rows = Array.from({ length: 24 }, (_, i) => ({
  text: `${'the '.repeat(i % 5)}${animals[i % 4]} was`,
  label: i % 2 === 0 ? 'good' : 'bad',
}))

export const task = createTask({
  train: rows,
  dev: rows.slice(0, 8),
  test: rows.slice(8, 16),
})

/** gpt2-plain: H 32, 64 positions. */
export async function loadSmall(dtype: BackboneDType = 'float32'): Promise<Backbone> {
  // Ops this small gain nothing from a second thread, and wait for it where cores are busy.
  await setNumThreads(1)
  return await loadBackbone(fixture('gpt2-plain'), { dtype })
}

/**
 * A fresh T5, H 24. Its float32 gradients are right to 1e-5; those of the fixtures, whose weights are large, to
 * 1e-4 only.
 */
export async function loadSmallT5(dtype: BackboneDType = 'float32'): Promise<Backbone> {
  await setNumThreads(1)
  const special = { eos_token_id: 1, pad_token_id: 0 }
  const tokenizer = await loadTokenizer(fixture('t5-plain'), { config: special })
  const config = {
    modelType: 't5',
    hiddenSize: 24,
    heads: 3,
    headSize: 10,
    innerSize: 32,
    layers: 2,
    decoderLayers: 3,
  } as const
  return await createBackbone(config, { seed: 0, tokenizer, dtype })
}

export function small(backbone: Backbone): Prompt {
  return createPrompt(backbone, { length: 4, rank: 2 })
}

/** Six steps with two evaluations, unless `options` say otherwise. */
export async function run(
  options: Partial<TrainOptions> & { backbone: Backbone },
): Promise<{ events: TrainEvent[]; prompt: Prompt }> {
  const prompt = options.prompt ?? small(options.backbone)
  const events: TrainEvent[] = []
  const settings = { task, steps: 6, batchSize: 4, evalEvery: 3, ...options, prompt }
  for await (const event of train(settings)) events.push(event)
  return { events, prompt }
}

export function bytes(t: Tensor): string {
  return Buffer.from((t.data() as Float32Array).buffer).toString('hex')
}

export function bytesOf(prompt: Prompt): string[] {
  return Object.values(prompt.parameters).map(bytes)
}
