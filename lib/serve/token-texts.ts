// Tokens as texts: what a single id reads as, and what many do together. Knows no request.

import type { Tokenizer } from '../backbone/index.js'

/** Texts of single tokens are asked for again and again, and the tokenizer is another thread. */
export class TokenTexts {
  readonly #tokenizer: Tokenizer
  readonly #known = new Map<number, string>()

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  /** Of one token, special ones too; a part of a character reads as U+FFFD. */
  of(id: number): string {
    const known = this.#known.get(id)
    if (known !== undefined) return known
    const text = this.all([id])
    this.#known.set(id, text)
    return text
  }

  all(ids: readonly number[]): string {
    return this.#tokenizer.decode(ids, { skipSpecialTokens: false })
  }
}
