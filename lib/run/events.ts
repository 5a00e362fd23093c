// What a run says of itself, as events: its log holds them, and whoever consumes `train` sees them. Makes none.

import type { ErrorCode, LoptError } from '../errors.js'
import type { Figures, Sample } from './figures.js'

/** What a run expects of reuse. */
export interface Reuse {
  /** Share of the training rows whose text is computed once, in 0..1. */
  readonly hitRate: number
  /** What the kept keys and values will take, training and dev rows together. */
  readonly bytes: number
}

/** Of several prompts that are trained together: whose event it is. */
interface OfPrompt {
  /** Its place in `prompts`, where `train` was given several; not in the log. */
  readonly prompt?: number
}

/** What `train` says as it goes; of one of several prompts, with its place. */
export type TrainEvent = OfPrompt &
  (
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
        /** Training rows whose target was cut; absent where labels answer rows. */
        readonly truncatedTargets?: number
        readonly learningRate: number
        /** The step of the checkpoint that the run goes on from; not in the log. */
        readonly resumedFrom?: number
        /** Where `graphs` is on: whether steps are captured, and if not, why. */
        readonly graphs?: { readonly captured: boolean; readonly reason?: string }
        /** Where texts are kept: a suffix prompt on a causal model. */
        readonly reuse?: Reuse
      }
    | {
        readonly type: 'step'
        /** From 1. */
        readonly step: number
        /** Of this step's batch, before the step; nats an example, or a token (`meanOver`). */
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
        /** What was generated, where texts answer rows: those with the highest loss first. */
        readonly samples?: readonly Sample[]
      } & Figures)
    /**
     * Of several prompts this one's loss or gradient was not finite, or its scores on dev: its training ended, and the others'
     * go on. It is the best where there was an evaluation, else the last good one. In the log as `LoggedFailure`.
     */
    | { readonly type: 'failed'; readonly step: number; readonly error: LoptError }
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
  )

/** `failed` as the log has it, of a run that is alone too; of where the prompt is it says nothing. */
export interface LoggedFailure {
  readonly type: 'failed'
  readonly step: number
  readonly code: ErrorCode
  readonly message: string
}
