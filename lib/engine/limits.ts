// What an engine takes and runs at once, at most. Knows no request.

import { z } from 'zod'
import type { Backbone } from '../backbone/index.js'
import { checkOptions } from '../fields.js'
import { passTokens } from '../inference/index.js'

/** How much an engine takes on at once. */
export interface EngineLimits {
  /** Texts that are continued at once, default 16: slots of the key-value cache. */
  maxRunning?: number | undefined
  /** Requests that wait at most, default 1024. */
  maxQueuedRequests?: number | undefined
  /** Their tokens at most, default 262,144. */
  maxQueuedTokens?: number | undefined
  /** Tokens that run through the backbone at once; default: as many as pay on its device. */
  maxBatchTokens?: number | undefined
  /**
   * The same while texts are being continued, so that their next tokens do not wait for long; default 256. A longer
   * text is read in pieces of so many.
   */
  pieceTokens?: number | undefined
  /** Tokens of a text that is continued; default: what the backbone has positions for, 2048 for an encoder-decoder. */
  maxTextTokens?: number | undefined
  /** Tokens that a text is continued by, default 2048 and no more than the backbone has positions for. */
  maxNewTokens?: number | undefined
  /** Texts of a request, default 256. */
  maxRows?: number | undefined
  /** Candidates of a text, default 256. */
  maxCandidates?: number | undefined
  /** Milliseconds that a request may take, default 600,000; its own `timeoutMs` may be shorter. */
  timeoutMs?: number | undefined
}

export type CheckedLimits = { readonly [K in keyof EngineLimits]-?: number }

const count = z.int().min(1)
const fields = z.strictObject({
  // Each is a row of every step: a bound against a slip.
  maxRunning: count.max(1024).default(16),
  maxQueuedRequests: count.default(1024),
  maxQueuedTokens: count.default(2 ** 18),
  maxBatchTokens: count.optional(),
  pieceTokens: count.default(256),
  maxTextTokens: count.optional(),
  maxNewTokens: count.default(2048),
  maxRows: count.default(256),
  maxCandidates: count.default(256),
  // The longest that a timer can wait.
  timeoutMs: count.max(2 ** 31 - 1).default(600_000),
})

/** What an encoder reads of a text where its positions have no end. */
const ENCODER_TOKENS = 2048

export function checkLimits(backbone: Backbone, given: EngineLimits = {}): CheckedLimits {
  const limits = checkOptions(fields, given)
  const { maxPositions, kind } = backbone
  const isCausal = kind === 'causal'
  return {
    ...limits,
    maxBatchTokens: limits.maxBatchTokens ?? passTokens(backbone),
    maxTextTokens: limits.maxTextTokens ?? (isCausal ? maxPositions : ENCODER_TOKENS),
    maxNewTokens: isCausal
      ? Math.min(limits.maxNewTokens, maxPositions)
      : limits.maxNewTokens,
  }
}
