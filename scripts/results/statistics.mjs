// Means, spreads and the paired interval of the results. Knows no model.

import { Generator, randint } from '../../dist/torch.js'

export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Standard deviation of a sample (n - 1). */
export function deviation(values) {
  const middle = mean(values)
  return Math.sqrt(
    values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1),
  )
}

const RESAMPLES = 10_000

/**
 * Paired bootstrap: 95 % interval of the mean difference in accuracy between two methods, over the
 * test rows, each row's correctness averaged over the seeds.
 *
 * @param a one string of 0 and 1 a seed, one character a test row
 * @param b the same of the other method
 */
export function pairedInterval(a, b) {
  const rows = a[0].length
  const share = (runs, row) => mean(runs.map((run) => Number(run[row])))
  const differences = Array.from(
    { length: rows },
    (_, row) => share(a, row) - share(b, row),
  )
  const generator = new Generator({ seed: 0 })
  const means = Array.from({ length: RESAMPLES }, () => {
    const drawn = randint(0, rows, [rows], { generator })
    const indices = drawn.data()
    drawn.dispose()
    let sum = 0
    for (const index of indices) sum += differences[Number(index)]
    return sum / rows
  }).sort((x, y) => x - y)
  return {
    difference: mean(differences),
    low: means[Math.floor(RESAMPLES * 0.025)],
    high: means[Math.floor(RESAMPLES * 0.975)],
  }
}
