// Public exports of scoring and generation, and what training builds on.

export {
  type BatchPlace,
  makeCausalBatch,
  makeEncoderDecoderBatch,
  type Row,
} from './batch.js'
export { candidateScores } from './candidates.js'
export {
  checkCount,
  type EncodedText,
  encodeExamples,
  encodeLabels,
  encodeTexts,
  type TextFormat,
  textLimit,
} from './encode.js'
export {
  type FinishReason,
  type GenerateEvent,
  type GenerateOptions,
  generate,
} from './generate.js'
export { labelLogProbabilities } from './label-logits.js'
export { labelLogProbabilitiesOfMany } from './many-prompts.js'
export {
  backward,
  type GivenPrompt,
  isVectorsAlone,
  type PreparedPrompt,
  type PromptLayout,
  preparePrompt,
  promptLayout,
} from './prepared-prompt.js'
export {
  argmax,
  labelScores,
  type Score,
  type ScoreOptions,
  score,
  scoreTexts,
  verbalizerLogits,
} from './score.js'
export { REUSE_BUDGET_BYTES, type ReuseOptions, TextStore } from './text-store.js'
