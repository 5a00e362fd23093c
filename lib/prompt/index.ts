// Public exports of the prompts.

export type { ActivationName } from './activation.js'
export type { PromptConfig, PromptStart, PromptTask } from './config.js'
export { type LoadPromptOptions, loadPrompt, savePrompt } from './load-prompt.js'
export { METHOD_NAMES } from './methods/index.js'
export type { Contribution, MethodName } from './methods/method.js'
export { arrange, PLACEMENTS, type Placement } from './placement.js'
export { type CreatePromptOptions, createPrompt, Prompt } from './prompt.js'
