// Several suffix prompts trained side by side on the same batches, so that the texts are run once for all
// of them. Knows no sweep and no report.

import type { CausalBackbone } from '../backbone/index.js'
import { checkAborted, checkMade, LoptError } from '../errors.js'
import {
  encodeExamples,
  isVectorsAlone,
  labelLogProbabilitiesOfMany,
  type ReuseOptions,
  TextStore,
} from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import type { Task } from '../task/index.js'
import { clipGradNorm, releaseMemory, type Tensor, tidy } from '../torch/index.js'
import { batches } from './batches.js'
import { targetIndices } from './evaluate.js'
import { createOptimizer, parameterGroups } from './optimizer.js'
import { trainSettings } from './options.js'
import { isSeenAgain } from './reuse.js'
import { type Schedule, scheduleFactor } from './schedule.js'

export interface TrainManyOptions {
  backbone: CausalBackbone
  /** Suffixes of one length; method, rank, start and learning rate may differ. Trained in place. */
  prompts: readonly Prompt[]
  task: Task
  /** Of each prompt; default: its method's. */
  learningRates?: readonly number[]
  steps?: number
  batchSize?: number
  batchTokens?: number
  clip?: number
  schedule?: Schedule
  warmupSteps?: number
  seed?: number
  shuffle?: boolean
  maxLength?: number
  batchByLength?: boolean
  reuse?: ReuseOptions
  signal?: AbortSignal
}

export interface TrainManyStep {
  readonly type: 'step'
  /** From 1. */
  readonly step: number
  /** Of each prompt, before the step; nats an example. */
  readonly losses: readonly number[]
  readonly seconds: number
}

/**
 * Trains suffix prompts on a causal backbone with objective `lm` and Adam, each as `train` would alone with
 * the same options: same batches, same losses. What does not depend on a prompt is computed once for
 * all. Evaluates nothing and saves nothing.
 *
 * @throws TypeError or RangeError for prompts or options that do not fit; LoptError
 *   `ERR_NON_FINITE_LOSS` naming the prompt, `ERR_ABORTED`.
 */
export async function* trainMany(
  options: TrainManyOptions,
): AsyncGenerator<TrainManyStep> {
  const { backbone, prompts, task, learningRates, signal, ...rest } = options
  checkPrompts(options)
  const perPrompt = prompts.map((prompt, i) => {
    const learningRate = learningRates?.[i]
    return trainSettings({
      ...rest,
      backbone,
      prompt,
      task,
      ...(learningRate !== undefined && { learningRate }),
    })
  })
  const settings = perPrompt[0] as (typeof perPrompt)[number]
  const {
    labels,
    limit,
    encoded: lists,
  } = await encodeExamples(
    backbone,
    prompts[0] as Prompt,
    task,
    [task.train] as const,
    settings,
  )
  const [encoded] = lists
  const expected = targetIndices(task, task.train)
  for (const prompt of prompts) {
    prompt.task = {
      template: task.template,
      labels: task.verbalizer,
      objective: 'lm',
      maxLength: limit,
    }
  }
  const rows = encoded.map(({ ids, candidates = labels.ids }, i) => ({
    text: ids,
    labels: [candidates[expected[i] as number] as readonly number[]],
  }))
  const textStore = new TextStore(backbone, settings.reuse)
  if (isSeenAgain(encoded, settings)) textStore.plan(rows.map(({ text }) => text))
  const optimizers = prompts.map(({ parameters }, i) =>
    createOptimizer(
      parameterGroups(parameters, perPrompt[i] as (typeof perPrompt)[number]),
      'adam',
    ),
  )
  const started = performance.now()
  try {
    for (const { optimizer } of optimizers) await optimizer.zeroGrad()
    const lengths = rows.map(({ text }) => text.length)
    const order = batches(lengths, { ...settings, byLength: settings.batchByLength })
    for (let step = 1; step <= settings.steps; step += 1) {
      checkAborted(signal)
      const batch = (order.next().value as number[]).map(
        (i) => rows[i] as (typeof rows)[number],
      )
      const losses = await tidy(async () => {
        const inputs = prompts.map((prompt) => prompt.inputs().to(backbone.dtype))
        const each = await labelLogProbabilitiesOfMany(backbone, inputs, batch, textStore)
        const means = each.sum([1]).div(-batch.length) // [K]
        // A prompt's loss depends on its own factors alone: the sum's gradients are each one's own.
        await means.sum().backward()
        for (const prompt of prompts) await clip(prompt, settings.clip)
        return Array.from(await means.read(), Number)
      })
      checkLosses(losses, step)
      const factor = scheduleFactor(settings.schedule, step - 1, settings)
      for (const { optimizer, scale } of optimizers) {
        await scale(factor)
        await optimizer.step()
        await optimizer.zeroGrad()
      }
      yield { type: 'step', step, losses, seconds: (performance.now() - started) / 1000 }
    }
  } finally {
    for (const { optimizer } of optimizers) optimizer.dispose()
    textStore.dispose()
    releaseMemory()
  }
}

async function clip(prompt: Prompt, greatest: number): Promise<Tensor> {
  const parameters = Object.values(prompt.parameters)
  return await clipGradNorm(parameters, greatest || Number.POSITIVE_INFINITY)
}

function checkLosses(losses: readonly number[], step: number): void {
  const wrong = losses.findIndex((loss) => !Number.isFinite(loss))
  if (wrong === -1) return
  throw new LoptError(
    'ERR_NON_FINITE_LOSS',
    `The loss of prompts[${wrong}] in step ${step}, ${losses[wrong]}, is not finite: lower its ` +
      'learning rate, or clip more',
  )
}

function checkPrompts(options: TrainManyOptions): void {
  const { backbone, prompts, task, learningRates } = options
  checkMade({ backbone, task })
  if (!Array.isArray(prompts)) throw new TypeError('Expected prompts to be a list')
  for (const prompt of prompts) checkMade({ prompt })
  const [first] = prompts
  if (first === undefined) throw new RangeError('Expected one prompt at least in prompts')
  if (new Set(prompts).size < prompts.length) {
    throw new RangeError('Expected each prompt once in prompts')
  }
  if (learningRates !== undefined && learningRates.length !== prompts.length) {
    throw new RangeError(
      `Expected learningRates for ${prompts.length} prompts but received ${learningRates.length}`,
    )
  }
  if (backbone.kind !== 'causal') {
    throw new TypeError("Expected a causal backbone: a T5's texts depend on the prompt")
  }
  for (const [i, prompt] of prompts.entries()) {
    const { placement, length } = prompt.config
    const isApart = tidy(() => isVectorsAlone(prompt.contribution()))
    if (placement !== 'suffix' || !isApart) {
      throw new RangeError(
        `Expected prompts[${i}] to be vectors behind the text, the placement suffix, but ` +
          `received ${prompt.config.method} as ${placement}: the text would depend on it`,
      )
    }
    if (length !== first.config.length) {
      throw new RangeError(
        `Expected prompts of one length, ${first.config.length}, but prompts[${i}] has ${length}`,
      )
    }
  }
}
