// The figures of a prompt on a split. Trains nothing, writes nothing.

import type { Backbone } from '../backbone/index.js'
import { about, checkMade } from '../errors.js'
import {
  argmax,
  type CandidateRow,
  candidateRow,
  checkCount,
  checkFinite,
  type EncodedText,
  encodeForPrompts,
  passGraphsOf,
  passTokens,
  type StepGraphs,
  scoreRows,
  type TargetLimits,
  TextStore,
} from '../inference/index.js'
import { checkPrompt, checkPrompts, type Prompt } from '../prompt/index.js'
import type { Sample } from '../run/index.js'
import type { Example, LabelTokens, SplitName, Task } from '../task/index.js'
import { type Metrics, taskMetrics } from './metrics.js'
import {
  type GeneratedRows,
  type GenerationSettings,
  saidBy,
  textEvaluation,
} from './said.js'

const SPLIT_NAMES: readonly SplitName[] = ['train', 'dev', 'test']

/** What `evaluate` takes for one prompt. */
export interface EvaluateOptions {
  backbone: Backbone
  /** null: the hard prompt, that is the task's template alone. */
  prompt: Prompt | null
  /** In place of `prompt`: several that are evaluated in one pass. */
  prompts?: undefined
  task: Task
  /** Default `test`. */
  split?: SplitName
  /** Only the split's first rows. */
  limit?: number
  /** Tokens of text at most; default: what the prompt was trained with, or what fits. */
  maxLength?: number | undefined
  /** Texts that are run at once, each with all prompts; default 16. */
  batchSize?: number
  /** false: nothing is skipped or shared that the frozen model would allow; default true. */
  fastPaths?: boolean
  /** As `score` and `generate` have it. */
  graphs?: boolean
  /** Of a task whose rows texts answer: tokens of a target at most, and what becomes of longer ones, as `train` has it. */
  maxTargetLength?: number | undefined
  longTargets?: TargetLimits['longTargets']
  /**
   * Of such a task: how texts are generated and compared with the targets; default: greedily, as long as the longest target.
   * false: not at all, which leaves `perplexity` alone.
   */
  generation?: GenerationSettings | false | undefined
  signal?: AbortSignal
}

export interface Evaluation extends Metrics {
  readonly labels: readonly string[]
  /**
   * Mean negative log-likelihood (nats) of the right label's tokens, over the whole vocabulary; of the
   * likeliest where several are right. Where texts answer rows, the mean over the tokens of all targets.
   */
  readonly loss: number
  /** The predicted label of each row, or the text that was generated, in the split's order; none where none was. */
  readonly predictions: readonly string[]
  readonly examples: number
  /** Rows whose text was cut to fit. */
  readonly truncated: number
  /** Rows whose target was cut; absent where labels answer rows. */
  readonly truncatedTargets?: number
  /** Texts that were generated, those with the highest loss first; absent where labels answer rows. */
  readonly samples?: readonly Sample[]
}

/** `evaluate` of several prompts. */
export interface EvaluateManyOptions extends Omit<EvaluateOptions, 'prompt' | 'prompts'> {
  prompt?: undefined
  /** Of any methods, placements and lengths. */
  prompts: readonly Prompt[]
}

/**
 * Predicts the label with the highest score for every row of a split, and compares. Where texts answer rows, their
 * likelihood is measured, and texts are generated and compared with them.
 *
 * @example
 * const { accuracy } = await evaluate({ backbone, prompt, task, split: 'test' })
 *
 * @returns for `prompts` one a prompt, each what it is alone
 * @throws RangeError for an empty split or options out of range; LoptError `ERR_NON_FINITE_LOSS`, naming which of
 *   `prompts`, `ERR_ABORTED`.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation>
export async function evaluate(options: EvaluateManyOptions): Promise<Evaluation[]>
export async function evaluate(
  options: EvaluateOptions | EvaluateManyOptions,
): Promise<Evaluation | Evaluation[]> {
  const { backbone, prompt, task, split = 'test', limit, maxLength } = options
  checkMade({ backbone, task })
  const prompts = promptsOf(options)
  if (limit !== undefined) checkCount(limit, 'limit')
  checkRows(task, split)
  const examples = task[split].slice(0, limit)
  const { maxTargetLength, longTargets, generation } = options
  const encoded = await encodeForPrompts(backbone, prompts, task, [examples] as const, {
    ...{ maxLength, maxTargetLength, longTargets },
    trained: true,
  })
  const { labels } = encoded
  const lists = encoded.of.map(({ encoded: [list] }) => list)
  const judged = await judgeExamples(task, prompts, lists, {
    ...options,
    graphs: passGraphsOf(backbone, options.graphs),
    labels,
    rows: generation === false ? 0 : 'all',
    generation: generation || undefined,
  })
  const evaluations = judged.map((own, k) => {
    const of = () => evaluationOf(task, examples, lists[k] as EncodedText[], own)
    return about(prompt === undefined ? `prompts[${k}]` : undefined, of)
  })
  return prompt === undefined ? evaluations : (evaluations[0] as Evaluation)
}

function promptsOf({
  backbone,
  prompt,
  prompts,
}: EvaluateOptions | EvaluateManyOptions): readonly (Prompt | null)[] {
  if ((prompt === undefined) === (prompts === undefined)) {
    throw new TypeError(
      'Give what is to be evaluated: either prompt (null: none) or prompts',
    )
  }
  if (prompts === undefined) {
    if (prompt) checkPrompt(prompt, backbone)
    return [prompt ?? null]
  }
  checkPrompts(prompts, backbone)
  return prompts
}

/**
 * The scores of the same examples by each of several prompts, in one pass.
 *
 * @param lists the examples as ids, for each prompt
 * @param options.textStore keeps the texts' keys and values between evaluations
 * @returns by prompt and example; those of one that is not finite leave the others as they are
 */
