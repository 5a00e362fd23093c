// One of those that a call of `train` trains: what a step changes of it, what is best so far, and what is kept of that
// on the disk. Knows no rows and no loss.

import { join } from 'node:path'
import { LoptError } from '../errors.js'
import type { PromptLayout } from '../inference/index.js'
import {
  figuresOf,
  type RunParts,
  RunRecord,
  type RunState,
  runConfig,
  type Save,
  type TrainEvent,
  type TrainSettings,
} from '../run/index.js'
import { keep, ones, type Tensor } from '../torch/index.js'
import type { Evaluation } from './evaluate.js'
import type { Learner } from './learner.js'
import { isBetter } from './metrics.js'
import { createOptimizer, parameterGroups } from './optimizer.js'
import type { TraineeOptions } from './options.js'
import { scheduleFactor } from './schedule.js'
import { Snapshot } from './snapshot.js'

export class Trainee {
  readonly learner: Learner
  readonly layout: PromptLayout
  readonly settings: TrainSettings
  readonly #options: TraineeOptions
  readonly #optimizer: ReturnType<typeof createOptimizer>['optimizer']
  readonly #scale: (factor: number) => Promise<void>
  readonly #lastGood: Snapshot
  readonly #best: Snapshot
  /** What it was at the last step that is told of, where one was taken since. */
  #told: Snapshot | undefined
  /** bool []: whether all steps were good so far. One that is captured is launched before the one before it is known. */
  readonly #wasGood: Tensor<'bool'>
  readonly #started = performance.now()
  #secondsBefore = 0
  #record: RunRecord | undefined
  #state: Omit<RunState, 'logBytes' | 'seconds'> = {
    step: 0,
    bestStep: 0,
    finished: false,
  }
  /** Whether its tensors are those that it ends with. */
  #isSettled = false

  private constructor(
    options: TraineeOptions,
    learner: Learner,
    layout: PromptLayout,
    groups: ReturnType<typeof parameterGroups>,
  ) {
    const { settings } = options
    const { optimizer, scale } = createOptimizer(groups, settings.optimizer)
    this.learner = learner
    this.layout = layout
    this.settings = settings
    this.#options = options
    this.#optimizer = optimizer
    this.#scale = scale
    this.#lastGood = new Snapshot(learner.parameters)
    this.#best = new Snapshot(learner.parameters)
    const { device } = Object.values(learner.parameters)[0] as Tensor
    this.#wasGood = keep(ones([], { dtype: 'bool', device }))
  }

  /** Makes its optimizer and its copies, until `close`. */
  static async create({
    options,
    learner,
    layout,
  }: {
    options: TraineeOptions
    learner: Learner
    layout: PromptLayout
  }): Promise<Trainee> {
    const groups = parameterGroups(learner.parameters, options.settings)
    await learner.begin()
    try {
      return new Trainee(options, learner, layout, groups)
    } catch (error) {
      await learner.end()
      throw error
    }
  }

  get record(): RunRecord | undefined {
    return this.#record
  }

  /** Whether it was not given as one of `prompts`. */
  get isAlone(): boolean {
    return this.#options.index === undefined
  }

  /** Steps that it has taken. */
  get step(): number {
    return this.#state.step
  }

  /** Whether it takes part in further steps. */
  get isOpen(): boolean {
    return !this.#state.finished && this.#state.failed === undefined
  }

  get seconds(): number {
    return this.#secondsBefore + (performance.now() - this.#started) / 1000
  }

  /** Where what it learned is saved; undefined without a run folder. */
  get path(): string | undefined {
    const { out } = this.settings
    return out === undefined ? undefined : join(out, this.learner.fileName)
  }

  /** An event as its own: with its place where several are trained. */
  named(event: TrainEvent): TrainEvent {
    const { index } = this.#options
    return index === undefined ? event : { ...event, prompt: index }
  }

  /** Puts an event into its log. */
  async log(event: TrainEvent): Promise<void> {
    await this.#record?.log(event)
  }

  async *report(event: TrainEvent): AsyncGenerator<TrainEvent> {
    await this.log(event)
    yield this.named(event)
  }

  /**
   * Takes its run folder.
   *
   * @param maxLength tokens of a text at most, as the defaults gave it
   */
  async open(maxLength: number): Promise<void> {
    const { out, resume } = this.settings
    if (out !== undefined) {
      const config = runConfig(this.#options.subjects, { ...this.settings, maxLength })
      this.#record = await RunRecord.open(out, { resume, config })
    }
    await this.#optimizer.zeroGrad() // whatever was there before
  }

  /**
   * Starts, or goes on from a checkpoint.
   *
   * @param step of the checkpoint
   * @returns the checkpoint's state and, of a finished run, its last event; undefined for a new run
   */
  async begin(step: number) {
    const resumed = await this.#record?.begin(this.#parts, step)
    if (resumed !== undefined) {
      const { seconds, logBytes, ...state } = resumed.state
      this.#state = state
      this.#secondsBefore = seconds
    }
    return resumed
  }

  get #parts(): RunParts {
    return {
      now: this.learner.parameters,
      fixed: this.learner.fixed,
      best: this.#best.copies,
      lastGood: this.#lastGood.copies,
      optimizer: this.#optimizer,
    }
  }

  /** What is saved of it, where it has a run folder. */
  get saves(): Save[] {
    const record = this.#record
    if (record === undefined) return []
    const state = { ...this.#state, seconds: this.seconds }
    return [{ record, state, parts: this.#parts }]
  }

  /** What a step's learning rate is. */
  learningRate(step: number): number {
    return this.settings.learningRate * this.#factor(step)
  }

  #factor(step: number): number {
    return scheduleFactor(this.settings.schedule, step - 1, this.settings)
  }

  /** Sets what a step's learning rate is. */
  async setRate(step: number): Promise<void> {
    await this.#scale(this.#factor(step))
  }

  /**
   * The optimizer's step, with the gradients that are there.
   *
   * @param isGood bool []: whether what is changed is to be gone back to, if it was so far; without it, it is
   */
  async update(isGood?: Tensor<'bool'>): Promise<void> {
    const wasGood = this.#wasGood
    const good = isGood && wasGood.logicalAnd(isGood)
    // Jobs run in the order in which they are asked for: nothing is waited for between them.
    await Promise.all([
      good && wasGood.copy_(good),
      this.#lastGood.take(good),
      this.#optimizer.step(),
      this.#optimizer.zeroGrad(),
    ])
  }

  /** Notes what it is, before a step that nobody may be told of. */
  async remember(): Promise<void> {
    this.#told ??= new Snapshot(this.learner.parameters)
    await this.#told.take()
  }

  /** Notes that a step is done. */
  passed(step: number): void {
    this.#state = { ...this.#state, step }
  }

  /** Keeps what is the best so far, and says whether it is. */
  async judge(found: Evaluation, step: number): Promise<boolean> {
    const { best } = this.#state
    const { metric } = this.#options.subjects.task
    if (best !== undefined && !isBetter(found, best, metric)) return false
    const figures = { ...figuresOf(found), loss: found.loss }
    this.#state = { ...this.#state, bestStep: step, best: figures }
    await this.#best.take()
    await this.#save()
    return true
  }

  async #save(): Promise<void> {
    if (this.path !== undefined) await this.learner.save(this.path)
  }

  /** After its last step: it is the best that was seen. */
  async finish(): Promise<TrainEvent> {
    const { path } = this
    const { steps } = this.settings
    const { best } = this.#state
    const bestStep = best === undefined ? steps : this.#state.bestStep
    this.#state = { ...this.#state, finished: true, bestStep }
    await this.restore()
    await this.#save()
    return {
      type: 'done',
      steps,
      bestStep,
      ...(best && figuresOf(best)),
      seconds: this.seconds,
      ...(path && { path }),
    }
  }

  /** Goes back to the best that was seen, where there is one. */
  async restore(): Promise<void> {
    this.#isSettled = true
    if (this.#state.best !== undefined) await this.#best.restore()
  }

  /** After an abort: where it is, in words. */
  async stop(): Promise<string> {
    const { best, bestStep, step } = this.#state
    await this.restore()
    await this.#save()
    const kept = best === undefined ? `of step ${step}` : `of step ${bestStep}, the best,`
    return `The ${this.learner.name} ${kept} is ${this.#place}`
  }

  get #place(): string {
    return this.path === undefined ? 'kept in memory' : `in ${this.path}`
  }

  /**
   * Ends its training before its time: it is the best that was seen, or the last good one.
   *
   * @param what is not finite: `The gradient of step 3`
   */
  async fail(step: number, what: string): Promise<LoptError> {
    const { best } = this.#state
    this.#isSettled = true
    await (best === undefined ? this.#lastGood : this.#best).restore()
    await this.#optimizer.zeroGrad()
    await this.#save()
    const failed = `${what} is not finite`
    this.#state = { ...this.#state, step, failed }
    const error = this.failure as LoptError
    await this.#record?.log({ type: 'failed', step, code: error.code, message: failed })
    return error
  }

  /** Why its training ended before its time, where it did. */
  get failure(): LoptError | undefined {
    const { failed, best, bestStep } = this.#state
    if (failed === undefined) return undefined
    const { name } = this.learner
    const kept =
      best === undefined ? `last good ${name}` : `best ${name}, of step ${bestStep},`
    return new LoptError(
      'ERR_NON_FINITE_LOSS',
      `${failed}. The ${kept} is ${this.#place}: lower the learning rate, or clip more`,
    )
  }

  /**
   * The consumer may have left the loop: what was best stays.
   *
   * @param isUntold whether it took a step since `remember`, which is taken back
   */
  async close(isUntold: boolean): Promise<void> {
    try {
      if (!this.#isSettled && isUntold) await this.#told?.restore()
      if (!this.#isSettled) await this.restore()
      await this.#optimizer.zeroGrad()
      await this.learner.end()
    } finally {
      this.#optimizer.dispose()
      this.#lastGood.dispose()
      this.#best.dispose()
      this.#told?.dispose()
      this.#wasGood.dispose()
      await this.#record?.close()
    }
  }
}
