// What waits for its turn at the backbone, row by row.

import type {
  CandidateRow,
  Continuation,
  DoneEvent,
  ReadToken,
  TokenEvent,
} from '../inference/index.js'
import type { ActiveRequest } from './active-request.js'
import type { Waiting } from './fair-queue.js'
import type { Held } from './prompt-table.js'

interface Work extends Waiting {
  readonly request: ActiveRequest
  readonly held: Held
  /** That run at once. */
  readonly tokens: number
}

/** Candidates of a text that are scored. */
export interface ScoreWork extends Work {
  readonly type: 'score'
  readonly row: Omit<CandidateRow, 'prompt'>
  readonly give: (scores: readonly number[]) => void
}

/** A text whose own tokens are looked at. */
export interface ReadWork extends Work {
  readonly type: 'read'
  readonly ids: readonly number[]
  /** Likeliest tokens that are told at each. */
  readonly likeliest: number
  readonly give: (tokens: ReadToken[]) => void
}

/** A text that is continued. */
export interface ContinueWork extends Work {
  readonly type: 'continue'
  readonly continuation: Continuation
  /** The same for all continuations of a text: it is read once for those that are taken together. */
  readonly group: object
  readonly give: (events: readonly (TokenEvent | DoneEvent)[], error?: Error) => void
}

/** Of a request: gone once that is over. */
export function workOf(
  request: ActiveRequest,
  held: Held,
  { tokens, cost = tokens }: { tokens: number; cost?: number },
) {
  return {
    ...{ request, held, line: held.name, tokens, cost },
    get isGone() {
      return request.isOver
    },
  }
}

export type AnyWork = ScoreWork | ReadWork | ContinueWork
