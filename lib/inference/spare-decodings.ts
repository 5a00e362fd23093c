// Decodings whose steps are captured, kept from one call to the next: what a call captured the next one replays. Knows no text.

import type { Backbone } from '../backbone/index.js'
import { capturesSteps, Decoding } from './decoding.js'
import { keptOf } from './kept.js'
import { capturedCapacity } from './key-value-cache.js'
import { promptCacheOf } from './prompt-cache.js'
import type { DecodingSize } from './reader.js'

/** Bytes of keys and values that are kept at most. */
const BUDGET_BYTES = 2 ** 30

/**
 * One at most is kept, without any row: calls that overlap make their own. Where nothing is captured nothing is gained, and
 * nothing kept.
 */
export class SpareDecodings {
  readonly #backbone: Backbone
  #spare: Decoding | undefined
  #isClosed = false

  constructor(backbone: Backbone) {
    this.#backbone = backbone
  }

  /** One that has room, and no rows. Its prompts are prepared once for all calls. */
  async take(size: DecodingSize): Promise<Decoding> {
    if (!capturesSteps(this.#backbone, size.graphs)) return this.#make(size)
    const wanted = roundedUp(size)
    const spare = this.#spare
    if (spare !== undefined && hasRoom(spare.size, wanted)) {
      this.#spare = undefined
      return spare
    }
    const wide = this.#make(spare === undefined ? wanted : larger(spare.size, wanted))
    const isWideKept = wide.mostBytes <= BUDGET_BYTES
    if (isWideKept) this.release() // it takes its place
    const made = isWideKept ? wide : this.#make(wanted)
    if (made.mostBytes <= BUDGET_BYTES) await made.reserveAll()
    return made
  }

  #make(size: DecodingSize): Decoding {
    return new Decoding(this.#backbone, size, promptCacheOf(this.#backbone))
  }

  /** Takes back what `take` gave, whatever rows it has; nothing of it is being done any more. */
  async give(decoding: Decoding): Promise<void> {
    if (this.#isWorthKeeping(decoding)) await decoding.clear().catch(() => {})
    // Meanwhile another may have come, or the backbone gone.
    if (!this.#isWorthKeeping(decoding)) return await decoding.dispose()
    const other = this.#spare
    this.#spare = decoding
    await other?.dispose()
  }

  #isWorthKeeping({ isCaptured, isSound, bytes, graphs }: Decoding): boolean {
    if (this.#isClosed || !isCaptured || !isSound || bytes > BUDGET_BYTES) return false
    return this.#spare === undefined || this.#spare.graphs < graphs
  }

  /** Frees what is kept; more may come. */
  release(): void {
    const spare = this.#spare
    this.#spare = undefined
    spare?.dispose().catch(() => {}) // of a device that is broken: whoever uses it is told
  }

  /** Frees what is kept, and keeps nothing any more. */
  close(): void {
    this.#isClosed = true
    this.release()
  }
}

/** What `generate` keeps of a backbone, until that is disposed of or memory is asked for. */
export const spareDecodingsOf = keptOf((backbone) => new SpareDecodings(backbone), {
  release: (spares) => spares.release(),
  close: (spares) => spares.close(),
})

/** Sizes that seldom change from one call to the next. */
function roundedUp({
  slots,
  capacity,
  textCapacity,
  ...rest
}: DecodingSize): DecodingSize {
  return {
    ...rest,
    slots: 2 ** Math.ceil(Math.log2(slots)),
    capacity: capturedCapacity(capacity),
    textCapacity: capturedCapacity(textCapacity),
  }
}

function larger(a: DecodingSize, b: DecodingSize): DecodingSize {
  return {
    ...b,
    slots: Math.max(a.slots, b.slots),
    capacity: Math.max(a.capacity, b.capacity),
    textCapacity: Math.max(a.textCapacity, b.textCapacity),
  }
}

function hasRoom(size: DecodingSize, { slots, capacity, textCapacity }: DecodingSize) {
  return (
    size.slots >= slots && size.capacity >= capacity && size.textCapacity >= textCapacity
  )
}
