// The training loop: rows -> loss -> gradients of what is learned -> the optimizer's step.
// Knows no terminal and no HTTP: they consume its events.

import { join } from 'node:path'
import { LoptError } from '../errors.js'
import { encodeExamples, promptLayout } from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import { deviceMemory, releaseMemory } from '../torch/index.js'
import { batches } from './batches.js'
import type { RunState } from './checkpoint.js'
import { evaluateEncoded, targetIndices } from './evaluate.js'
import { promptLearner, weightsLearner } from './learner.js'
import type { TrainingRow } from './loss.js'
import { FIGURE_OF, type Figures, figuresOf } from './metrics.js'
import { createOptimizer, parameterGroups } from './optimizer.js'
import { type TrainOptions, type TrainSettings, trainSettings } from './options.js'
import { Profiler } from './profile.js'
import { createTextStore, type Reuse } from './reuse.js'
import { runConfig } from './run-config.js'
import { RunRecord } from './run-record.js'
import { scheduleFactor } from './schedule.js'
import { Snapshot } from './snapshot.js'
import { type BegunStep, beginStep } from './step.js'

export type TrainEvent =
  | {
      readonly type: 'start'
      readonly steps: number
      readonly trainableParameters: number
      readonly trainRows: number
      readonly devRows: number
      /** Dev rows that were taken from the training rows. */
      readonly heldOut: number
      /** Training rows whose text was cut to fit. */
      readonly truncated: number
      readonly learningRate: number
      /** The step of the checkpoint that the run goes on from; not in the log. */
      readonly resumedFrom?: number
      /** Where texts are kept: a suffix prompt on a causal model. */
      readonly reuse?: Reuse
    }
  | {
      readonly type: 'step'
      /** From 1. */
      readonly step: number
      /** Of this step's batch, before the step; nats an example. */
      readonly loss: number
      /** Norm of all gradients together, before clipping. */
      readonly gradNorm: number
      readonly learningRate: number
      readonly seconds: number
      /** The most memory so far: of the process on a CPU, of the tensors on another device. */
      readonly peakMemoryBytes: number
    }
  | ({
      readonly type: 'eval'
      readonly step: number
      readonly split: 'dev'
      readonly loss: number
      /** Whether it is the best so far: with `out` it is saved by now. */
      readonly best: boolean
    } & Figures)
  /** A checkpoint was written; not in the log. */
  | { readonly type: 'checkpoint'; readonly step: number; readonly path: string }
  /** The trace of the steps up to this one was written, with `profile`; not in the log. */
  | { readonly type: 'profile'; readonly step: number; readonly path: string }
  /** With the figures of the kept prompt on dev, if there was an evaluation. */
  | ({
      readonly type: 'done'
      readonly steps: number
      /** The step whose prompt was kept. */
      readonly bestStep: number
      readonly seconds: number
      /** Where the prompt was saved, with `out`. */
      readonly path?: string
    } & Partial<Figures>)

