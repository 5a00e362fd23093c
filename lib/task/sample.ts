// Seeded choice of rows: the same seed chooses the same rows on every machine. Knows no row.

/**
 * The numbers 0..count-1 in an order that depends on `seed` alone.
 *
 * The stream is mulberry32, the shuffle Fisher and Yates's. It needs no libtorch, whose generator
 * lies in a layer that a task does not reach.
 */
export function seededOrder(count: number, seed: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i)
  // both halves of the seed count: seeds above 2^32 are not the same as their remainders
  let state = (seed ^ Math.imul(Math.floor(seed / 2 ** 32) + 1, 0x9e3779b1)) >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1))
    const swap = order[i] as number
    order[i] = order[j] as number
    order[j] = swap
  }
  return order
}

/** `count` of the rows by seed (all if there are fewer), in the order that they had. */
export function sample<T>(rows: readonly T[], count: number, seed: number): T[] {
  if (count >= rows.length) return [...rows]
  return pick(rows, seededOrder(rows.length, seed).slice(0, count))
}

/** `count` rows taken away by seed, and the rest; both in the order that they had. */
export function holdOut<T>(
  rows: readonly T[],
  count: number,
  seed: number,
): { taken: T[]; rest: T[] } {
  const order = seededOrder(rows.length, seed)
  return {
    taken: pick(rows, order.slice(0, count)),
    rest: pick(rows, order.slice(count)),
  }
}

function pick<T>(rows: readonly T[], indices: number[]): T[] {
  return indices.sort((a, b) => a - b).map((i) => rows[i] as T)
}
