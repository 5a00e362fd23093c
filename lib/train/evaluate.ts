// The figures of a prompt on a split. Trains nothing, writes nothing.

import type { Backbone } from '../backbone/index.js'
import { checkMade } from '../errors.js'
import {
  argmax,
  checkCount,
  type EncodedText,
  encodeExamples,
  scoreTexts,
  type TextStore,
} from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import type { Example, LabelTokens, SplitName, Task } from '../task/index.js'
import { type Metrics, taskMetrics } from './metrics.js'

const SPLIT_NAMES: readonly SplitName[] = ['train', 'dev', 'test']

export interface EvaluateOptions {
  backbone: Backbone
  /** null: the hard prompt, that is the task's template alone. */
  prompt: Prompt | null
  task: Task
  /** Default `test`. */
  split?: SplitName
  /** Only the split's first rows. */
  limit?: number
  /** Tokens of text at most; default: what the prompt was trained with, or what fits. */
  maxLength?: number | undefined
  /** Default 16. */
  batchSize?: number
  /** false: nothing is skipped or shared that the frozen model would allow; default true. */
  fastPaths?: boolean
  signal?: AbortSignal
}

export interface Evaluation extends Metrics {
  readonly labels: readonly string[]
  /**
   * Mean negative log-likelihood (nats) of the right label's tokens, over the whole vocabulary; of the
   * likeliest where several are right.
   */
  readonly loss: number
  /** The predicted label of each row, in the split's order. */
  readonly predictions: readonly string[]
  readonly examples: number
  /** Rows whose text was cut to fit. */
  readonly truncated: number
}

/**
 * Predicts the label with the highest score for every row of a split, and compares.
 *
 * @throws RangeError for an empty split or options out of range; LoptError `ERR_ABORTED`.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const { backbone, prompt, task, split = 'test', batchSize, fastPaths, signal } = options
  checkMade({ backbone, task, ...(prompt && { prompt }) })
  const { limit, maxLength } = options
  if (limit !== undefined) checkCount(limit, 'limit')
  checkRows(task, split)
  const examples = task[split].slice(0, limit)
  const limits = { maxLength, trained: prompt?.task?.maxLength }
  const {
    labels,
    encoded: [encoded],
  } = await encodeExamples(backbone, prompt, task, [examples] as const, limits)
  return await evaluateEncoded({
    backbone,
    prompt,
    task,
    labels,
    examples,
    encoded,
    batchSize,
    fastPaths,
    signal,
  })
}

/** `evaluate` of texts that are ids already: training encodes its dev rows once. */
export async function evaluateEncoded(options: {
  backbone: Backbone
  prompt: Prompt | null
  task: Task
  labels: LabelTokens
  examples: readonly Example[]
  encoded: readonly EncodedText[]
  batchSize?: number | undefined
  fastPaths?: boolean | undefined
  /** Keeps the texts' keys and values between evaluations. */
  textStore?: TextStore | null | undefined
  signal?: AbortSignal | undefined
}): Promise<Evaluation> {
  const { task, examples, encoded } = options
  const scores = await scoreTexts(options)
  const meanings = examples.map(({ candidates }) =>
    candidates ? candidates.map(({ label }) => label) : task.labels,
  )
  const predictions = scores.map((row, i) => meanings[i]?.[argmax(row)] as string)
  const losses = scores.map((row, i) => {
    const { label, answers = [label] } = examples[i] as Example
    const right = row.filter((_, n) => answers.includes(meanings[i]?.[n] as string))
    return -right.reduce((best, score) => Math.max(best, score))
  })
  return {
    ...taskMetrics(task, examples, predictions),
    labels: task.labels,
    loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
    predictions,
    examples: examples.length,
    truncated: encoded.filter((text) => text.truncated > 0).length,
  }
}

/** Index of each example's right label, among the task's labels or its own candidates. */
export function targetIndices(task: Task, examples: readonly Example[]): number[] {
  const index = new Map(task.labels.map((label, i) => [label, i]))
  return examples.map(({ label, candidates }) =>
    candidates
      ? candidates.findIndex((candidate) => candidate.label === label)
      : (index.get(label) as number),
  )
}

/**
 * The figures of always answering with the training split's most frequent label; undefined for a task
 * whose rows have labels of their own.
 */
export function evaluateMajority(
  task: Task,
  split: SplitName = 'test',
): (Metrics & { label: string }) | undefined {
  checkRows(task, split)
  if (task.labels.length === 0) return undefined
  const counts = task.labels.map(
    (label) => task.train.filter((example) => example.label === label).length,
  )
  const label = task.labels[argmax(counts)] as string
  const predictions = task[split].map(() => label)
  return { ...taskMetrics(task, task[split], predictions), label }
}

function checkRows(task: Task, split: SplitName): void {
  if (!SPLIT_NAMES.includes(split)) {
    throw new RangeError(
      `Expected split to be one of ${SPLIT_NAMES.join(', ')} but received ${JSON.stringify(split)}`,
    )
  }
  if (task[split].length > 0) return
  throw new RangeError(`The task ${task.name} has no rows in its ${split} split`)
}
