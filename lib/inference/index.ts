// Public exports of scoring and generation, and what training builds on.

export {
  type BatchPlace,
  makeCausalBatch,
  makeEncoderDecoderBatch,
  predictedOf,
  type Row,
} from './batch.js'
export { type CandidateRow, candidateLogits, candidateScores } from './candidates.js'
export type { TokenLogProbability } from './choose.js'
export {
  Continuation,
  type ContinuationOptions,
  type DoneEvent,
  type FinishReason,
  type TokenEvent,
} from './continuation.js'
export { ContinuousBatch, type Grown, roomFor } from './continuous-batch.js'
export { Decoding } from './decoding.js'
export {
  checkCount,
  type EncodedText,
  encodeCandidates,
  encodeLabels,
  encodeTexts,
  firstToken,
  type TextFormat,
  textLimit,
  tokenizeLabels,
} from './encode.js'
export { encodeExamples } from './encode-examples.js'
export { type EncodedLists, encodeForPrompts } from './encode-for-prompts.js'
export { LONG_TARGETS, type TargetLimits } from './encode-targets.js'
export { filledIds, isFields } from './filled.js'
export {
  continuationsOf,
  type FailedEvent,
  type GenerateEvent,
  type GenerateManyEvent,
  type GenerateManyOptions,
  type GenerateOptions,
  type GenerateRow,
  type GenerationOptions,
  generate,
  NEW_TOKENS,
} from './generate.js'
export { Inputs } from './inputs.js'
export { cacheBytes } from './key-value-cache.js'
export type { Waiting } from './label-hidden.js'
export { labelLogProbabilities } from './label-logits.js'
export { PartialScores } from './partial-scores.js'
export { passGraphsOf, passScores } from './pass-scores.js'
export { passTokens, rowTokens } from './pass-size.js'
export { PromptCache } from './prompt-cache.js'
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
export { type ReadToken, readTokens } from './read.js'
export type { DecodingSize } from './reader.js'
export {
  argmax,
  candidateRow,
  checkFinite,
  fieldsOf,
  type Score,
  type ScoreManyOptions,
  type ScoreOptions,
  score,
  scoreRows,
  storedFormat,
} from './score.js'
export { StepGraphs, withRoom } from './step-graphs.js'
export { REUSE_BUDGET_BYTES, type ReuseOptions, TextStore } from './text-store.js'
