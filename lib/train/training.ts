// A run of one trainee or of several: their rows, steps, evaluations and checkpoints, each asked for by the loop in
// train.ts. Knows no file.

import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import {
  type PromptLayout,
  promptLayouts,
  StepGraphs,
  type TextStore,
} from '../inference/index.js'
import {
  commonSteps,
  figuresOf,
  type Reuse,
  samplesAtEnds,
  saveTogether,
  type TrainEvent,
  type TrainSettings,
} from '../run/index.js'
import type { Example, LabelTokens, Task } from '../task/index.js'
import {
  capturesGraphs,
  deviceMemory,
  releaseMemory,
  type Tensor,
} from '../torch/index.js'
import { Batches } from './batches.js'
import { evaluationOf, type Judged, judgeExamples } from './evaluate.js'
import { type Learner, promptLearner, weightsLearner } from './learner.js'
import type { TrainingRow } from './loss.js'
import { type TraineeOptions, type TrainOptions, traineeOptions } from './options.js'
import { Profiler } from './profile.js'
import { createTextStore } from './reuse.js'
import { encodeRows, type PromptRows } from './rows.js'
import { type BegunStep, beginStep, type StepParts, type StepResult } from './step.js'
import { Trainee } from './trainee.js'

/** One that is to be trained, and what it learns from. */
interface Plan {
  readonly options: TraineeOptions
  readonly learner: Learner
  readonly layout: PromptLayout
  readonly rows: PromptRows
  /** Tokens of a text at most. */
  readonly limit: number
  /** Those of its steps; the same object where they are the same. */
  readonly batches: Batches<TrainingRow>
}

interface Member extends Plan {
  readonly trainee: Trainee
}

/** A step that was asked for, of those that were left. */
interface Launched {
  readonly members: readonly Member[]
  /** Once it is launched, what waits for its results. */
  readonly launched: Promise<() => Promise<StepResult[]>>
}

interface TrainingParts {
  readonly task: Task
  readonly dev: readonly Example[]
  readonly signal: AbortSignal | undefined
  readonly backbone: Backbone
  readonly labels: LabelTokens
  readonly plans: readonly Plan[]
  /** Those that are the same for all. */
  readonly settings: TrainSettings
  readonly textStore: TextStore | undefined
  readonly reuse: ReadonlyMap<PromptRows, Reuse> | undefined
  readonly profiler: Profiler
  readonly graphs: RunGraphs
}

export class Training {
  readonly #parts: TrainingParts
  readonly #step: StepParts
  readonly #members: Member[] = []
  #done = 0
  /** The next step of which nothing is asked yet, whose rows are tensors already. */
  #ahead: BegunStep | undefined
  /** The next step where a GPU is at work on it before the one at hand is told of. */
  #launched: Launched | undefined
  /** Those that ended in the step at hand. */
  #failed: { trainee: Trainee; error: LoptError }[] = []

