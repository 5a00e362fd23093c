// When a client that was refused may ask again: what waits, over how fast it went lately. Knows no HTTP.

import type { Engine } from '../engine/index.js'

// Of the average: some dozen passes count.
const WEIGHT = 0.1
const MOST_SECONDS = 30

/** Seconds until the queue will be short again, a whole number of 1..30. */
export function retryAfter(engine: Engine): {
  seconds: () => number
  stop: () => void
} {
  let tokensPerSecond = 0
  const stop = engine.observe((event) => {
    if (event.type !== 'pass' || event.seconds <= 0) return
    const pace = event.tokens / event.seconds
    tokensPerSecond += (pace - tokensPerSecond) * (tokensPerSecond === 0 ? 1 : WEIGHT)
  })
  const seconds = () => {
    const { queuedTokens } = engine.stats()
    const wait = tokensPerSecond === 0 ? 1 : queuedTokens / tokensPerSecond
    return Math.min(MOST_SECONDS, Math.max(1, Math.ceil(wait)))
  }
  return { seconds, stop }
}
