// Which rows a step sees: shuffled anew each epoch by seed, on and on. Knows no row.

import { Generator, randperm, tidy } from '../torch/index.js'

/**
 * Indices of batches without end. A batch that reaches an epoch's last row goes on with the next
 * epoch's first.
 *
 * @param rows how many there are
 */
export function* batches(
  rows: number,
  { batchSize, shuffle, seed }: { batchSize: number; shuffle: boolean; seed: number },
): IterableIterator<number[]> {
  const generator = new Generator({ seed })
  let batch: number[] = []
  for (;;) {
    for (const row of epoch(rows, shuffle ? generator : null)) {
      batch.push(row)
      if (batch.length < batchSize) continue
      yield batch
      batch = []
    }
  }
}

function epoch(rows: number, generator: Generator | null): Iterable<number> {
  if (generator === null) return Array.from({ length: rows }, (_, i) => i)
  return tidy(() => Array.from(randperm(rows, { generator }).data(), Number))
}
