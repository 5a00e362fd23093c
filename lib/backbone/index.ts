// Public exports of the frozen models.

export type {
  BackboneConfig,
  BackboneDType,
  CausalBackbone,
  RunOptions,
  RunResult,
  Tokenizer,
} from './contract.js'
export { type CreateBackboneOptions, createBackbone } from './create.js'
export type { Gpt2Config } from './gpt2/config.js'
export { type LoadBackboneOptions, loadBackbone } from './load.js'
export { saveBackbone } from './save.js'
export { loadTokenizer } from './tokenizer.js'
