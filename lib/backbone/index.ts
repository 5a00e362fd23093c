// Public exports of the frozen models.

export type { DownloadEvent } from '../hub/index.js'
export type {
  Backbone,
  BackboneConfig,
  BackboneDType,
  CausalBackbone,
  CommonBackbone,
  CrossDecodeStepOptions,
  DecodeEncodedOptions,
  DecodeOptions,
  DecodeStepOptions,
  EncodeOptions,
  EncoderDecoderBackbone,
  Gpt2BackboneConfig,
  Quantization,
  RunBehindOptions,
  RunOptions,
  RunResult,
  RunWithPrefixesOptions,
  T5BackboneConfig,
  Tokenizer,
} from './contract.js'
export { type CreateBackboneOptions, createBackbone } from './create.js'
export type { Gpt2Config } from './gpt2/config.js'
export { type LoadBackboneOptions, loadBackbone } from './load.js'
export { saveBackbone } from './save.js'
export type { T5Config } from './t5/config.js'
export { loadTokenizer } from './tokenizer.js'
export { exportBackbone } from './torchscript-file.js'
