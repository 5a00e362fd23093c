// Who may wait: requests and their tokens are counted as they arrive, before anything is made of them. Knows no text.

import { LoptError } from '../errors.js'
import type { CheckedLimits } from './limits.js'

type Limits = Pick<CheckedLimits, 'maxQueuedRequests' | 'maxQueuedTokens'>

export class Admission {
  readonly #limits: Limits
  requests = 0
  tokens = 0

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /**
   * @param tokens about how many it has
   * @throws LoptError `ERR_OVERLOADED` when too many wait, RangeError for one that would never fit
   */
  enter(tokens: number): Place {
    this.#check(tokens)
    if (this.requests >= this.#limits.maxQueuedRequests) throw this.#overloaded()
    return new Place(this, tokens)
  }

  /**
   * A request's tokens once they are counted: those of a text once for each of its candidates that is a row of its own.
   *
   * @throws as `enter`
   */
  admit(place: Place, tokens: number): void {
    place.resize(0)
    this.#check(tokens)
    place.resize(tokens)
  }

  #check(tokens: number): void {
    const { maxQueuedTokens } = this.#limits
    if (tokens > maxQueuedTokens) {
      throw new RangeError(
        `Expected a request of ${maxQueuedTokens} tokens at most but received about ${tokens}`,
      )
    }
    if (this.tokens + tokens > maxQueuedTokens) throw this.#overloaded()
  }

  #overloaded(): LoptError {
    const { requests, tokens } = this
    return new LoptError(
      'ERR_OVERLOADED',
      `${requests} requests of ${tokens} tokens wait: try again later`,
    )
  }
}

/** What a request takes of the queue, until all of it has begun. */
export class Place {
  readonly #queue: Admission
  #tokens: number
  #isThere = true

  constructor(queue: Admission, tokens: number) {
    this.#queue = queue
    this.#tokens = tokens
    queue.requests += 1
    queue.tokens += tokens
  }

  /** How many tokens it really has. */
  resize(tokens: number): void {
    if (!this.#isThere) return
    this.#queue.tokens += tokens - this.#tokens
    this.#tokens = tokens
  }

  /** So many have begun. */
  begin(tokens: number): void {
    this.resize(this.#tokens - tokens)
    if (this.#tokens <= 0) this.leave()
  }

  leave(): void {
    if (!this.#isThere) return
    this.resize(0)
    this.#isThere = false
    this.#queue.requests -= 1
  }
}
