// The side of a training run that lies on the disk: its log, its event file, its checkpoints. Knows what
// a run is made of, and not how it learns.

import { removeFile, renameFile } from '../atomic-file.js'
import { LoptError } from '../errors.js'
import { type OptimizerState, type Tensor, tidy } from '../torch/index.js'
import {
  type Checkpoint,
  type CheckpointTensors,
  type RunState,
  readCheckpoint,
  readState,
  restoreTensors,
  writeCheckpoint,
} from './checkpoint.js'
import type { LoggedFailure, TrainEvent } from './events.js'
import { RunFolder } from './folder.js'
import { checkSameRun } from './same-run.js'
import { EventFile, scalarsOf } from './tensorboard.js'

/** What a checkpoint is taken of, and put back into. */
export interface RunParts {
  readonly now: Readonly<Record<string, Tensor>>
  readonly fixed: Readonly<Record<string, Tensor>>
  readonly best: Readonly<Record<string, Tensor>>
  readonly lastGood: Readonly<Record<string, Tensor>>
  readonly optimizer: {
    state(): Promise<OptimizerState>
    loadState(state: OptimizerState): Promise<void>
  }
}

/** A run to be saved, as it is now. */
export interface Save {
  readonly record: RunRecord
  readonly state: Omit<RunState, 'logBytes'>
  readonly parts: RunParts
}

export class RunRecord {
  readonly #folder: RunFolder
  readonly #config: object
  readonly #isBegun: boolean
  #events: EventFile | undefined

  private constructor(folder: RunFolder, config: object, isBegun: boolean) {
    this.#folder = folder
    this.#config = config
    this.#isBegun = isBegun
  }

  /**
   * Takes the folder of a new run or, with `resume`, of one that was begun.
   *
   * @throws LoptError as `RunFolder.open` and `checkSameRun`; RangeError as `checkSameRun`.
   */
  static async open(
    path: string,
    { resume, config }: { resume: boolean; config: object },
  ): Promise<RunRecord> {
    const folder = await RunFolder.open(path, { resume })
    try {
      const stored = await folder.config()
      if (stored !== undefined) checkSameRun(path, stored, config)
      return new RunRecord(folder, config, stored !== undefined)
    } catch (error) {
      await folder.close()
      throw error
    }
  }

  get checkpointPath(): string {
    return this.#folder.checkpointPath
  }

  /** The states that the run can go on from, the one that is written first last; none for a new run. */
  states(): RunState[] {
    if (!this.#isBegun) return []
    const { checkpointPath, nextCheckpointPath } = this.#folder
    const next = readState(nextCheckpointPath)
    const state = readState(checkpointPath)
    if (state === undefined) {
      throw new LoptError('ERR_PROMPT_FILE', `There is no checkpoint ${checkpointPath}`)
    }
    return next === undefined ? [state] : [state, next]
  }

  /**
   * Puts a run that was begun back to one of its checkpoints; of a new one, writes the first.
   *
   * @param step of the checkpoint
   * @returns the checkpoint's state and, of a finished run, its last event; undefined for a new run
   */
  async begin(
    parts: RunParts,
    step: number,
  ): Promise<{ state: RunState; last: TrainEvent | undefined } | undefined> {
    const { path: folder, checkpointPath: path } = this.#folder
    if (!this.#isBegun) {
      const state = { step: 0, seconds: 0, bestStep: 0, finished: false }
      await saveTogether([{ record: this, state, parts }])
      await this.#folder.writeConfig(this.#config)
      this.#events = await EventFile.begin(folder, 1)
      return undefined
    }
    await this.#settle(step)
    const state = await tidy(async () => {
      const { state, tensors, optimizer } = readCheckpoint(path)
      await restoreTensors(path, tensors.now, parts.now)
      await restoreTensors(path, tensors.fixed, parts.fixed)
      await restoreTensors(path, tensors.kept, keptOf(state, parts))
      await parts.optimizer.loadState(optimizer)
      return state
    })
    const log = await this.#folder.cutLog(state.logBytes)
    if (state.finished) return { state, last: JSON.parse(lastLine(log)) as TrainEvent }
    const isOver = state.failed !== undefined
    if (!isOver) this.#events = await EventFile.begin(folder, state.step + 1)
    return { state, last: undefined }
  }

  async log(event: TrainEvent | LoggedFailure): Promise<void> {
    await this.#folder.log(event)
    const found = scalarsOf(event)
    if (found !== null) await this.#events?.write(found.step, found.scalars)
  }

  /** Writes a checkpoint beside the one that counts. */
  async writeNext({ state, parts }: Omit<Save, 'record'>): Promise<void> {
    await this.#folder.flushLog()
    const tensors: CheckpointTensors = {
      now: parts.now,
      fixed: parts.fixed,
      kept: keptOf(state, parts),
    }
    await tidy(async () => {
      const optimizer = await parts.optimizer.state()
      const { logBytes, nextCheckpointPath } = this.#folder
      const checkpoint: Checkpoint = { state: { ...state, logBytes }, tensors, optimizer }
      await writeCheckpoint(nextCheckpointPath, checkpoint)
    })
  }

  /** Lets what `writeNext` wrote count. */
  async takeNext(): Promise<void> {
    const { checkpointPath, nextCheckpointPath } = this.#folder
    await renameFile(nextCheckpointPath, checkpointPath)
  }

  /** Lets the checkpoint of a step count, and no other be there. */
  async #settle(step: number): Promise<void> {
    const { nextCheckpointPath } = this.#folder
    const [, next] = this.states()
    if (next?.step === step) await this.takeNext()
    else await removeFile(nextCheckpointPath)
  }

  async close(): Promise<void> {
    await this.#folder.close()
  }
}

/**
 * Takes checkpoints of runs that are made together: none counts before all are written, so that whatever ends the
 * process, there is a step that all can go on from.
 */
export async function saveTogether(saves: readonly Save[]): Promise<void> {
  for (const { record, ...save } of saves) await record.writeNext(save)
  for (const { record } of saves) await record.takeNext()
}

/**
 * The step of each run's checkpoint from which all go on together: the last that all have. A run that ended before
 * stays where it ended.
 *
 * @throws LoptError `ERR_UNSUPPORTED` for runs that were not made together.
 */
export function commonSteps(records: readonly RunRecord[]): number[] {
  if (records.length === 0) return []
  const start = { step: 0, finished: false, failed: undefined }
  const all = records.map((record) => {
    const states = record.states()
    return states.length > 0 ? states : [start]
  })
  const stepAt = (states: (typeof all)[number], step: number) =>
    states.find((state) => state.step === step) ??
    states.find((state) => (state.finished || state.failed) && state.step < step)
  const steps = [...new Set(all.flat().map(({ step }) => step))].sort((a, b) => b - a)
  const common = steps.find((step) => all.every((states) => stepAt(states, step)))
  if (common !== undefined) {
    return all.map((states) => stepAt(states, common)?.step as number)
  }
  const last = all.map((states, i) => `prompts[${i}] ${states.at(-1)?.step}`)
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `These runs were not made together: their last checkpoints are of different steps (${last.join(', ')}). ` +
      'Go on with each alone',
  )
}

function keptOf({ best }: Pick<RunState, 'best'>, parts: RunParts) {
  return best === undefined ? parts.lastGood : parts.best
}

function lastLine(log: string): string {
  return log.trimEnd().split('\n').at(-1) as string
}
