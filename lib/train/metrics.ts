// The figures of predictions: accuracy, macro-F1, the confusion table, and those over groups of rows.
// Knows labels and no model.

import { FIGURE_OF, type Figures, isLessBetter } from '../run/index.js'
import type { Example, Metric, Task } from '../task/index.js'
import { answerF1, isExactMatch } from './answers.js'

export interface Metrics extends Figures {
  /** `confusion[i][j]`: rows of label i predicted as label j, in the order of `labels`. */
  readonly confusion: readonly (readonly number[])[]
}

/** What a task's metric asks for, of a prediction an example. */
export function taskMetrics(
  task: Pick<Task, 'labels' | 'metric'>,
  examples: readonly Example[],
  predictions: readonly string[],
): Metrics {
  const { labels, metric } = task
  if (metric === 'answer-f1') {
    return { ...answerFigures(examples, predictions), confusion: [] }
  }
  if (labels.length === 0) {
    const right = examples.filter((example, i) => isRight(example, predictions[i]))
    return { accuracy: right.length / examples.length, confusion: [] }
  }
  const index = new Map(labels.map((label, i) => [label, i]))
  const metrics = classificationMetrics(
    examples.map(({ label }) => index.get(label) as number),
    predictions.map((label) => index.get(label) as number),
    labels.length,
  )
  if (metric !== 'f1a') return metrics
  return {
    ...metrics,
    f1a: labelF1(metrics.confusion, labels.length - 1),
    exactMatch: mean(
      groups(examples).map((rows) =>
        Number(rows.every((i) => isRight(examples[i] as Example, predictions[i]))),
      ),
    ),
  }
}

/** Of the first row of each group: training rows of several answers have the same text. */
function answerFigures(
  examples: readonly Example[],
  predictions: readonly string[],
): Figures {
  const firsts = groups(examples).map(([first]) => first as number)
  const each = firsts.map((i) => {
    const example = examples[i] as Example
    const { label, answers = [label] } = example
    const prediction = predictions[i] as string
    return {
      right: Number(isRight(example, prediction)),
      f1: Math.max(...answers.map((answer) => answerF1(answer, prediction))),
      exact: Number(answers.some((answer) => isExactMatch(answer, prediction))),
    }
  })
  return {
    accuracy: mean(each.map(({ right }) => right)),
    f1: mean(each.map(({ f1 }) => f1)),
    exactMatch: mean(each.map(({ exact }) => exact)),
  }
}

function isRight(
  { label, answers = [label] }: Example,
  prediction: string | undefined,
): boolean {
  return prediction !== undefined && answers.includes(prediction)
}

/** Indices of the rows of each group; a row without one is a group by itself. */
function groups(examples: readonly Example[]): number[][] {
  const rows = new Map<string | number, number[]>()
  examples.forEach(({ group }, i) => {
    const same = rows.get(group ?? i)
    if (same) same.push(i)
    else rows.set(group ?? i, [i])
  })
  return [...rows.values()]
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** 2 TP / (2 TP + FP + FN), and TP + FN are its rows, TP + FP its predictions; 0 with neither. */
function labelF1(confusion: Metrics['confusion'], label: number): number {
  const rows = (confusion[label] ?? []).reduce((sum, n) => sum + n, 0)
  const guesses = confusion.reduce((sum, counts) => sum + (counts[label] ?? 0), 0)
  const right = confusion[label]?.[label] ?? 0
  return rows + guesses === 0 ? 0 : (2 * right) / (rows + guesses)
}

/**
 * @param expected index of each row's label
 * @param predicted index of each row's prediction
 * @param labels how many labels there are
 */
export function classificationMetrics(
  expected: readonly number[],
  predicted: readonly number[],
  labels: number,
): Metrics & { macroF1: number } {
  const confusion = Array.from({ length: labels }, () =>
    new Array<number>(labels).fill(0),
  )
  expected.forEach((label, row) => {
    const counts = confusion[label] as number[]
    const guess = predicted[row] as number
    counts[guess] = (counts[guess] as number) + 1
  })
  const right = confusion.map((counts, i) => counts[i] as number)
  const f1 = confusion.map((_, label) => labelF1(confusion, label))
  return {
    accuracy: right.reduce((sum, n) => sum + n, 0) / expected.length,
    macroF1: mean(f1),
    confusion,
  }
}

/** Whether an evaluation's figures are better than those of another: by the task's metric, then by the lower loss. */
export function isBetter(
  found: Figures & { loss: number },
  best: Figures & { loss: number },
  metric: Metric,
): boolean {
  // A task's metric is always among the figures of its evaluations.
  const figure = FIGURE_OF[metric]
  const [now, before] = [found, best].map((one) => one[figure] as number) as [
    number,
    number,
  ]
  if (now === before) return found.loss < best.loss
  return isLessBetter(figure) ? now < before : now > before
}
