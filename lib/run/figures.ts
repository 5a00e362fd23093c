// The figures that a run is judged by, by their names. Computes none.

import type { Metric } from '../task/index.js'

/** Shares of 1, but for `perplexity` and `own`; those that a task's metric does not ask for are absent. */
export interface Figures {
  /** Share of rows predicted right; of generated texts that are a target to the character. */
  readonly accuracy?: number
  /** Mean of the labels' F1, each label counting the same; a label never right counts 0. */
  readonly macroF1?: number
  /** F1 of the last label over all rows. */
  readonly f1a?: number
  /** Words that prediction and answer share, as F1; mean over groups, the best of the right answers. */
  readonly f1?: number
  /** Share of the groups of which every row is right; of those whose answer is right to the word. */
  readonly exactMatch?: number
  /** Of the tokens of rows that texts answer: e to the mean negative log-likelihood (nats). Less is better. */
  readonly perplexity?: number
  /** Words that generated texts and targets share, as F1. */
  readonly tokenF1?: number
  readonly rouge1?: number
  readonly rouge2?: number
  readonly rougeL?: number
  /** A hundredth of sacrebleu's scores. */
  readonly bleu?: number
  readonly chrf?: number
  /** What the task's own function gives. */
  readonly own?: number
}

/** A row that a text answers, and what was said to it. */
export interface Sample {
  /** Its place in the split. */
  readonly row: number
  /** What the model read, before anything was cut. */
  readonly text: string
  readonly targets: readonly string[]
  readonly generated: string
  /** Mean negative log-likelihood (nats) of its target's tokens. */
  readonly loss: number
}

/** Which figure a task's metric is. */
export const FIGURE_OF: Readonly<Record<Metric, keyof Figures>> = {
  accuracy: 'accuracy',
  'macro-f1': 'macroF1',
  f1a: 'f1a',
  'answer-f1': 'f1',
  perplexity: 'perplexity',
  'exact-match': 'exactMatch',
  'token-f1': 'tokenF1',
  'rouge-1': 'rouge1',
  'rouge-2': 'rouge2',
  'rouge-l': 'rougeL',
  bleu: 'bleu',
  chrf: 'chrf',
  own: 'own',
}

/** Every figure, in the order in which they are shown. */
export const FIGURES = [
  ...(['perplexity', 'accuracy', 'macroF1', 'f1a', 'f1', 'exactMatch'] as const),
  ...(['tokenF1', 'rouge1', 'rouge2', 'rougeL', 'bleu', 'chrf', 'own'] as const),
] as const satisfies readonly (keyof Figures)[]

/** Whether a figure is a share of 1, as most are. */
export function isShare(figure: string): boolean {
  return figure !== 'perplexity' && figure !== 'own'
}

/** Whether a lower figure is the better one. */
export function isLessBetter(figure: string): boolean {
  return figure === 'perplexity'
}

/** The figures that there are, and nothing else. */
export function figuresOf(figures: Figures): Figures {
  const there = FIGURES.filter((name) => figures[name] !== undefined)
  const entries = there.map((name) => [name, figures[name]])
  return Object.fromEntries(entries) as unknown as Figures
}

/** So many samples, half of them from either end: those with the highest loss come first. */
export function samplesAtEnds(
  samples: readonly Sample[],
  count: number,
): readonly Sample[] {
  if (samples.length <= count) return samples
  const worst = Math.ceil(count / 2)
  return [...samples.slice(0, worst), ...samples.slice(samples.length - (count - worst))]
}
