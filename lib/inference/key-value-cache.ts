// Keys and values of rows that are being continued, each row's in a slot of its own: made once, written in place. Knows
// no model and no row.

import { binding } from '../torch/context.js'
import { itemSize, keep, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { wrap } from '../torch/tensor.js'

export interface CacheShape {
  readonly layers: number
  readonly heads: number
  readonly headSize: number
  readonly slots: number
  /** Keys and values that a slot has room for. */
  readonly capacity: number
}

type Place = Pick<Tensor, 'device'> & { readonly dtype: Parameters<typeof itemSize>[0] }

/** Bytes that a cache takes. */
export function cacheBytes(
  { layers, heads, headSize, slots, capacity }: CacheShape,
  dtype: Place['dtype'],
): number {
  return 2 * layers * slots * heads * capacity * headSize * itemSize(dtype)
}

export class KeyValueCache {
  readonly capacity: number
  /** k, v of each layer, [slots, heads, capacity, D]. */
  readonly tensors: readonly Tensor[]

  private constructor(capacity: number, tensors: readonly Tensor[]) {
    this.capacity = capacity
    this.tensors = tensors
  }

  static async create(
    { layers, heads, headSize, slots, capacity }: CacheShape,
    { device, dtype }: Place,
  ): Promise<KeyValueCache> {
    const shape = [slots, heads, capacity, headSize]
    // Zeros: what a row has not written yet gets no weight, which a NaN would survive.
    const tensors: Tensor[] = []
    try {
      for (let i = 0; i < 2 * layers; i += 1) {
        tensors.push(keep(wrap(await binding().jobs.zeros(shape, dtype, device))))
      }
    } catch (error) {
      for (const tensor of tensors) tensor.dispose()
      throw error
    }
    return new KeyValueCache(capacity, tensors)
  }

  /**
   * Puts keys and values of one row, k, v of each layer, [heads, S, D], into a slot.
   *
   * @param at how many the slot has before them
   */
  async write(slot: number, at: number, given: readonly Tensor[]): Promise<void> {
    await this.#change(() =>
      given.map((values, i) => {
        const S = values.shape[1] as number
        return this.#part(i, slot, at, at + S).copy_(values)
      }),
    )
  }

  /**
   * Forgets what a slot has; the last slot's keys and values move there, so that there is no gap.
   *
   * @param lengths how many each slot has
   */
  async remove(slot: number, lengths: readonly number[]): Promise<void> {
    const last = lengths.length - 1
    const [own, moved] = [lengths[slot], lengths[last]] as [number, number]
    await this.#change(() =>
      this.tensors.flatMap((_, i) => {
        const cleared = this.#part(i, last, 0, moved)
        if (slot === last) return [cleared.fill_(0)]
        // In this order: jobs run one after the other.
        const there = this.#part(i, slot, 0, moved)
        return [
          there.copy_(cleared),
          this.#part(i, slot, moved, Math.max(own, moved)).fill_(0),
          cleared.fill_(0),
        ]
      }),
    )
  }

  /** Slot i's first `length` become those of slot `parents[i]`, whatever order that is. */
  async reorder(parents: readonly number[], length: number): Promise<void> {
    if (parents.every((parent, i) => parent === i)) return
    await noGrad(() =>
      tidy(async () => {
        const { device } = this.tensors[0] as Tensor
        const index = tensor([...parents], { dtype: 'int64', device })
        const writes = this.tensors.map((kept) => {
          const used = kept.slice(2, 0, length)
          return used.slice(0, 0, parents.length).copy_(used.indexSelect(0, index))
        })
        await Promise.all(writes)
      }),
    )
  }

  /** Work in place, whose views are freed. */
  async #change(work: () => Promise<unknown>[]): Promise<void> {
    await noGrad(() => tidy(async () => void (await Promise.all(work()))))
  }

  dispose(): void {
    for (const kept of this.tensors) kept.dispose()
  }

  #part(i: number, slot: number, begin: number, end: number): Tensor {
    return (this.tensors[i] as Tensor).select(0, slot).slice(1, begin, end)
  }
}

/** Shapes come in steps of so many keys: a step of decoding that was captured for one is used again. */
const BUCKET = 16

/** How many keys are read where `length` are needed. */
export function bucketOf(length: number, capacity: number): number {
  return Math.min(capacity, Math.ceil(length / BUCKET) * BUCKET)
}

/** @throws RangeError for keys and values that a slot has no room for */
export function checkRoom(lengths: readonly number[], capacity: number): void {
  const wrong = lengths.find((length) => length > capacity)
  if (wrong === undefined) return
  throw new RangeError(
    `Expected prompt and text to take ${capacity} positions at most, which a slot has, but they take ${wrong}`,
  )
}
