// Public exports of `lopt`.

export * from './backbone/index.js'
export { ERROR_CODES, type ErrorCode, LoptError } from './errors.js'
export {
  type FinishReason,
  type GenerateEvent,
  type GenerateOptions,
  generate,
  type Score,
  type ScoreOptions,
  score,
  type TextFormat,
} from './inference/index.js'
export {
  type ActivationName,
  type Contribution,
  type CreatePromptOptions,
  createPrompt,
  type LoadPromptOptions,
  loadPrompt,
  METHOD_NAMES,
  type MethodName,
  type Placement,
  Prompt,
  type PromptConfig,
  type PromptStart,
  type PromptTask,
  savePrompt,
} from './prompt/index.js'
export {
  bundledTaskNames,
  type CreateTaskOptions,
  createTask,
  type Example,
  type LoadTaskOptions,
  loadTask,
  type Metric,
  readExamples,
  type SplitName,
  type Task,
  type TaskRow,
  type TaskSource,
} from './task/index.js'
export {
  type ByName,
  DEFAULT_GROUP_RATES,
  DEFAULT_LEARNING_RATES,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evaluateMajority,
  loadWeights,
  type Metrics,
  type Objective,
  type OptimizerName,
  type Schedule,
  saveWeights,
  selectWeights,
  type TrainEvent,
  type TrainOptions,
  train,
  type Weights,
} from './train/index.js'
