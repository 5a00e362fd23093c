// Accuracy, macro-F1 and the confusion table. Knows labels only.

export interface Metrics {
  /** Share of rows predicted right. */
  readonly accuracy: number
  /** Mean of the labels' F1, each label counting the same; a label never right counts 0. */
  readonly macroF1: number
  /** `confusion[i][j]`: rows of label i predicted as label j, in the order of `labels`. */
  readonly confusion: readonly (readonly number[])[]
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
): Metrics {
  const confusion = Array.from({ length: labels }, () =>
    new Array<number>(labels).fill(0),
  )
  expected.forEach((label, row) => {
    const counts = confusion[label] as number[]
    const guess = predicted[row] as number
    counts[guess] = (counts[guess] as number) + 1
  })
  const right = confusion.map((counts, i) => counts[i] as number)
  const f1 = confusion.map((counts, i) => {
    const rows = counts.reduce((sum, n) => sum + n, 0)
    const guesses = confusion.reduce((sum, other) => sum + (other[i] as number), 0)
    // 2 TP / (2 TP + FP + FN), and TP + FN = rows, TP + FP = guesses
    return rows + guesses === 0 ? 0 : (2 * (right[i] as number)) / (rows + guesses)
  })
  return {
    accuracy: right.reduce((sum, n) => sum + n, 0) / expected.length,
    macroF1: f1.reduce((sum, value) => sum + value, 0) / labels,
    confusion,
  }
}
