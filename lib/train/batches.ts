// Which rows a step sees: shuffled anew each epoch by seed, on and on, rows of like length together.
// Knows a row's length, nothing else of it.

import { Generator, randperm, tidy } from '../torch/index.js'

/** Rows of like length are looked for among this many batches: few enough to stay well shuffled. */
const POOL_BATCHES = 50

export interface BatchOptions {
  batchSize: number
  shuffle: boolean
  seed: number
  /** Batch rows of like length, so that little padding is computed; shuffled epochs only. */
  byLength: boolean
}

/**
 * Indices of batches without end. The rows that do not fill an epoch's last batch come first in the
 * next epoch.
 *
 * With `byLength` an epoch's shuffled rows are cut into pools of 50 batches, each pool sorted by
 * length and cut into batches, and the epoch's batches shuffled again. Every row is still seen once
 * an epoch.
 *
 * @param lengths of each row, in tokens
 */
export function* batches(
  lengths: readonly number[],
  { batchSize, shuffle, seed, byLength }: BatchOptions,
): IterableIterator<number[]> {
  const generator = shuffle ? new Generator({ seed }) : null
  let left: number[] = []
  for (;;) {
    const rows = [...left, ...order(lengths.length, generator)]
    const whole = rows.length - (rows.length % batchSize)
    left = rows.slice(whole)
    const epoch = rows.slice(0, whole)
    if (generator === null || !byLength) {
      yield* chunks(epoch, batchSize)
      continue
    }
    const length = (row: number) => lengths[row] as number
    const sorted = chunks(epoch, POOL_BATCHES * batchSize).flatMap((pool) =>
      chunks(
        pool.sort((a, b) => length(a) - length(b)),
        batchSize,
      ),
    )
    for (const i of order(sorted.length, generator)) yield sorted[i] as number[]
  }
}

/** 0..count - 1, drawn by the generator or as they are. */
function order(count: number, generator: Generator | null): number[] {
  if (generator === null) return Array.from({ length: count }, (_, i) => i)
  return tidy(() => Array.from(randperm(count, { generator }).data(), Number))
}

function chunks<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) =>
    values.slice(i * size, (i + 1) * size),
  )
}
