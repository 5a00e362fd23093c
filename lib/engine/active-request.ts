// A request from its arrival to its end, which comes once: it is answered, fails, is aborted, or takes too long. Knows no
// work.

import { checkAborted, LoptError } from '../errors.js'
import type { Place } from './admission.js'
import type { Held } from './prompt-table.js'
import { failureOf } from './request-error.js'
import type { RequestOptions } from './requests.js'

export type Ending = 'answered' | 'failed' | 'aborted'

export class ActiveRequest {
  /** What it takes of the queue. */
  readonly place: Place
  /** The prompts that it began with. */
  readonly held: readonly Held[]
  /** Resolves where it ends. */
  readonly ended: Promise<void>
  /** Why it ended, where it was not answered. */
  error: Error | undefined
  readonly #tell: (request: ActiveRequest, how: Ending) => void
  readonly #signal: AbortSignal | undefined
  readonly #timer: NodeJS.Timeout
  #resolve: () => void = () => {}
  #isOver = false
  readonly #onAbort = () =>
    this.fail(
      new LoptError('ERR_ABORTED', 'The request was aborted', {
        cause: this.#signal?.reason,
      }),
    )

  /** @param tell hears of its end, before those who wait for it */
  constructor(
    { signal, timeoutMs }: { signal: AbortSignal | undefined; timeoutMs: number },
    place: Place,
    held: readonly Held[],
    tell: (request: ActiveRequest, how: Ending) => void,
  ) {
    this.place = place
    this.held = held
    this.#tell = tell
    this.#signal = signal
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#timer = setTimeout(() => {
      const message = `The request took longer than ${timeoutMs} ms`
      this.fail(new LoptError('ERR_DEADLINE', message))
    }, timeoutMs)
    this.#timer.unref()
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** @throws why it has ended, if it has */
  check(): void {
    if (this.error !== undefined) throw this.error
  }

  answer(): void {
    this.#end('answered')
  }

  /** What was to be done for it failed, or nobody waits for it any more. */
  fail(error: Error): void {
    this.refuse(failureOf(error))
  }

  /** It does not fit, which its error says. */
  refuse(error: Error): void {
    if (this.#isOver) return
    this.error = error
    const isAborted = error instanceof LoptError && error.code === 'ERR_ABORTED'
    this.#end(isAborted ? 'aborted' : 'failed')
  }

  #end(how: Ending): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.place.leave()
    this.#tell(this, how)
    this.#resolve()
  }
}

/** @returns milliseconds that a request may take */
export function checkRequest(
  { signal, timeoutMs }: RequestOptions,
  most: number,
): number {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError(
      `Expected signal to be an AbortSignal but received ${typeof signal}`,
    )
  }
  checkAborted(signal)
  if (timeoutMs === undefined) return most
  if (Number.isSafeInteger(timeoutMs) && timeoutMs >= 1) return Math.min(timeoutMs, most)
  throw new RangeError(
    `Expected timeoutMs to be an integer of 1 or more but received ${timeoutMs}`,
  )
}
