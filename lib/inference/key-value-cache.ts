// Keys and values of rows that are being continued, each row's in a slot of its own and written in place. Knows no model
// and no row.

import { binding } from '../torch/context.js'
import { itemSize, keep, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { wrap } from '../torch/tensor.js'
import type { Inputs } from './inputs.js'
import { withRoom } from './step-graphs.js'

export interface CacheShape {
  readonly layers: number
  readonly heads: number
  readonly headSize: number
  /** Slots at most. */
  readonly slots: number
  /** Keys and values that a slot has room for, at most. */
  readonly capacity: number
}

type Reserved = Pick<CacheShape, 'slots' | 'capacity'>
type Place = Pick<Tensor, 'device'> & { readonly dtype: Parameters<typeof itemSize>[0] }

/** Bytes that a cache takes at most. */
export function cacheBytes(
  { layers, heads, headSize, slots, capacity }: CacheShape,
  dtype: Place['dtype'],
): number {
  return 2 * layers * slots * heads * capacity * headSize * itemSize(dtype)
}

/** It grows as rows need it, by half of what it has at least: a token's cost does not depend on how long its text may get. */
export class KeyValueCache {
  readonly #shape: CacheShape
  readonly #place: Place
  /** k, v of each layer, [slots, heads, capacity, D] of what was reserved. */
  #tensors: readonly Tensor[] = []
  #reserved: Reserved = { slots: 0, capacity: 0 }
  #moves = 0

  constructor(shape: CacheShape, { device, dtype }: Place) {
    this.#shape = shape
    this.#place = { device, dtype }
  }

  get tensors(): readonly Tensor[] {
    return this.#tensors
  }

  /** Keys and values that a slot has room for, at most. */
  get capacity(): number {
    return this.#shape.capacity
  }

  /** How often its tensors became others: what was captured with them is worth nothing then. */
  get moves(): number {
    return this.#moves
  }

  /** Bytes that are held. */
  get bytes(): number {
    return this.#tensors.reduce(
      (sum, { numel, dtype }) => sum + numel * itemSize(dtype),
      0,
    )
  }

  /** Bytes that are held where all slots are there, and each is as long as it may get. */
  get mostBytes(): number {
    return cacheBytes(this.#shape, this.#place.dtype)
  }

  /** Makes room for all that there may ever be, where there is memory. */
  async reserveAll(): Promise<void> {
    await this.#reserve(this.#shape.slots, this.#shape.capacity)
  }

  /** Makes room for `length` keys and values in each of the first `rows` slots. */
  async reserve(rows: number, length: number): Promise<void> {
    await withRoom(this.#place.device, () => this.#reserve(rows, length))
  }

  async #reserve(rows: number, length: number): Promise<void> {
    const held = this.#reserved
    if (rows <= held.slots && length <= held.capacity) return
    const { slots, capacity } = this.#shape
    const read = bucketOf(length, capacity)
    this.#moves += 1
    const grown = {
      slots: grownTo(rows, held.slots, slots),
      capacity: bucketOf(grownTo(read, held.capacity, capacity), capacity),
    }
    await noGrad(() =>
      tidy(async () => {
        // Layer by layer: no more than one is held twice.
        for (let i = 0; i < 2 * this.#shape.layers; i += 1) await this.#grow(i, grown)
      }),
    )
    this.#reserved = grown
  }

  async #grow(i: number, { slots, capacity }: Reserved): Promise<void> {
    const { heads, headSize } = this.#shape
    const { device, dtype } = this.#place
    const shape = [slots, heads, capacity, headSize]
    // Zeros: what a row has not written yet gets no weight, which a NaN would survive.
    const grown = keep(wrap(await binding().jobs.zeros(shape, dtype, device)))
    const held = this.#tensors[i]
    if (held !== undefined) {
      const [S, , C] = held.shape as [number, number, number]
      await grown.slice(0, 0, S).slice(2, 0, C).copy_(held)
      held.dispose()
    }
    this.#tensors = Object.assign([...this.#tensors], { [i]: grown })
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

  /** Forgets what all slots have, those too that no row has any more. */
  async clear(): Promise<void> {
    await this.#change(() => this.tensors.map((kept) => kept.fill_(0)))
  }

  /** Slot i's first `length` become those of slot `parents[i]`, whatever order that is. */
  async reorder(parents: readonly number[], length: number): Promise<void> {
    if (parents.every((parent, i) => parent === i)) return
    await noGrad(() =>
      tidy(async () => {
        const { device } = this.#place
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
    for (const kept of this.#tensors) kept.dispose()
    this.#tensors = []
    this.#reserved = { slots: 0, capacity: 0 }
  }

  #part(i: number, slot: number, begin: number, end: number): Tensor {
    return (this.tensors[i] as Tensor).select(0, slot).slice(1, begin, end)
  }
}

function grownTo(needed: number, held: number, most: number): number {
  return needed <= held ? held : Math.min(most, Math.max(needed, Math.ceil(1.5 * held)))
}

/** Slots grow, and are read, in steps of so many keys. */
const BUCKET = 16

/** The same where each shape is captured: further apart, since a GPU waits longer for a capture than for keys. */
const CAPTURED_BUCKET = 64
/** The share of longer texts' keys that may be read for nothing. */
const MOST_PADDING = 0.25

/** How many keys are read where `length` are needed. */
export function bucketOf(length: number, capacity: number): number {
  return Math.min(capacity, Math.ceil(length / BUCKET) * BUCKET)
}

/** Capacity for `length` keys of which captured steps read the same counts whatever it is, and which seldom has to be another. */
export function capturedCapacity(length: number): number {
  return Math.max(CAPTURED_BUCKET, 2 ** Math.ceil(Math.log2(length)))
}

/** How many keys a step reads of a cache, and that in its signature. */
export function readOf(
  length: number,
  { capacity }: Pick<CacheShape, 'capacity'>,
  inputs: Inputs,
): number {
  const step = 2 ** Math.floor(Math.log2(length * MOST_PADDING))
  const bucket = Math.max(CAPTURED_BUCKET, step)
  const read = inputs.isBucketed
    ? Math.min(capacity, Math.ceil(length / bucket) * bucket)
    : bucketOf(length, capacity)
  inputs.note(`reads ${read}`)
  return read
}

/** Figures of rows, and `padding` for those up to R. */
export function filledTo(
  R: number,
  values: readonly number[],
  padding: number,
): readonly number[] {
  return Array.from({ length: R }, (_, row) => values[row] ?? padding)
}

/** @throws RangeError for keys and values that a slot has no room for */
export function checkRoom(lengths: readonly number[], capacity: number): void {
  const wrong = lengths.find((length) => length > capacity)
  if (wrong === undefined) return
  throw new RangeError(
    `Expected prompt and text to take ${capacity} positions at most, which a slot has, but they take ${wrong}`,
  )
}
