// Public exports of the engine.

export { createEngine, type EngineOptions } from './engine.js'
export type { EngineLimits } from './limits.js'
export type { RequestError } from './request-error.js'
export type {
  Classification,
  ClassifyRequest,
  Engine,
  EngineEvent,
  EngineStats,
  GenerateInput,
  GenerateRequest,
  Generation,
  Input,
  PromptName,
  ReadRequest,
  RequestOptions,
  ServedPrompt,
} from './requests.js'
