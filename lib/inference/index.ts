// Public exports of scoring and generation, and what training builds on.

export {
  type BatchPlace,
  makeCausalBatch,
  makeEncoderDecoderBatch,
  type Row,
} from './batch.js'
export { type CandidateRow, candidateLogits, candidateScores } from './candidates.js'
export {
  checkCount,
  type EncodedText,
  encodeExamples,
  encodeLabels,
  encodeTexts,
  type TextFormat,
  textLimit,
} from './encode.js'
export { type EncodedLists, encodeForPrompts } from './encode-for-prompts.js'
export {
  type FinishReason,
  type GenerateEvent,
  type GenerateOptions,
  generate,
} from './generate.js'
export { labelLogProbabilities } from './label-logits.js'
export { passTokens, rowTokens } from './pass-size.js'
export {
  backward,
  createPromptSet,
  isVectorsAlone,
  type PreparedPrompt,
  type PromptLayout,
  type PromptSet,
  type PromptSetOptions,
  pendingPromptSet,
  preparePrompts,
  promptLayouts,
} from './prompt-set.js'
export {
  argmax,
  candidateRow,
  checkFinite,
  type Score,
  type ScoreManyOptions,
  type ScoreOptions,
  score,
  scoreRows,
} from './score.js'
export { REUSE_BUDGET_BYTES, type ReuseOptions, TextStore } from './text-store.js'
