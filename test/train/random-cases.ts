// Random rows, labels and prompts for the tests that every fast path gives what the plain path gives.

import type { Backbone } from '../../lib/backbone/index.js'
import {
  backward,
  createPromptSet,
  type PromptSetOptions,
} from '../../lib/inference/index.js'
import {
  createPrompt,
  type MethodName,
  type Placement,
  type Prompt,
} from '../../lib/prompt/index.js'
import type { Objective } from '../../lib/run/index.js'
import type { LabelTokens } from '../../lib/task/index.js'
import { type Tensor, tidy } from '../../lib/torch/index.js'
import { type TrainingRow, trainingLosses } from '../../lib/train/loss.js'

/** Numbers in 0 (included) to 1 that a seed fixes: a 32-bit linear congruential generator. */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

export interface RandomCase {
  readonly prompt: Prompt
  readonly rows: TrainingRow[]
  readonly labels: LabelTokens
  readonly objective: Objective
}

/** A prompt of 1 to 6 vectors, 1 to 7 rows of 1 to 20 tokens, 2 to 4 labels of 1 to 3 tokens. */
export function randomCase(
  backbone: Backbone,
  seed: number,
  placement: Placement,
): RandomCase {
  const next = randomNumbers(seed)
  const integer = (least: number, most: number) =>
    least + Math.floor(next() * (most - least + 1))
  const ids = (length: number) =>
    Array.from({ length }, () => integer(2, backbone.config.vocabSize - 1))
  const length = integer(1, 6)
  const method = ['lopt-1', 'lopt-2', 'full'][integer(0, 2)] as MethodName
  const each = integer(0, 1) === 0 ? () => 1 : () => integer(1, 3)
  const labelIds = Array.from({ length: integer(2, 4) }, () => ids(each()))
  const names = labelIds.map((_, i) => `label ${i}`)
  const isEven = integer(0, 3) === 0 // no padding anywhere
  const T = integer(1, 20)
  return {
    prompt: createPrompt(backbone, {
      method,
      activation: 'tanh',
      placement,
      length,
      rank: integer(1, length),
      init: 'random',
      seed,
    }),
    rows: Array.from({ length: integer(1, 7) }, () => {
      const text = ids(isEven ? T : integer(1, 20))
      const label = integer(0, names.length - 1)
      return { text, length: text.length, target: labelIds[label] as number[], label }
    }),
    labels: {
      labels: names,
      words: names,
      ids: labelIds,
      singleToken: labelIds.every((label) => label.length === 1),
    },
    objective: integer(0, 1) === 0 ? 'lm' : 'verbalizer',
  }
}

export interface LossAndGradients {
  readonly loss: number
  readonly gradients: Float64Array[]
}

/** Of a case's rows as one batch. */
export async function lossAndGradients(
  backbone: Backbone,
  { prompt, rows, labels, objective }: RandomCase,
  options: PromptSetOptions,
): Promise<LossAndGradients> {
  return await tidy(async () => {
    const set = createPromptSet(backbone, [prompt], options)
    const [loss] = await trainingLosses(
      { objective, meanOver: 'rows' },
      backbone,
      set.layouts,
      [rows],
      labels,
    )(set)
    await backward(set, loss as Tensor)
    const gradients: Float64Array[] = []
    for (const parameter of Object.values(prompt.parameters)) {
      const gradient = (await parameter.grad()) as Tensor
      gradients.push(Float64Array.from(gradient.data() as Float64Array))
      await parameter.zeroGrad()
    }
    return { loss: (loss as Tensor).item(), gradients }
  })
}

/** The largest difference of two losses and their gradients, each relative to its size. */
export function difference(found: LossAndGradients, plain: LossAndGradients): number {
  const norm = (values: Float64Array) => Math.hypot(...values)
  const relative = plain.gradients.map((expected, i) => {
    const other = found.gradients[i] as Float64Array
    const gap = norm(expected.map((value, j) => value - (other[j] as number)))
    return gap / Math.max(norm(expected), 1e-30)
  })
  return Math.max(Math.abs(found.loss - plain.loss) / Math.abs(plain.loss), ...relative)
}
