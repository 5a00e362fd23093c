// Public exports of `lopt/server`: an engine's requests over HTTP.

export {
  type Classification,
  type ClassifyRequest,
  createEngine,
  type Engine,
  type EngineLimits,
  type EngineOptions,
  type EngineStats,
  type GenerateRequest,
  type Generation,
} from '../engine/index.js'
export {
  type FetchHandler,
  fetchHandler,
  type HandlerOptions,
  type NodeHandler,
  nodeHandler,
} from './handlers.js'
export { readKeyFile } from './keys.js'
export type { ServeLimits, ServeOptions } from './options.js'
export { type ServePluginOptions, servePlugin } from './plugin.js'
export {
  type FolderReport,
  PromptsFolder,
  type PromptsFolderOptions,
} from './prompts-folder.js'
export { createServer, type ServerOptions } from './server.js'
