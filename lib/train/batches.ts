// Which rows a step sees: shuffled anew each epoch by seed, on and on, rows of like length together.
// Knows a row's length, nothing else of it.

import { Generator, randperm, tidy } from '../torch/index.js'

/** Rows of like length are looked for among this many batches: few enough to stay well shuffled. */
const POOL_BATCHES = 50

export interface BatchOptions {
  batchSize: number
  /** Instead of a count of rows: a batch's longest text times its rows is at most this. */
  batchTokens?: number | undefined
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
 * With `batchTokens` no row is left for the next epoch: its last batches are smaller. A text longer than that
 * is a batch of its own.
 *
 * @param lengths of each row, in tokens
 */
export function* batches(
  lengths: readonly number[],
  { batchSize, batchTokens, shuffle, seed, byLength }: BatchOptions,
): IterableIterator<number[]> {
  const length = (row: number) => lengths[row] as number
  const generator = shuffle ? new Generator({ seed }) : null
  let left: number[] = []
  for (;;) {
    const rows = [...left, ...order(lengths.length, generator)]
    const whole =
      batchTokens === undefined ? rows.length - (rows.length % batchSize) : rows.length
    left = rows.slice(whole)
    const epoch = rows.slice(0, whole)
    const cut = (some: readonly number[]) =>
      batchTokens === undefined
        ? chunks(some, batchSize)
        : withinTokens(some, length, batchTokens)
    if (generator === null || !byLength) {
      yield* cut(epoch)
      continue
    }
    const pools = chunks(cut(epoch), POOL_BATCHES).map((some) => some.flat())
    const sorted = pools.flatMap((pool) =>
      cut(pool.sort((a, b) => length(a) - length(b))),
    )
    for (const i of order(sorted.length, generator)) yield sorted[i] as number[]
  }
}

/** The rows of each step, in the order of the steps. */
export class Batches<Row extends { readonly length: number }> {
  readonly #rows: readonly Row[]
  readonly #order: Iterator<number[]>
  #step = 0
  #batch: readonly Row[] = []

  constructor(
    rows: readonly Row[],
    settings: Omit<BatchOptions, 'byLength'> & {
      fastPaths: boolean
      batchByLength: boolean
    },
  ) {
    const byLength = settings.fastPaths && settings.batchByLength
    const lengths = rows.map(({ length }) => length)
    this.#rows = rows
    this.#order = batches(lengths, { ...settings, byLength })
  }

  /** @param step from 1; not before the one that was asked for last */
  at(step: number): readonly Row[] {
    for (; this.#step < step; this.#step += 1) {
      const chosen = this.#order.next().value as number[]
      if (this.#step === step - 1) this.#batch = chosen.map((i) => this.#rows[i] as Row)
    }
    return this.#batch
  }
}

/** 0..count - 1, drawn by the generator or as they are. */
function order(count: number, generator: Generator | null): number[] {
  if (generator === null) return Array.from({ length: count }, (_, i) => i)
  return tidy(() => Array.from(randperm(count, { generator }).data(), Number))
}

/** Rows in their order, as many together as the longest of them times their count allows. */
function withinTokens(
  rows: readonly number[],
  length: (row: number) => number,
  tokens: number,
): number[][] {
  const cut: number[][] = []
  let batch: number[] = []
  let longest = 0
  for (const row of rows) {
    longest = Math.max(longest, length(row))
    if (batch.length > 0 && longest * (batch.length + 1) > tokens) {
      cut.push(batch)
      batch = []
      longest = length(row)
    }
    batch.push(row)
  }
  return batch.length === 0 ? cut : [...cut, batch]
}

function chunks<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) =>
    values.slice(i * size, (i + 1) * size),
  )
}
