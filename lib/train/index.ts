// Public exports of training and evaluation.

export {
  type EvaluateManyOptions,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evaluateMajority,
} from './evaluate.js'
export type { Metrics } from './metrics.js'
export type { ByName } from './optimizer.js'
export {
  DEFAULT_GROUP_RATES,
  DEFAULT_LEARNING_RATES,
  type PromptTraining,
  type TrainOptions,
} from './options.js'
export type { ProfileOptions } from './profile.js'
export { train } from './train.js'
