// What a published data set is as a task: where its files are, how a record becomes rows, and the texts
// that the literature makes of them. Knows no particular data set.

import type { Candidate, Metric } from '../task.js'
import type { Cells } from './cells.js'

/**
 * Whose texts and label words: `gpt2` for a causal model, `dept` for a T5 as DePT and ATTEMPT have them,
 * `t5` as T5 itself was trained with.
 */
export const TEMPLATE_STYLES = ['gpt2', 'dept', 't5'] as const

/** Whose texts a task of the literature is put into. */
export type TemplateStyle = (typeof TEMPLATE_STYLES)[number]

/** A row before a style's text is made of it. */
export interface DataRow {
  readonly fields: Readonly<Record<string, string>>
  readonly label: string
  readonly answers?: readonly string[]
  readonly group?: string
  /** What may be right, where the row says so. */
  readonly choices?: readonly string[]
  /** The file's line, or its row. */
  readonly source: { readonly file: string; readonly line: number }
}

export interface Format {
  readonly template: string
  /** Label → words; a label that is not named stands for itself. */
  readonly words: Readonly<Record<string, string>>
  /** The row's own candidates, where it is not answered with the labels. */
  readonly candidates?: (row: DataRow) => readonly Candidate[]
  /** What training sees of a row; by default the row itself. */
  readonly training?: (row: DataRow) => readonly DataRow[]
}

/** A data set of the literature. */
export interface NamedTask {
  readonly name: string
  /** None where each row has its own. */
  readonly labels: readonly string[]
  readonly metric: Metric
  /** The fields that every row has, for templates. */
  readonly fields: readonly string[]
  readonly hub: {
    readonly repository: string
    /** The folder of the Parquet files in the repository. */
    readonly folder: string
  }
  readonly original: {
    /** The folder's name in the archive that the data set came in. */
    readonly folder: string
    readonly files: { readonly train: string; readonly evaluation: string }
    /** The columns of files without a header row. */
    readonly header?: string[]
  }
  /** What the second split is called on the hub. */
  readonly evaluation: 'validation' | 'test'
  /** `halves`: of the validation rows for dev and test; `train`: 1,000 training rows are dev. */
  readonly devFrom: 'halves' | 'train'
  readonly formats: Readonly<Record<TemplateStyle, Format>>
  /** The rows of one record of the hub's files or the original ones. */
  readonly rows: (record: Cells) => DataRow[]
}
