// What a training run changes, as the loop sees it: a prompt's factors, or a backbone's own weights.
// Knows no loss and no optimizer.

import { type Prompt, type PromptTask, savePrompt } from '../prompt/index.js'
import { PROMPT_FILE, saveWeights, type Weights } from '../run/index.js'
import type { Tensor } from '../torch/index.js'

export interface Learner {
  /** What messages call it. */
  readonly name: 'prompt' | 'model'
  /** The trained tensors. */
  readonly parameters: Readonly<Record<string, Tensor>>
  /** Tensors that go with them and stay as they are. */
  readonly fixed: Readonly<Record<string, Tensor>>
  readonly trainableParameters: number
  /** What rows are run with; null: the text alone. */
  readonly prompt: Prompt | null
  /** Name of its file in a run folder. */
  readonly fileName: string
  /** Notes what it is trained for: `save` writes it. */
  setTask(task: PromptTask): void
  save(path: string): Promise<void>
  /** Before the first step. */
  begin(): Promise<void>
  /** After the last. */
  end(): Promise<void>
}

export const WEIGHTS_FILE = 'weights.lopt.safetensors'

const nothing = async () => {}

export function promptLearner(prompt: Prompt): Learner {
  return {
    name: 'prompt',
    parameters: prompt.parameters,
    fixed: prompt.buffers,
    trainableParameters: prompt.trainableParameters,
    prompt,
    fileName: PROMPT_FILE,
    setTask: (task) => {
      prompt.task = task
    },
    save: (path) => savePrompt(path, prompt),
    begin: nothing,
    end: nothing,
  }
}

export function weightsLearner(weights: Weights): Learner {
  const { backbone, pattern } = weights
  return {
    name: 'model',
    parameters: weights.parameters,
    fixed: {},
    trainableParameters: weights.trainableParameters,
    prompt: null,
    fileName: WEIGHTS_FILE,
    setTask: (task) => {
      weights.task = task
    },
    save: (path) => saveWeights(path, weights),
    begin: () => backbone.setTrainable(pattern),
    // Frozen again: what is computed from now on builds no graph.
    end: () => backbone.setTrainable(false),
  }
}
