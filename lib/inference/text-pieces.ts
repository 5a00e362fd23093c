// Text that grows token by token. Knows no model.

import type { Tokenizer } from '../backbone/index.js'

/** Of the last tokens: those that were shown, and all. */
export interface Decoded<Value> {
  readonly shown: Value
  readonly all: Value
}

/**
 * Text that grows by whole characters: a byte-level token may end inside one. A token costs the same however long the text is:
 * only the last tokens are decoded, and what they add to those before them is new (as vLLM's and TGI's incremental
 * detokenization).
 */
export class TextPieces {
  readonly #tokenizer: Tokenizer
  /** The tokens that are decoded: those of the last piece, and those behind it. */
  #ids: number[] = []
  /** How many of them were shown. */
  #shown = 0

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  /** What has to be decoded when a token comes: what was shown, and that with all behind it. */
  read(id: number): Decoded<readonly number[]> {
    return { shown: this.#ids.slice(0, this.#shown), all: [...this.#ids, id] }
  }

  /**
   * What a token adds; nothing while the last character is incomplete.
   *
   * @param texts of what `read` gave
   */
  push(id: number, texts: Decoded<string>): string {
    this.#ids.push(id)
    return texts.all.endsWith('\uFFFD') ? '' : this.#grow(texts)
  }

  /** What was held back, no token following. */
  rest(): string {
    const shown = this.#tokenizer.decode(this.#ids.slice(0, this.#shown))
    return this.#grow({ shown, all: this.#tokenizer.decode(this.#ids) })
  }

  #grow({ shown: before, all: whole }: Decoded<string>): string {
    const piece = whole.slice(before.length)
    if (piece === '') return ''
    this.#ids = this.#ids.slice(this.#shown)
    this.#shown = this.#ids.length
    return piece
  }
}

/** Finds what ends a text, across pieces. */
export class StopStrings {
  readonly #stops: readonly string[]
  /** The end of the text, as far as it may be the beginning of a stop string. */
  #held = ''

  constructor(stops: readonly string[]) {
    this.#stops = stops
  }

  /** What of the text is certain, up to the first stop string. */
  push(piece: string): { text: string; stopped: boolean } {
    const all = this.#held + piece
    const found = this.#stops.map((stop) => all.indexOf(stop)).filter((at) => at !== -1)
    if (found.length > 0) {
      this.#held = ''
      return { text: all.slice(0, Math.min(...found)), stopped: true }
    }
    const begin = all.length - this.#possible(all)
    this.#held = all.slice(begin)
    return { text: all.slice(0, begin), stopped: false }
  }

  /** Whether a stop string may have begun. */
  get isHolding(): boolean {
    return this.#held !== ''
  }

  /** What was held back, nothing following. */
  rest(): string {
    const held = this.#held
    this.#held = ''
    return held
  }

  /** Characters at the end of a text that a stop string may begin with. */
  #possible(text: string): number {
    const longest = Math.max(0, ...this.#stops.map(({ length }) => length - 1))
    for (let count = Math.min(longest, text.length); count > 0; count -= 1) {
      const end = text.slice(text.length - count)
      if (this.#stops.some((stop) => stop.startsWith(end))) return count
    }
    return 0
  }
}