/**
 * Trains a prompt on a frozen backbone, or weights of the backbone itself, and yields what happens. At
 * the end they are the best that evaluation on dev saw: by the task's metric, then by the lower loss.
 *
 * Leaving the loop early (`break`) ends the training and keeps the best prompt.
 *
 * @throws TypeError or RangeError for options that do not fit; LoptError `ERR_NON_FINITE_LOSS`
 *   naming the step, the prompt then being the last good one; `ERR_ABORTED` after an abort, saying
 *   where the prompt was saved; `ERR_IO` for the run folder.
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent> {
  const settings = trainSettings(options)
  const { backbone, task, signal } = options
  const learner = options.weights
    ? weightsLearner(options.weights)
    : promptLearner(options.prompt as Prompt)
  const { prompt, parameters } = learner
  const groups = parameterGroups(parameters, settings)
  const devExamples = task.dev.slice(0, settings.evalLimit)
  const {
    labels,
    limit,
    encoded: [encoded, dev],
  } = await encodeExamples(
    backbone,
    prompt,
    task,
    [task.train, devExamples] as const,
    settings,
  )
  const expected = targetIndices(task, task.train)
  const rows = encoded.map(({ ids, candidates }, i): TrainingRow => {
    return { text: ids, label: expected[i] as number, candidates }
  })
  learner.setTask({
    template: task.template,
    labels: task.verbalizer,
    objective: settings.objective,
    maxLength: limit,
  })

  const resultPath = settings.out && join(settings.out, learner.fileName)
  await learner.begin()
  const { optimizer, scale } = createOptimizer(groups, settings.optimizer)
  const profiler = new Profiler(settings.profile, settings.steps)
  const watched = profiler.watch(backbone)
  const kept = createTextStore(watched, prompt, settings, { train: encoded, dev })
  const textStore = kept?.store
  const layout = promptLayout(watched, prompt, { ...settings, textStore })
  const lastGood = new Snapshot(parameters)
  const best = new Snapshot(parameters)
  const parts = {
    now: parameters,
    fixed: learner.fixed,
    best: best.copies,
    lastGood: lastGood.copies,
    optimizer,
  }
  let done = 0
  let bestStep = 0
  let bestFigures: RunState['best']
  let secondsBefore = 0
  const started = performance.now()
  const seconds = () => secondsBefore + (performance.now() - started) / 1000
  let settled = false
  let record: RunRecord | undefined
  let ahead: BegunStep | undefined

  try {
    if (settings.out !== undefined) {
      const config = runConfig(options, { ...settings, maxLength: limit })
      record = await RunRecord.open(settings.out, { resume: settings.resume, config })
    }
    await optimizer.zeroGrad() // whatever was there before
    const resumed = await record?.begin(parts)
    if (resumed !== undefined) {
      const { state } = resumed
      ;({ step: done, bestStep, best: bestFigures, seconds: secondsBefore } = state)
    }
    const start: TrainEvent = {
      type: 'start',
      steps: settings.steps,
      trainableParameters: learner.trainableParameters,
      trainRows: rows.length,
      devRows: dev.length,
      heldOut: task.heldOut,
      truncated: encoded.filter(({ truncated }) => truncated > 0).length,
      learningRate: settings.learningRate,
      ...(kept && { reuse: kept.expected }),
    }
    // The log of a run that goes on has it already, unless there is no checkpoint but the first.
    if (resumed === undefined || resumed.state.logBytes === 0) await record?.log(start)
    yield { ...start, ...(resumed && { resumedFrom: done }) }
    if (resumed?.last?.type === 'done') {
      settled = true
      if (bestFigures !== undefined) await best.restore()
      yield { ...resumed.last, ...(resultPath && { path: resultPath }) }
      return
    }

    const lengths = rows.map(({ text }) => text.length)
    const byLength = settings.fastPaths && settings.batchByLength
    const order = batches(lengths, { ...settings, byLength })
    for (let step = 1; step <= done; step += 1) order.next() // the rows of the steps that were done
    const begin = () =>
      beginStep(
        (order.next().value as number[]).map((i) => rows[i] as TrainingRow),
        { backbone: watched, learner, layout, labels, settings, profiler },
      )
    for (let step = done + 1; step <= settings.steps; step += 1) {
      if (signal?.aborted) {
        await record?.save(state(false), parts)
        throw await aborted(step - 1)
      }
      const factor = scheduleFactor(settings.schedule, step - 1, settings)
      const learningRate = settings.learningRate * factor

      const { loss, gradNorm } = await profiler.step(step, async () => {
        const begun = ahead ?? begin()
        ahead = undefined
        // The next batch becomes tensors while this one's gradients are computed.
        begun.backwardAsked.then(() => {
          if (step < settings.steps) ahead = begin()
        })
        const found = await begun.run()
        if (!Number.isFinite(found.loss) || !Number.isFinite(found.gradNorm)) {
          throw await notFinite(step, found.loss)
        }
        // Jobs run in the order in which they are asked for: nothing is waited for between them.
        await profiler.phase('optimizer', () =>
          Promise.all([
            lastGood.take(),
            scale(factor),
            optimizer.step(),
            optimizer.zeroGrad(),
          ]),
        )
        return found
      })
      yield* report(record, {
        type: 'step',
        step,
        loss,
        gradNorm,
        learningRate,
        seconds: seconds(),
        peakMemoryBytes: peakMemoryBytes(backbone.device),
      })
      const tracePath = await profiler.save(step)
      if (tracePath !== undefined) yield { type: 'profile', step, path: tracePath }

      if (isEvaluated(step, settings) && dev.length > 0) {
        const found = await evaluateEncoded({
          backbone,
          prompt,
          task,
          labels,
          examples: devExamples,
          encoded: dev,
          batchSize: settings.batchSize,
          fastPaths: settings.fastPaths,
          textStore,
          signal,
        }).catch(async (error: unknown) => {
          if (signal?.aborted) throw await aborted(step)
          const overflowed =
            error instanceof LoptError && error.code === 'ERR_NON_FINITE_LOSS'
          throw overflowed ? await notFinite(step, Number.NaN) : error
        })
        const isBest =
          bestFigures === undefined || isBetter(found, bestFigures, task.metric)
        if (isBest) {
          bestFigures = { ...figuresOf(found), loss: found.loss }
          bestStep = step
          await best.take()
          if (resultPath !== undefined) await learner.save(resultPath)
        }
        yield* report(record, {
          type: 'eval',
          step,
          split: 'dev',
          ...figuresOf(found),
          loss: found.loss,
          best: isBest,
        })
      }

      done = step
      if (record !== undefined && isCheckpointed(step, settings)) {
        await record.save(state(false), parts)
        yield { type: 'checkpoint', step, path: record.checkpointPath }
      }
    }

    settled = true
    if (bestFigures === undefined) bestStep = settings.steps
    else await best.restore()
    if (resultPath !== undefined) await learner.save(resultPath)
    const end: TrainEvent = {
      type: 'done',
      steps: settings.steps,
      bestStep,
      ...(bestFigures && figuresOf(bestFigures)),
      seconds: seconds(),
      ...(resultPath && { path: resultPath }),
    }
    await record?.log(end)
    await record?.save(state(true), parts)
    yield end
  } finally {
    // The consumer left the loop: what was best stays.
    try {
      await ahead?.cancel()
      if (!settled && bestFigures !== undefined) await best.restore()
      await optimizer.zeroGrad()
      await learner.end()
    } finally {
      optimizer.dispose()
      textStore?.dispose()
      lastGood.dispose()
      best.dispose()
      releaseMemory()
      await record?.close()
    }
  }

  function state(finished: boolean) {
    return { step: done, seconds: seconds(), bestStep, best: bestFigures, finished }
  }

  async function aborted(step: number): Promise<LoptError> {
    settled = true
    if (bestFigures !== undefined) await best.restore()
    const kept =
      bestFigures === undefined ? `of step ${step}` : `of step ${bestStep}, the best,`
    if (resultPath !== undefined) await learner.save(resultPath)
    return new LoptError(
      'ERR_ABORTED',
      `Stopped after step ${step} of ${settings.steps}. The ${learner.name} ${kept} is ` +
        (resultPath === undefined ? 'kept in memory' : `in ${resultPath}`),
      { cause: signal?.reason },
    )
  }

  async function notFinite(step: number, loss: number): Promise<LoptError> {
    settled = true
    await (bestFigures === undefined ? lastGood : best).restore()
    if (resultPath !== undefined) await learner.save(resultPath)
    const what = Number.isFinite(loss) ? 'The gradient' : `The loss, ${loss},`
    return new LoptError(
      'ERR_NON_FINITE_LOSS',
      `${what} of step ${step} is not finite. The last good ${learner.name} is ` +
        `${resultPath === undefined ? 'kept in memory' : `in ${resultPath}`}: lower the ` +
        'learning rate, or clip more',
    )
  }
}

async function* report(
  record: RunRecord | undefined,
  event: TrainEvent,
): AsyncGenerator<TrainEvent> {
  await record?.log(event)
  yield event
}

function peakMemoryBytes(device: string): number {
  // `meta` has shapes only.
  const isApart = device !== 'cpu' && device !== 'meta'
  if (isApart) return deviceMemory(device).peakAllocated
  return process.resourceUsage().maxRSS * 1024
}

function isEvaluated(step: number, { evalEvery, steps }: TrainSettings): boolean {
  return evalEvery > 0 && (step % evalEvery === 0 || step === steps)
}

function isCheckpointed(
  step: number,
  { checkpointEvery, steps }: TrainSettings,
): boolean {
  return checkpointEvery > 0 && step % checkpointEvery === 0 && step < steps
}

function isBetter(
  found: Figures & { loss: number },
  best: Figures & { loss: number },
  metric: TrainOptions['task']['metric'],
): boolean {
  // A task's metric is always among the figures of its evaluations.
  const [now, before] = [found, best].map((one) => one[FIGURE_OF[metric]] as number) as [
    number,
    number,
  ]
  return now !== before ? now > before : found.loss < best.loss
}
