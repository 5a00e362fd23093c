// What the results table is made of: models, tasks, methods, the shared grid of learning rates, seeds.

/** P virtual tokens, rank R: the same for every method that has it. */
export const LENGTH = 20
export const RANK = 4

export const METHODS = ['lopt-1', 'lopt-2', 'full']

/** One grid for every method and task; the choice is made on dev with seed 0. */
export const LEARNING_RATES = [0.03, 0.1, 0.3, 1]

const topics = {
  metric: 'accuracy',
  training: { steps: 800, batchSize: 16, evalEvery: 200, schedule: 'linear' },
}

// Ham and spam differ in length: batches by length differ in their labels, which slowed learning on dev.
const spam = {
  metric: 'macroF1',
  training: {
    steps: 1200,
    batchSize: 16,
    evalEvery: 300,
    schedule: 'linear',
    maxLength: 64,
    batchByLength: false,
  },
}

/** The models that ship, each with its tasks. */
export const MODELS = {
  'nano-gpt2': { topics, spam },
  'nano-t5': { topics },
}

/** Seeds of a method on a task: more where the README compares two of them. */
export function seedsOf(model, task, method) {
  const compared = model === 'nano-gpt2' && task === 'topics' && method !== 'lopt-2'
  return compared ? [0, 1, 2, 3, 4] : [0, 1, 2]
}
