// Which texts a training run keeps the keys and values of, and how often that will spare work. Knows
// no step.

import type { Backbone } from '../backbone/index.js'
import { isVectorsAlone, TextStore } from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import type { Reuse, TrainSettings } from '../run/index.js'
import { tidy } from '../torch/index.js'
import type { PromptRows } from './rows.js'

/** A prompt, and the rows that it is trained and judged on. */
interface PromptAndRows {
  readonly prompt: Prompt | null
  readonly rows: PromptRows
}

/**
 * The texts of a suffix prompt on a causal model do not depend on it. Training rows are kept only if a
 * run sees them more than once; dev rows too, after them. null where all texts depend on a prompt.
 */
export function createTextStore(
  backbone: Backbone,
  prompts: readonly PromptAndRows[],
  settings: TrainSettings,
): { store: TextStore; expected: Reuse } | null {
  const { fastPaths, reuse, evalEvery, steps } = settings
  if (!fastPaths || backbone.kind !== 'causal') return null
  const isApart = ({ prompt }: PromptAndRows) =>
    prompt?.config.placement === 'suffix' &&
    tidy(() => isVectorsAlone(prompt.contribution()))
  const all = new Set(prompts.filter(isApart).map(({ rows }) => rows))
  if (all.size === 0) return null
  const store = new TextStore(backbone, reuse)
  const train = [...all].flatMap((rows) => rows.train)
  const seenAgain = [...all].filter((rows) => isSeenAgain(rows.train, settings))
  const kept = store.plan(seenAgain.flatMap((rows) => rows.train.map(({ text }) => text)))
  if (evalEvery > 0 && evalEvery < steps) {
    store.plan([...all].flatMap(({ dev }) => dev.map(({ ids }) => ids)))
  }
  const expected = { hitRate: kept / train.length, bytes: store.plannedBytes }
  return { store, expected }
}

/** Whether a run sees its training rows more than once: keeping a text costs memory, and time at first. */
function isSeenAgain(
  rows: PromptRows['train'],
  { steps, batchSize, batchTokens }: TrainSettings,
): boolean {
  const tokens = rows.reduce((sum, { text }) => sum + text.length, 0)
  const mean =
    batchTokens === undefined
      ? batchSize
      : Math.max(1, (batchTokens * rows.length) / tokens)
  return steps * mean > rows.length
}
