// One request to the hub: repeated while there is hope, and its failures told in one way. Knows no
// repository and no file.

import { setTimeout as wait } from 'node:timers/promises'
import { LoptError } from '../errors.js'

const ATTEMPTS = 5
const FIRST_DELAY_MS = 500
// A server may ask for more patience than anyone has.
const LONGEST_DELAY_MS = 60_000

export interface RequestOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Before the second attempt; doubled before each next one. Default 500 ms. */
  readonly firstDelayMs?: number | undefined
}

/** A failure that another attempt may mend. */
export class Transient extends Error {
  readonly delayMs: number | undefined

  constructor(
    message: string,
    options: { cause?: unknown; delayMs?: number | undefined },
  ) {
    super(message, { cause: options.cause })
    this.delayMs = options.delayMs
  }
}

/**
 * Calls `attempt` until it succeeds, at most five times, with growing pauses.
 *
 * @param what for the error, such as `download model.safetensors`
 * @throws LoptError `ERR_NETWORK` when the last attempt fails too, `ERR_ABORTED`; what `attempt` throws
 *   besides `Transient` passes through.
 */
export async function withRetries<T>(
  what: string,
  { signal, firstDelayMs = FIRST_DELAY_MS }: RequestOptions,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let made = 1; ; made += 1) {
    checkAborted(signal)
    try {
      return await attempt()
    } catch (error) {
      checkAborted(signal)
      if (!(error instanceof Transient)) throw error
      if (made === ATTEMPTS) {
        throw new LoptError(
          'ERR_NETWORK',
          `Cannot ${what}: ${error.message}, ${ATTEMPTS} times. Check the connection and try again: ` +
            'what was received is kept, and the download goes on from there',
          { cause: error.cause ?? error },
        )
      }
      const delay = error.delayMs ?? firstDelayMs * 2 ** (made - 1)
      await wait(Math.min(delay, LONGEST_DELAY_MS), undefined, { signal }).catch(() => {})
    }
  }
}

/**
 * Starts a request. Redirects are followed; the token goes to the first host only, as `fetch` has it.
 *
 * @returns the response once its head is there, and a watch that ends it when it stalls
 * @throws Transient for a failure of the connection, and for an answer that says to come again
 */
export async function open(
  url: string,
  init: RequestInit,
  { timeoutMs, signal }: RequestOptions,
): Promise<{ response: Response; alive: () => void; done: () => void }> {
  const stall = new AbortController()
  const timer = setTimeout(() => stall.abort(), timeoutMs)
  const done = () => clearTimeout(timer)
  const signals = signal === undefined ? [stall.signal] : [stall.signal, signal]
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.any(signals) })
    if (response.status === 429 || response.status >= 500) {
      await response.body?.cancel().catch(() => {})
      throw new Transient(`the server answered ${response.status}`, {
        delayMs: retryAfter(response),
      })
    }
    return { response, alive: () => timer.refresh(), done }
  } catch (error) {
    done()
    throw asTransient(error, stall.signal.aborted, timeoutMs)
  }
}

/** A broken connection as `Transient`, anything else as it is. */
export function asTransient(
  error: unknown,
  stalled: boolean,
  timeoutMs: number,
): unknown {
  if (error instanceof Transient || error instanceof LoptError) return error
  if (stalled) {
    return new Transient(`nothing came for ${timeoutMs / 1000} s`, { cause: error })
  }
  // fetch throws a TypeError with the reason as its cause, while reading as while connecting
  const cause = error instanceof TypeError ? (error.cause ?? error) : error
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new Transient(reason || 'the connection failed', { cause: error })
}

function retryAfter(response: Response): number | undefined {
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return seconds >= 0 ? seconds * 1000 : undefined
}

/** @throws LoptError `ERR_ABORTED` */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return
  throw new LoptError('ERR_ABORTED', 'The download was stopped; it can go on from here', {
    cause: signal.reason,
  })
}
