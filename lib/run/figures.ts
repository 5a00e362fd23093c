// The figures that a run is judged by, by their names. Computes none.

import type { Metric } from '../task/index.js'

/** Shares of 1; those that a task's metric does not ask for are absent. */
export interface Figures {
  /** Share of rows predicted right. */
  readonly accuracy: number
  /** Mean of the labels' F1, each label counting the same; a label never right counts 0. */
  readonly macroF1?: number
  /** F1 of the last label over all rows. */
  readonly f1a?: number
  /** Words that prediction and answer share, as F1; mean over groups, the best of the right answers. */
  readonly f1?: number
  /** Share of the groups of which every row is right; of those whose answer is right to the word. */
  readonly exactMatch?: number
}

/** Which figure a task's metric is. */
export const FIGURE_OF: Readonly<Record<Metric, keyof Figures>> = {
  accuracy: 'accuracy',
  'macro-f1': 'macroF1',
  f1a: 'f1a',
  'answer-f1': 'f1',
}

const FIGURES = ['accuracy', 'macroF1', 'f1a', 'f1', 'exactMatch'] as const

/** The figures that there are, and nothing else. */
export function figuresOf(figures: Figures): Figures {
  const there = FIGURES.filter((name) => figures[name] !== undefined)
  const entries = there.map((name) => [name, figures[name]])
  return Object.fromEntries(entries) as unknown as Figures
}
