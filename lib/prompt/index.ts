// Public exports of the prompts.

export type { ActivationName } from './activation.js'
export type { PromptConfig, PromptStart, PromptTask } from './config.js'
export { checkPrompt, checkPrompts } from './fit.js'
export type { Init } from './init.js'
export { type LoadPromptOptions, loadPrompt, savePrompt } from './load-prompt.js'
export { METHOD_NAMES } from './methods/index.js'
export type { Contribution, MethodName } from './methods/method.js'
export {
  type ExportPeftOptions,
  exportPeft,
  type ImportPeftOptions,
  importPeft,
} from './peft.js'
export { arrange, PLACEMENTS, type Placement } from './placement.js'
export { type CreatePromptOptions, createPrompt, Prompt } from './prompt.js'
export { type CompressOptions, compressionError, compressPrompt } from './vectors.js'