export async function scoreExamples(
  prompts: readonly (Prompt | null)[],
  lists: readonly (readonly EncodedText[])[],
  options: {
    backbone: Backbone
    labels: LabelTokens
    batchSize?: number | undefined
    fastPaths?: boolean | undefined
    textStore?: TextStore | null | undefined
    /** Where passes are captured. */
    graphs?: StepGraphs | null | undefined
    signal?: AbortSignal | undefined
  },
): Promise<number[][][]> {
  const { backbone, labels, batchSize = 16, textStore = null } = options
  checkCount(batchSize, 'batchSize')
  const K = prompts.length
  // A text's rows next to each other: they share a batch.
  const rows = (lists[0] ?? []).flatMap((_, i) =>
    lists.map((list, prompt) => {
      return { ...candidateRow(list[i] as EncodedText, labels.ids), prompt }
    }),
  )
  // Texts before several suffix prompts run once for all of them.
  const isShared = textStore === null && K > 1 && backbone.kind === 'causal'
  const passing = isShared ? new TextStore(backbone, { budgetBytes: 0 }) : null
  try {
    const scores = await scoreRows(rows, {
      ...{ ...options, prompts, textStore: textStore ?? passing },
      batchSize: K * textsAtOnce(backbone, prompts, rows, batchSize),
    })
    return prompts.map((_, k) => scores.filter((_, n) => n % K === k))
  } finally {
    passing?.dispose()
  }
}

/** What prompts make of examples: of each candidate its score, and texts that were generated, by row. */
export interface Judged {
  readonly scores: readonly (readonly number[])[]
  readonly said: ReadonlyMap<number, string>
}

/**
 * Scores of the same examples by several prompts, and, where texts answer them, texts that the prompts generate.
 *
 * @param options.rows of which texts are generated
 * @returns by prompt, as `scoreExamples`
 */
export async function judgeExamples(
  task: Task,
  prompts: readonly (Prompt | null)[],
  lists: readonly (readonly EncodedText[])[],
  options: Parameters<typeof scoreExamples>[2] & {
    rows: GeneratedRows
    generation?: GenerationSettings | undefined
  },
): Promise<Judged[]> {
  const scores = await scoreExamples(prompts, lists, options)
  if (task.target === undefined) {
    return scores.map((own) => ({ scores: own, said: new Map() }))
  }
  const said = await saidBy(prompts, lists, scores, options)
  return scores.map((own, k) => {
    return { scores: own, said: said[k] as Map<number, string> }
  })
}

/** Texts that are run at once, each with all prompts: as many as pay, or as one prompt's rows would be. */
function textsAtOnce(
  backbone: Backbone,
  prompts: readonly (Prompt | null)[],
  rows: readonly CandidateRow[],
  batchSize: number,
): number {
  const K = prompts.length
  const T = rows.reduce((longest, { text }) => Math.max(longest, text.length), 1)
  const P = Math.max(...prompts.map((prompt) => prompt?.config.length ?? 0))
  const most = Math.max(batchSize, passTokens(backbone) / (T + P))
  return Math.max(1, Math.min(batchSize, Math.floor(most / K)))
}

/**
 * What scores say of a prompt.
 *
 * @throws LoptError `ERR_NON_FINITE_LOSS` for scores that are not finite.
 */
export function evaluationOf(
  task: Task,
  examples: readonly Example[],
  encoded: readonly EncodedText[],
  { scores, said }: Judged,
): Evaluation {
  for (const row of scores) checkFinite(row)
  const truncated = encoded.filter((text) => text.truncated > 0).length
  if (task.target !== undefined) {
    const found = textEvaluation(task, examples, encoded, scores, said)
    return {
      ...found.figures,
      confusion: [],
      labels: [],
      loss: found.loss,
      predictions: examples.flatMap((_, i) => said.get(i) ?? []),
      examples: examples.length,
      truncated,
      truncatedTargets: encoded.filter(({ target }) => (target?.truncated ?? 0) > 0)
        .length,
      samples: found.samples,
    }
  }
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
    truncated,
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
