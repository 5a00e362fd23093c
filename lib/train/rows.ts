// A task's rows as what prompts are trained on and judged by. Knows no step.

import type { Backbone } from '../backbone/index.js'
import {
  type EncodedText,
  encodeForPrompts,
  type TargetLimits,
} from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import type { Example, LabelTokens, Task } from '../task/index.js'
import { targetIndices } from './evaluate.js'
import type { TrainingRow } from './loss.js'

/** The rows of some prompts: those that leave room for the same texts. */
export interface PromptRows {
  readonly train: readonly TrainingRow[]
  readonly dev: readonly EncodedText[]
  /** Training rows whose text was cut to fit. */
  readonly truncated: number
  /** Training rows whose target was. */
  readonly truncatedTargets: number
}

export interface EncodedRows {
  readonly labels: LabelTokens
  /** Of each prompt, with the tokens that a text has at most; the same rows where its texts are the same. */
  readonly of: readonly { readonly limit: number; readonly rows: PromptRows }[]
}

/**
 * @param options.dev those of the task's dev rows that are evaluated
 * @throws as `encodeForPrompts`
 */
export async function encodeRows(
  backbone: Backbone,
  prompts: readonly (Prompt | null)[],
  {
    task,
    dev,
    ...limits
  }: TargetLimits & {
    task: Task
    dev: readonly Example[]
    maxLength: number | undefined
  },
): Promise<EncodedRows> {
  const lists = [task.train, dev] as const
  const found = await encodeForPrompts(backbone, prompts, task, lists, limits)
  const expected = targetIndices(task, task.train)
  const made = new Map<object, PromptRows>()
  const of = found.of.map(({ limit, encoded }) => {
    const rows = made.get(encoded) ?? rowsOf(encoded, expected, found.labels)
    made.set(encoded, rows)
    return { limit, rows }
  })
  return { labels: found.labels, of }
}

function rowsOf(
  [train, dev]: readonly [readonly EncodedText[], readonly EncodedText[]],
  expected: readonly number[],
  labels: LabelTokens,
): PromptRows {
  return {
    train: train.map(({ ids, candidates, target: own }, i): TrainingRow => {
      if (own !== undefined) {
        return {
          text: ids,
          length: ids.length + own.ids.length,
          target: own.ids,
          label: 0,
        }
      }
      const label = expected[i] as number
      const target = (candidates ?? labels.ids)[label] as readonly number[]
      return { text: ids, length: ids.length, target, label, candidates }
    }),
    dev,
    truncated: train.filter(({ truncated }) => truncated > 0).length,
    truncatedTargets: train.filter(({ target }) => (target?.truncated ?? 0) > 0).length,
  }
}
