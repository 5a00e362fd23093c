// One step's gradients, in two halves: rows become tensors first, and wait there for their turn, while another
// step is still computed. Knows no optimizer and no event.

import type { Backbone } from '../backbone/index.js'
import {
  backward,
  type PreparedPrompt,
  type PromptLayout,
  preparePrompt,
} from '../inference/index.js'
import type { LabelTokens } from '../task/index.js'
import { clipGradNorm, type Tensor, tidy } from '../torch/index.js'
import type { Learner } from './learner.js'
import { type TrainingRow, trainingLoss } from './loss.js'
import type { TrainSettings } from './options.js'
import type { Profiler } from './profile.js'

/** What the steps of a run have in common. */
export interface StepParts {
  readonly backbone: Backbone
  readonly learner: Learner
  readonly layout: PromptLayout
  readonly labels: LabelTokens
  readonly settings: TrainSettings
  readonly profiler: Profiler
}

export interface BegunStep {
  /** Computes the batch's mean loss and leaves its clipped gradients in the learner's parameters. */
  run(): Promise<{ loss: number; gradNorm: number }>
  /** Settles once gradients are being computed, of the first part where there are several. */
  readonly backwardAsked: Promise<void>
  /** In place of `run`: frees the tensors. */
  cancel(): Promise<void>
}

/** Makes the batch's own tensors. What else a step does waits for `run`. */
export function beginStep(batch: readonly TrainingRow[], parts: StepParts): BegunStep {
  const { learner, settings, profiler } = parts
  const start = deferred<void>()
  const asked = deferred<void>()
  const result = tidy(async () => {
    const pieces = split(batch, settings.accumulate)
    const shares = pieces.map((rows) => rows.length / batch.length)
    let turn: Promise<unknown> = start.promise
    const means = pieces.map((rows, i) => {
      const mean = partOf(rows, shares[i] as number, turn, asked.resolve, parts)
      turn = mean
      return mean
    })
    // Read once all is asked for: a value read between two parts would stall a GPU there.
    const losses = await Promise.all(means)
    const norm = await profiler.phase('optimizer', () =>
      clipGradNorm(
        Object.values(learner.parameters),
        settings.clip || Number.POSITIVE_INFINITY,
      ),
    )
    const [gradNorm, ...values] = await Promise.all([norm, ...losses].map(scalarOf))
    const loss = values.reduce((sum, value, i) => sum + (shares[i] as number) * value, 0)
    return { loss, gradNorm: gradNorm as number }
  })
  // Whoever runs the step is told; nobody may.
  result.catch(() => {})
  start.promise.catch(() => {})
  return {
    run() {
      start.resolve()
      return result
    },
    backwardAsked: asked.promise,
    async cancel() {
      start.reject(new Error('The step was cancelled'))
      await result.catch(() => {})
    },
  }
}

/**
 * Some rows of a batch, when it is their turn: their mean loss, []; `share` times its gradients are added to
 * the parameters' own. In a scope of its own: a part's tensors, but those of its rows, are freed before the next
 * part's are made.
 */
async function partOf(
  rows: readonly TrainingRow[],
  share: number,
  turn: Promise<unknown>,
  onBackward: () => void,
  { backbone, learner, layout, labels, settings, profiler }: StepParts,
): Promise<Tensor> {
  return await tidy(async () => {
    const { prompt } = learner
    const { textStore } = layout
    const prepared = deferred<PreparedPrompt>()
    const pending = { ...layout, prepared: prepared.promise }
    const loss = trainingLoss(settings.objective, backbone, pending, rows, labels)
    loss.catch(() => {}) // its turn may never come
    await turn
    const ready = await profiler.phase('prompt', () =>
      preparePrompt(backbone, prompt, { ...settings, textStore, once: true }),
    )
    prepared.resolve(ready)
    const mean = await profiler.phase('loss', () => loss)
    const done = profiler.phase('backward', () => backward(ready, mean.mul(share)))
    onBackward()
    await done
    return mean.detach()
  })
}

async function scalarOf(scalar: Tensor): Promise<number> {
  return (await scalar.read())[0] as number
}

function split<T>(batch: readonly T[], count: number): T[][] {
  const size = Math.ceil(batch.length / count)
  return Array.from({ length: Math.ceil(batch.length / size) }, (_, i) =>
    batch.slice(i * size, (i + 1) * size),
  )
}

function deferred<T>() {
  let resolve!: (value: T | PromiseLike<T>) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue
    reject = onError
  })
  return { promise, resolve, reject }
}
