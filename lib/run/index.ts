// Public exports of what a run leaves and goes on from, and what training builds on.

export type { RunState } from './checkpoint.js'
export { type RunSubjects, runConfig } from './config.js'
export type { Reuse, TrainEvent } from './events.js'
export {
  MEANS,
  type MeanOver,
  MOST_PROFILE_STEPS,
  OBJECTIVES,
  type Objective,
  OPTIMIZERS,
  type OptimizerName,
  PROFILE_STEPS,
  PROFILE_WARMUP_STEPS,
  SCHEDULES,
  type Schedule,
  type TrainSettings,
  trainFields,
} from './fields.js'
export {
  FIGURE_OF,
  FIGURES,
  type Figures,
  figuresOf,
  isLessBetter,
  isShare,
  type Sample,
  samplesAtEnds,
} from './figures.js'
export { CONFIG_FILE, METRICS_FILE, PROMPT_FILE } from './folder.js'
export { type LogLines, LogReader } from './log-reader.js'
export { type OpenedRun, openRun } from './open-run.js'
export {
  commonSteps,
  type RunParts,
  RunRecord,
  type Save,
  saveTogether,
} from './record.js'
export { type RecordedStep, type Span, traceChunks } from './trace.js'
export { loadWeights, saveWeights, selectWeights, type Weights } from './weights.js'
