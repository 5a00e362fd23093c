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
 *
 * @returns `expected`: of each of the rows that are kept
 */
export function createTextStore(
  backbone: Backbone,
  prompts: readonly PromptAndRows[],
  settings: TrainSettings,
): { store: TextStore; expected: ReadonlyMap<PromptRows, Reuse> } | null {
  const { fastPaths, reuse, evalEvery, steps } = settings
  if (!fastPaths || backbone.kind !== 'causal') return null
  const isApart = ({ prompt }: PromptAndRows) =>
    prompt?.config.placement === 'suffix' &&
    tidy(() => isVectorsAlone(prompt.contribution()))
  const all = [...new Set(prompts.filter(isApart).map(({ rows }) => rows))]
  if (all.length === 0) return null
  const store = new TextStore(backbone, reuse)
  const plan = (texts: readonly (readonly number[])[]) => {
    const before = store.plannedBytes
    return { kept: store.plan(texts), bytes: store.plannedBytes - before }
  }
  const train = all.map((rows) =>
    plan(isSeenAgain(rows.train, settings) ? rows.train.map(({ text }) => text) : []),
  )
  const isJudgedAgain = evalEvery > 0 && evalEvery < steps
  const dev = all.map((rows) => plan(isJudgedAgain ? rows.dev.map(({ ids }) => ids) : []))
  const expected = all.map((rows, i): [PromptRows, Reuse] => {
    const { kept = 0, bytes = 0 } = train[i] ?? {}
    return [
      rows,
      { hitRate: kept / rows.train.length, bytes: bytes + (dev[i]?.bytes ?? 0) },
    ]
  })
  return { store, expected: new Map(expected) }
}

/** Whether a run sees its training rows more than once: keeping a text costs memory, and time at first. */
function isSeenAgain(
  rows: PromptRows['train'],
  { steps, batchSize, batchTokens }: TrainSettings,
): boolean {
  const tokens = rows.reduce((sum, { length }) => sum + length, 0)
  const mean =
    batchTokens === undefined
      ? batchSize
      : Math.max(1, (batchTokens * rows.length) / tokens)
  return steps * mean > rows.length
}
