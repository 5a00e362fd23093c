// What a task is: examples, a template, labels and their words or texts that answer. Data only; knows no model.

/** What a row may be answered with: the words that are scored, and the label that they mean. */
export interface Candidate {
  readonly label: string
  readonly words: string
}

/** How rows are answered by texts of their own, in the place of labels. */
export interface TargetFormat {
  /**
   * What is to be said, `{field}` being a row's value. Default: the field `target`, behind a space where a causal model
   * goes on with it, as a label.
   */
  readonly template?: string | undefined
  /** Whether the token that ends a text is learned behind it. */
  readonly end: boolean
}

/** One row: the values of the template's fields, and the label that is right for it. */
export interface Example {
  readonly fields: Readonly<Record<string, string>>
  /** Where rows are answered by texts: the one that is learned. */
  readonly label: string
  /** Every text that is right, `label` first; absent in a row that is answered by a label. */
  readonly targets?: readonly string[]
  /** Every label that is right, `label` among them, where there are several. */
  readonly answers?: readonly string[]
  /**
   * What this row is answered with, in the place of the task's labels and their words. Several may mean
   * one label; training teaches the first that means the right one.
   */
  readonly candidates?: readonly Candidate[]
  /** Rows of one name are judged together: the answers to a question. */
  readonly group?: string
  /** Where the row was read, for messages; absent when it did not come from a data file. */
  readonly source?: { readonly file: string; readonly line: number }
}

/**
 * The figures that a task may be judged by; its best checkpoint is the one with the highest.
 * `f1a`: F1 of the last label over all rows, beside the share of groups that are all right (MultiRC).
 * `answer-f1`: F1 over the words of answer and prediction, the best over the right answers (ReCoRD).
 */
export const LABEL_METRICS = ['accuracy', 'macro-f1', 'f1a', 'answer-f1'] as const

/**
 * The same where rows are answered by texts. `perplexity` of the targets' tokens, the only one of which less is better;
 * the others compare a text that is generated: docs/datasets.md. `own`: a function of the caller's.
 */
export const TEXT_METRICS = [
  ...(['perplexity', 'exact-match', 'token-f1'] as const),
  ...(['rouge-1', 'rouge-2', 'rouge-l', 'bleu', 'chrf', 'own'] as const),
] as const

export const METRICS = [...LABEL_METRICS, ...TEXT_METRICS] as const

/** What an evaluation is judged by. */
export type Metric = (typeof METRICS)[number]

/** A row with what was generated for it. */
export interface SaidRow {
  readonly fields: Example['fields']
  /** Every text that is right. */
  readonly targets: readonly string[]
  readonly generated: string
}

/** A figure of the caller's own, of all rows of an evaluation: more is better. */
export type TextMetric = (rows: readonly SaidRow[]) => number

/** A part of a task's rows. */
export type SplitName = 'train' | 'dev' | 'test'

/**
 * What a task's rows were taken from, and how: with the template, labels and metric of the task
 * itself enough to load it again. Neither `task` nor `data`: the rows were given in memory.
 */
export interface TaskSource {
  /** The task's name, if it is one that `loadTask` knows. */
  readonly task?: string
  /** Of a task of the literature: where its rows came from, if not from the hub's main branch. */
  readonly folder?: string
  readonly revision?: string
  /** And whose texts and splits it has. */
  readonly templates?: string
  readonly splits?: string
  /** Data files, as absolute paths: all rows or those to train on, and those of `dev` and `test`. */
  readonly data?: string
  readonly evalData?: string
  readonly testData?: string
  /** The name of the label's field. */
  readonly labelField?: string
  /** What chose the rows that were held out, and those that `limit` kept. */
  readonly seed: number
  /** The part of the rows that was held out as `dev`; absent if `dev` was given. */
  readonly devFraction?: number
  /** The most rows of a split that were kept, where there was a limit. */
  readonly limit?: number | Partial<Record<SplitName, number>>
}

/** Rows of text that are answered by labels, by candidates of their own, or by texts. */
export interface Task {
  readonly name: string
  /**
   * Every label that a row may have, at least two, in the order in which scores are given; none where
   * each row has candidates with labels of its own, or is answered by a text.
   */
  readonly labels: readonly string[]
  /** The text that the model reads, with `{field}` where a row's value goes. */
  readonly template: string
  /** The names in the template, each once, in order of appearance. */
  readonly fields: readonly string[]
  /** Label → the words that the model is shown; every label has an entry. */
  readonly verbalizer: Readonly<Record<string, string>>
  /** Where rows are answered by texts; there are no labels then. */
  readonly target?: TargetFormat
  readonly metric: Metric
  /** What gives the metric `own`. */
  readonly judge?: TextMetric
  readonly train: readonly Example[]
  /** May be empty, if the rows to hold out were set to 0. */
  readonly dev: readonly Example[]
  /** Empty if the task has no test rows. */
  readonly test: readonly Example[]
  /** How many rows of `dev` were taken from the training rows; 0 if it was given. */
  readonly heldOut: number
  /** Absent in a task that neither `loadTask` nor `createTask` made. */
  readonly source?: TaskSource
}
