// Which texts a training run keeps the keys and values of, and how often that will spare work. Knows
// no step.

import type { Backbone } from '../backbone/index.js'
import { type EncodedText, isVectorsAlone, TextStore } from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import { tidy } from '../torch/index.js'
import type { TrainSettings } from './options.js'

/** What a run expects of reuse. */
export interface Reuse {
  /** Share of the training rows whose text is computed once, in 0..1. */
  readonly hitRate: number
  /** What the kept keys and values will take, training and dev rows together. */
  readonly bytes: number
}

/**
 * The texts of a suffix prompt on a causal model do not depend on it. Training rows are kept only if a
 * run sees them more than once; dev rows too, after them. null where texts depend on the prompt.
 */
export function createTextStore(
  backbone: Backbone,
  prompt: Prompt | null,
  settings: TrainSettings,
  rows: { train: readonly EncodedText[]; dev: readonly EncodedText[] },
): { store: TextStore; expected: Reuse } | null {
  const { fastPaths, reuse, steps, evalEvery } = settings
  const isSuffix = backbone.kind === 'causal' && prompt?.config.placement === 'suffix'
  if (!fastPaths || !isSuffix) return null
  if (!tidy(() => isVectorsAlone(prompt.contribution()))) return null
  const store = new TextStore(backbone, reuse)
  const texts = (encoded: readonly EncodedText[]) => encoded.map(({ ids }) => ids)
  const kept = isSeenAgain(rows.train, settings) ? store.plan(texts(rows.train)) : 0
  if (evalEvery > 0 && evalEvery < steps) store.plan(texts(rows.dev))
  const expected = { hitRate: kept / rows.train.length, bytes: store.plannedBytes }
  return { store, expected }
}

/** Whether a run sees its training rows more than once: keeping a text costs memory, and time at first. */
export function isSeenAgain(
  rows: readonly EncodedText[],
  { steps, batchSize, batchTokens }: TrainSettings,
): boolean {
  const tokens = rows.reduce((sum, { ids }) => sum + ids.length, 0)
  const mean =
    batchTokens === undefined
      ? batchSize
      : Math.max(1, (batchTokens * rows.length) / tokens)
  return steps * mean > rows.length
}
