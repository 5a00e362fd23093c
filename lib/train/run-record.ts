// The side of a training run that lies on the disk: its log, its event file, its checkpoints. Knows what
// a run is made of, and not how it learns.

import type { Tensor } from '../torch/index.js'
import { tidy } from '../torch/index.js'
import {
  type Checkpoint,
  type CheckpointTensors,
  type RunState,
  readCheckpoint,
  restoreTensors,
  writeCheckpoint,
} from './checkpoint.js'
import type { createOptimizer } from './optimizer.js'
import { RunFolder } from './run-folder.js'
import { checkSameRun } from './same-run.js'
import { EventFile, scalarsOf } from './tensorboard.js'
import type { TrainEvent } from './train.js'

type Optimizer = ReturnType<typeof createOptimizer>['optimizer']

/** What a checkpoint is taken of, and put back into. */
export interface RunParts {
  readonly now: Readonly<Record<string, Tensor>>
  readonly fixed: Readonly<Record<string, Tensor>>
  readonly best: Readonly<Record<string, Tensor>>
  readonly lastGood: Readonly<Record<string, Tensor>>
  readonly optimizer: Optimizer
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

  pathOf(fileName: string): string {
    return this.#folder.pathOf(fileName)
  }

  get checkpointPath(): string {
    return this.#folder.checkpointPath
  }

  /**
   * Puts a run that was begun back to its last checkpoint; of a new one, writes the first.
   *
   * @returns the checkpoint's state and, of a finished run, its last event; undefined for a new run
   */
  async begin(
    parts: RunParts,
  ): Promise<{ state: RunState; last: TrainEvent | undefined } | undefined> {
    if (!this.#isBegun) {
      await this.save({ step: 0, seconds: 0, bestStep: 0, finished: false }, parts)
      await this.#folder.writeConfig(this.#config)
      this.#events = await EventFile.begin(this.#folder.path, 1)
      return undefined
    }
    const path = this.checkpointPath
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
    this.#events = await EventFile.begin(this.#folder.path, state.step + 1)
    return { state, last: undefined }
  }

  async log(event: TrainEvent): Promise<void> {
    await this.#folder.log(event)
    const found = scalarsOf(event)
    if (found !== null) await this.#events?.write(found.step, found.scalars)
  }

  async save(state: Omit<RunState, 'logBytes'>, parts: RunParts): Promise<void> {
    await this.#folder.flushLog()
    const tensors: CheckpointTensors = {
      now: parts.now,
      fixed: parts.fixed,
      kept: keptOf(state, parts),
    }
    await tidy(async () => {
      const optimizer = await parts.optimizer.state()
      const { logBytes } = this.#folder
      const checkpoint: Checkpoint = { state: { ...state, logBytes }, tensors, optimizer }
      await writeCheckpoint(this.checkpointPath, checkpoint)
    })
  }

  async close(): Promise<void> {
    await this.#folder.close()
  }
}

function keptOf({ best }: Pick<RunState, 'best'>, parts: RunParts) {
  return best === undefined ? parts.lastGood : parts.best
}

function lastLine(log: string): string {
  return log.trimEnd().split('\n').at(-1) as string
}