  private constructor(parts: TrainingParts) {
    const { backbone, labels, settings, profiler } = parts
    const { fastPaths, checkpointLayers, accumulate } = settings
    this.#parts = parts
    this.#step = {
      ...{ backbone, labels, profiler, accumulate, graphs: parts.graphs.steps },
      run: { fastPaths, checkpointLayers, textStore: parts.textStore },
    }
  }

  /**
   * Checks and encodes. What has to be closed is made by `begin`.
   *
   * @throws as `train`, before anything is changed
   */
  static async prepare(options: TrainOptions): Promise<Training> {
    const all = traineeOptions(options)
    const settings = all[0]?.settings as TrainSettings
    const { task, signal } = options
    const learners = all.map(({ subjects: { prompt, weights } }) =>
      weights
        ? weightsLearner(weights)
        : promptLearner(prompt as NonNullable<typeof prompt>),
    )
    const prompts = learners.map(({ prompt }) => prompt)
    const dev = task.dev.slice(0, settings.evalLimit)
    const { maxLength, maxTargetLength, longTargets } = settings
    const limits = { maxLength, maxTargetLength, longTargets }
    const encoded = await encodeRows(options.backbone, prompts, { task, dev, ...limits })
    const profiler = new Profiler(settings.profile, settings.steps)
    const backbone = profiler.watch(options.backbone)
    const apart = prompts.map((prompt, i) => {
      return { prompt, rows: encoded.of[i]?.rows as PromptRows }
    })
    const kept = createTextStore(backbone, apart, settings)
    const layouts = promptLayouts(backbone, prompts, {
      ...settings,
      textStore: kept?.store,
      once: true,
    })
    const known = new Map<string, Batches<TrainingRow>>()
    const plans = all.map((options, i): Plan => {
      const { limit, rows } = encoded.of[i] as (typeof encoded.of)[number]
      const [learner, layout] = [learners[i] as Learner, layouts[i] as PromptLayout]
      const { seed, shuffle } = options.settings
      const key = `${encoded.of.findIndex((one) => one.rows === rows)} ${seed} ${shuffle}`
      const batches = known.get(key) ?? new Batches(rows.train, options.settings)
      known.set(key, batches)
      return { options, learner, layout, rows, limit, batches }
    })
    const { labels } = encoded
    return new Training({
      ...{ task, dev, signal, backbone, labels, plans, settings, profiler },
      graphs: graphsFor(backbone, plans),
      textStore: kept?.store,
      reuse: kept?.expected,
    })
  }

  get #open(): readonly Member[] {
    return this.#members.filter(({ trainee }) => trainee.isOpen)
  }

  /** Whether there is a step left, and somebody to take it. */
  get isOpen(): boolean {
    return this.#done < this.#parts.settings.steps && this.#open.length > 0
  }

  /** Takes the run folders, and puts back what they hold. */
  async *begin(): AsyncGenerator<TrainEvent> {
    const { plans, task } = this.#parts
    const members = this.#members
    for (const plan of plans) {
      const trainee = await Trainee.create(plan)
      members.push({ ...plan, trainee }) // `close` knows it from here on
      await trainee.open(plan.limit)
    }
    const records = members.flatMap(({ trainee }) => trainee.record ?? [])
    const steps = commonSteps(records)
    for (const member of members) {
      const { trainee, limit } = member
      const at = trainee.record === undefined ? 0 : steps[records.indexOf(trainee.record)]
      const resumed = await trainee.begin(at as number)
      const { template, verbalizer: labels, target } = task
      const { objective } = trainee.settings
      trainee.learner.setTask({ template, labels, target, objective, maxLength: limit })
      const start = this.#startOf(member)
      // The log of a run that goes on has it already, unless there is no checkpoint but the first.
      if (resumed === undefined || resumed.state.logBytes === 0) await trainee.log(start)
      const resumedFrom = resumed && { resumedFrom: trainee.step }
      yield trainee.named({ ...start, ...resumedFrom })
      if (trainee.failure) this.#failed.push({ trainee, error: trainee.failure })
      if (resumed?.last?.type !== 'done') continue
      await trainee.restore()
      const { path } = trainee
      yield trainee.named({ ...resumed.last, ...(path && { path }) })
    }
    this.#done = Math.max(...this.#open.map(({ trainee }) => trainee.step), 0)
    yield* this.#tellFailures()
  }

  #startOf({ trainee, rows }: Member): TrainEvent {
    const { task } = this.#parts
    const { settings, learner, layout } = trainee
    const reuse = this.#parts.reuse?.get(rows)
    return {
      type: 'start',
      steps: settings.steps,
      trainableParameters: learner.trainableParameters,
      trainRows: rows.train.length,
      devRows: rows.dev.length,
      heldOut: task.heldOut,
      truncated: rows.truncated,
      ...(task.target && { truncatedTargets: rows.truncatedTargets }),
      learningRate: settings.learningRate,
      ...(this.#parts.graphs.told && { graphs: this.#parts.graphs.told }),
      ...(layout.route === 'behind' && reuse && { reuse }),
    }
  }

  /** The next step of all that are left. */
  async *step(): AsyncGenerator<TrainEvent> {
    const { profiler, backbone } = this.#parts
    const step = this.#done + 1
    const results = await profiler.step(step, async () => {
      const { members, launched } = this.#launched ?? this.#launch(step)
      const results = await launched
      this.#launched = undefined
      if (this.#runsAhead(step)) {
        // Where nobody is told of the next step, what this one leaves is gone back to.
        await Promise.all(this.#open.map(({ trainee }) => trainee.remember()))
        this.#launched = this.#launch(step + 1)
        await this.#launched.launched.catch(() => {}) // told when it is its turn
      }
      const found = await results()
      return members.flatMap(({ trainee }, i) => {
        const result = found[i] as StepResult
        // One that failed in the step before was launched with the others.
        return trainee.isOpen ? [{ trainee, ...result, broken: brokenOf(result) }] : []
      })
    })
    for (const { trainee, loss, gradNorm, broken } of results) {
      if (broken !== undefined) {
        await this.#fail(trainee, step, `${broken} of step ${step}`)
        continue
      }
      trainee.passed(step)
      yield* trainee.report({
        type: 'step',
        step,
        loss,
        gradNorm,
        learningRate: trainee.learningRate(step),
        seconds: trainee.seconds,
        peakMemoryBytes: peakMemoryBytes(backbone.device),
      })
    }
    const tracePath = await profiler.save(step)
    if (tracePath !== undefined) yield { type: 'profile', step, path: tracePath }
    this.#done = step
  }

  /** Asks for a step of all that are left. */
  #launch(step: number): Launched {
    const members = this.#open
    return { members, launched: this.#run(step, members) }
  }

  async #run(
    step: number,
    members: readonly Member[],
  ): Promise<Awaited<Launched['launched']>> {
    const begun = this.#ahead ?? this.#beginStep(step)
    this.#ahead = undefined
    // The next batches become tensors while the gradients of these are computed.
    begun.backwardAsked.then(() => {
      if (step < this.#parts.settings.steps) this.#ahead = this.#beginStep(step + 1)
    })
    await Promise.all(members.map(({ trainee }) => trainee.setRate(step)))
    return await begun.run()
  }

  /** Whether the step after this one is launched before this one's values are there: nothing looks at what it leaves. */
  #runsAhead(step: number): boolean {
    const { graphs, settings, signal } = this.#parts
    return (
      graphs.steps !== null &&
      step < settings.steps &&
      !signal?.aborted &&
      this.#failed.length === 0 &&
      !this.#isJudged(step) &&
      !this.#isSaved(step)
    )
  }

  #beginStep(step: number): BegunStep {
    const trainees = this.#open.map(({ trainee, batches }) => {
      const { learner, layout, settings } = trainee
      const update = (isGood?: Tensor<'bool'>) => trainee.update(isGood)
      return { learner, layout, settings, batch: batches.at(step), update }
    })
    return beginStep(trainees, this.#step)
  }

  /** @throws the failure of one that is trained alone: nothing is saved of it, so that it goes on from before */
  async #fail(trainee: Trainee, step: number, what: string): Promise<void> {
    const error = await trainee.fail(step, what)
    if (trainee.isAlone) throw error
    this.#failed.push({ trainee, error })
    // The step that is ahead has its rows.
    await this.#ahead?.cancel()
    this.#ahead = undefined
  }

  /** Judges all on the dev rows, where it is time. */
  async *evaluate(): AsyncGenerator<TrainEvent> {
    const { settings, task, dev, signal, backbone, labels, textStore } = this.#parts
    const step = this.#done
    const open = this.#open
    if (!this.#isJudged(step) || open.length === 0) return
    const prompts = open.map(({ trainee }) => trainee.learner.prompt)
    const lists = open.map(({ rows }) => rows.dev)
    const { batchSize, fastPaths, samples } = settings
    const graphs = this.#parts.graphs.scores
    const options = { backbone, labels, batchSize, fastPaths, textStore, graphs, signal }
    const rows = task.metric === 'perplexity' ? samples : 'all'
    const judged = await judgeExamples(task, prompts, lists, { ...options, rows }).catch(
      async (error) => {
        throw signal?.aborted ? await this.#aborted(step) : error
      },
    )
    for (const [i, { trainee, rows }] of open.entries()) {
      const own = judged[i] as Judged
      if (!own.scores.flat().every(Number.isFinite)) {
        await this.#fail(trainee, step, `A score on dev after step ${step}`)
        continue
      }
      const found = evaluationOf(task, dev, rows.dev, own)
      const best = await trainee.judge(found, step)
      const figures = { ...figuresOf(found), loss: found.loss }
      const said = found.samples && {
        samples: samplesAtEnds(found.samples, settings.samples),
      }
      yield* trainee.report({
        type: 'eval',
        step,
        split: 'dev',
        ...figures,
        best,
        ...said,
      })
    }
  }

  #isJudged(step: number): boolean {
    const { dev, settings } = this.#parts
    const { evalEvery, steps } = settings
    return dev.length > 0 && evalEvery > 0 && (step % evalEvery === 0 || step === steps)
  }

  #isSaved(step: number): boolean {
    const { checkpointEvery, steps } = this.#parts.settings
    const isKept = this.#members.some(({ trainee }) => trainee.record !== undefined)
    return isKept && checkpointEvery > 0 && step % checkpointEvery === 0 && step < steps
  }

  /** Takes checkpoints, where it is time or where somebody failed, and says who failed. */
  async *endStep(): AsyncGenerator<TrainEvent> {
    const step = this.#done
    const failed = this.#failed.map(({ trainee }) => trainee)
    if (!this.#isSaved(step) && failed.length === 0) return
    // The others are a step further: they are saved behind it.
    if (this.#launched !== undefined && this.#open.length > 0) return
    const saved = this.#open.map(({ trainee }) => trainee)
    // What failed counts as failed from the step on from which the others go on without it.
    await saveTogether([...saved, ...failed].flatMap((trainee) => trainee.saves))
    for (const trainee of saved) {
      const path = trainee.record?.checkpointPath
      if (path !== undefined) yield trainee.named({ type: 'checkpoint', step, path })
    }
    yield* this.#tellFailures()
  }

  /** @throws the last failure once all have failed */
  async *#tellFailures(): AsyncGenerator<TrainEvent> {
    const failed = this.#failed
    this.#failed = []
    for (const { trainee, error } of failed) {
      const event: TrainEvent = { type: 'failed', step: trainee.step, error }
      const named = trainee.named(event)
      if (named.prompt !== undefined) yield named
    }
    const last = failed.at(-1)
    if (last && this.#members.every(({ trainee }) => trainee.failure)) throw last.error
  }

  /** After the last step. */
  async *finish(): AsyncGenerator<TrainEvent> {
    const open = this.#open.map(({ trainee }) => trainee)
    const events: TrainEvent[] = []
    for (const trainee of open) {
      const event = await trainee.finish()
      await trainee.log(event)
      events.push(trainee.named(event))
    }
    await saveTogether(open.flatMap((trainee) => trainee.saves))
    yield* events
  }

  /**
   * Once the signal is aborted, and no step is launched: saves everything, and goes back to the best.
   *
   * @throws LoptError `ERR_ABORTED` then
   */
  async stopIfAborted(): Promise<void> {
    if (!this.#parts.signal?.aborted || this.#launched !== undefined) return
    await saveTogether(this.#open.flatMap(({ trainee }) => trainee.saves))
    throw await this.#aborted(this.#done)
  }

  async #aborted(step: number): Promise<LoptError> {
    const { settings, signal } = this.#parts
    const open = this.#open
    const places: string[] = []
    for (const { trainee } of open) places.push(await trainee.stop())
    const where =
      open[0]?.trainee.path === undefined ? 'kept in memory' : 'in its run folder'
    const all = `What each of ${open.length} prompts learned is ${where}`
    return new LoptError(
      'ERR_ABORTED',
      `Stopped after step ${step} of ${settings.steps}. ${open.length > 1 ? all : places[0]}`,
      { cause: signal?.reason },
    )
  }

  /**
   * The consumer may have left the loop, and may have disposed of a prompt: one that cannot be closed keeps no other
   * from it.
   *
   * @param reason why the training ends, where it failed: whoever asked is told of that
   * @throws the first failure of closing, where there is no such reason
   */
  async close(reason?: unknown): Promise<void> {
    await this.#ahead?.cancel()
    await this.#launched?.launched.catch(() => {})
    const untold = this.#launched?.members.map(({ trainee }) => trainee) ?? []
    const closed = await Promise.allSettled(
      this.#members.map(({ trainee }) => trainee.close(untold.includes(trainee))),
    )
    const { steps, scores } = this.#parts.graphs
    await Promise.all([steps?.dispose(), scores?.dispose()])
    this.#parts.textStore?.dispose()
    releaseMemory()
    const failed = closed.find(({ status }) => status === 'rejected')
    if (failed?.status === 'rejected' && reason === undefined) throw failed.reason
  }
}

/** Where what a run does is captured. */
interface RunGraphs {
  readonly steps: StepGraphs | null
  /** Of evaluations, whose shapes take no place of the steps'. */
  readonly scores: StepGraphs | null
  /** What is told of steps. */
  readonly told?: { readonly captured: boolean; readonly reason?: string }
}

function graphsFor(
  { device, tokenEmbedding: weight }: Backbone,
  plans: readonly Pick<Plan, 'options' | 'learner'>[],
): RunGraphs {
  const isWanted = plans[0]?.options.settings.graphs ?? capturesGraphs(device)
  if (!isWanted) return { steps: null, scores: null }
  const reason = plans.map(whyNotCaptured).find((one) => one !== undefined)
  const scores = new StepGraphs(device, { weight })
  if (reason !== undefined) {
    return { steps: null, scores, told: { captured: false, reason } }
  }
  return { steps: new StepGraphs(device, { weight }), scores, told: { captured: true } }
}

function whyNotCaptured({
  options: { settings },
  learner,
}: Pick<Plan, 'options' | 'learner'>): string | undefined {
  if (settings.profile) return 'its steps are profiled'
  if (settings.checkpointLayers) return 'checkpointLayers runs layers again'
  if (settings.optimizer === 'adafactor') return 'adafactor counts its steps itself'
  if (learner.prompt === null) return "the backbone's own weights are trained"
  return undefined
}

/** What of a step's result is not finite; undefined where all is. */
function brokenOf({ loss, gradNorm }: StepResult): string | undefined {
  if (!Number.isFinite(loss)) return `The loss, ${loss},`
  return Number.isFinite(gradNorm) ? undefined : 'The gradient'
}

function peakMemoryBytes(device: string): number {
  // `meta` has shapes only.
  const isApart = device !== 'cpu' && device !== 'meta'
  if (isApart) return deviceMemory(device).peakAllocated
  return process.resourceUsage().maxRSS * 1024
}
