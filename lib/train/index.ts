// Public exports of training and evaluation.

export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evaluateMajority,
} from './evaluate.js'
export type { Objective } from './loss.js'
export type { Figures, Metrics } from './metrics.js'
export { openRun } from './open-run.js'
export type { ByName, OptimizerName } from './optimizer.js'
export {
  DEFAULT_GROUP_RATES,
  DEFAULT_LEARNING_RATES,
  type TrainOptions,
} from './options.js'
export type { ProfileOptions } from './profile.js'
export type { Reuse } from './reuse.js'
export type { Schedule } from './schedule.js'
export { type TrainEvent, train } from './train.js'
export { type TrainManyOptions, type TrainManyStep, trainMany } from './train-many.js'
export { loadWeights, saveWeights, selectWeights, type Weights } from './weights.js'
