// What is wrong with a request, noted on the error that says it, for whoever answers in words of his own. Knows no request.

/**
 * An error of a request that does not fit: a TypeError, a RangeError, or a LoptError where a text is wrong. What fails later,
 * while the request runs, is never a TypeError or RangeError.
 */
export interface RequestError extends Error {
  /** Which field of the request is wrong, where that is known. */
  readonly field?: string
  /** A text has more tokens than there are positions for it. */
  readonly isTooLong?: boolean
}

/** What `work` gives, now or later; an error of it tells the field, if it tells none yet. */
export function inField<T>(field: string, work: () => T): T {
  const rethrow = (error: unknown): never => {
    if (error instanceof Error && !('field' in error)) Object.assign(error, { field })
    throw error
  }
  try {
    const result = work()
    return result instanceof Promise ? (result.catch(rethrow) as T) : result
  } catch (error) {
    return rethrow(error)
  }
}

/** A text that there are no positions for. */
export function tooLong(message: string): RequestError {
  return Object.assign(new RangeError(message), { isTooLong: true })
}

/** An error of what ran: a TypeError or RangeError would say that the request is wrong. */
export function failureOf(error: Error): Error {
  if (!(error instanceof TypeError || error instanceof RangeError)) return error
  return new Error(`The request failed: ${error.message}`, { cause: error })
}
