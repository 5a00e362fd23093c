// Log-probabilities as OpenAI's completions tell them: four lists, a place in each for every token. Knows no model.

import { z } from 'zod'
import type { ReadToken } from '../inference/index.js'
import type { TokenTexts } from './token-texts.js'

export const logProbabilitiesAnswer = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.int()),
})

type Lists = z.infer<typeof logProbabilitiesAnswer>

// JSON has no infinity.
const LEAST = -9999

export class LogProbabilities {
  readonly #texts: TokenTexts
  #offset = 0
  #lists = emptyLists()

  constructor(texts: TokenTexts) {
    this.#texts = texts
  }

  /** Of the next token. The first of a text that was given has none. */
  add({ token, logProbability, likeliest = [] }: ReadToken): void {
    const text = this.#texts.of(token)
    const lists = this.#lists
    lists.tokens.push(text)
    lists.text_offset.push(this.#offset)
    this.#offset += text.length
    if (logProbability === undefined) {
      lists.token_logprobs.push(null)
      lists.top_logprobs.push(null)
      return
    }
    lists.token_logprobs.push(finite(logProbability))
    // The token itself is always among them. Two tokens may read alike: the likelier counts.
    const top = new Map<string, number>()
    for (const other of [...likeliest, { token, logProbability }]) {
      const name = this.#texts.of(other.token)
      if (!top.has(name)) top.set(name, finite(other.logProbability))
    }
    lists.top_logprobs.push(Object.fromEntries(top))
  }

  /** What came since the last time. */
  take(): Lists {
    const lists = this.#lists
    this.#lists = emptyLists()
    return lists
  }
}

function emptyLists(): Lists {
  return { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] }
}

function finite(value: number): number {
  return Math.max(value, LEAST)
}
