// What a task is: examples, a template, labels and their words. Data only; knows no model.

/** One row: the values of the template's fields, and the label that is right for it. */
export interface Example {
  readonly fields: Readonly<Record<string, string>>
  readonly label: string
  /** Where the row was read, for messages; absent when it did not come from a data file. */
  readonly source?: { readonly file: string; readonly line: number }
}

/** The figure that a task is judged by: its best checkpoint is the one with the highest. */
export type Metric = 'accuracy' | 'macro-f1'

export type SplitName = 'train' | 'dev' | 'test'

/** A classification task over text. */
export interface Task {
  readonly name: string
  /** Every label that a row may have, at least two, in the order in which scores are given. */
  readonly labels: readonly string[]
  /** The text that the model reads, with `{field}` where a row's value goes. */
  readonly template: string
  /** The names in the template, each once, in order of appearance. */
  readonly fields: readonly string[]
  /** Label → the words that the model is shown; every label has an entry. */
  readonly verbalizer: Readonly<Record<string, string>>
  readonly metric: Metric
  readonly train: readonly Example[]
  /** May be empty, if the rows to hold out were set to 0. */
  readonly dev: readonly Example[]
  /** Empty if the task has no test rows. */
  readonly test: readonly Example[]
  /** How many rows of `dev` were taken from the training rows; 0 if it was given. */
  readonly heldOut: number
}
