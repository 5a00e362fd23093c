// Public exports of the task layer.

export {
  type CreateTaskOptions,
  createTask,
  type HoldOut,
  type TaskRow,
  type TaskSettings,
} from './create-task.js'
export {
  type BundledTask,
  bundledTaskNames,
  bundledTasks,
  SPLITS,
  type Splits,
  TEMPLATE_STYLES,
  type TemplateStyle,
  taskNames,
} from './datasets/index.js'
export { createTextFinder, normaliseText, type TextFinder } from './datasets/normalise.js'
export {
  type LoadTaskOptions,
  loadTask,
  type ReadExamplesOptions,
  readExamples,
} from './load-task.js'
export {
  dataFileExtensions,
  type RowStream,
  readRows,
  type StreamFormat,
} from './readers/index.js'
export { type ReaderLimits, readerLimits } from './readers/lines.js'
export { exampleOf, type Row, type RowOptions } from './readers/row.js'
export {
  type Candidate,
  type Example,
  METRICS,
  type Metric,
  type SaidRow,
  type SplitName,
  type TargetFormat,
  type Task,
  type TaskSource,
  TEXT_METRICS,
  type TextMetric,
} from './task.js'
export { fillTemplate, parseTemplate, type Template } from './template.js'
export {
  type Encode,
  type EncodeMany,
  type FilledTokens,
  fillTokens,
  fillTokensOfAll,
} from './truncate.js'
export { completeVerbalizer, type LabelTokens, labelTokens } from './verbalizer.js'
