// From a request's texts to continuations, and what each takes of its prompt's share. Knows no queue.

import type { Backbone } from '../backbone/index.js'
import { about } from '../errors.js'
import {
  type Continuation,
  continuationsOf,
  filledIds,
  isFields,
  NEW_TOKENS,
} from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import { encodeGiven } from './given-texts.js'
import type { CheckedLimits } from './limits.js'
import type { Held } from './prompt-table.js'
import { inField } from './request-error.js'
import type { GenerateRequest } from './requests.js'

export interface ContinueRow {
  readonly continuation: Continuation
  readonly held: Held
  /** The same for rows with one text and one prompt. */
  readonly group: object
  /** Of text and prompt. */
  readonly tokens: number
  /** With those that it is continued by; the text counts once a group. */
  readonly cost: number
}

/**
 * @param held the prompt of each row
 * @throws TypeError or RangeError (`RequestError`) for rows that do not fit
 */
export async function continueRows(
  backbone: Backbone,
  rows: GenerateRequest['rows'],
  held: readonly Held[],
  { maxTextTokens, maxNewTokens }: CheckedLimits,
): Promise<ContinueRow[]> {
  const own = await filledRows(backbone, rows, held)
  const limits = { field: 'rows', most: maxTextTokens, after: 1 }
  const texts = await encodeGiven(backbone, own, limits)
  const continuations = inField('rows', () =>
    continuationsOf(
      backbone,
      own.map((row, i) => ({ ...row, text: texts[i] as readonly number[] })),
    ),
  )
  const made: ContinueRow[] = []
  for (const [i, continuation] of continuations.entries()) {
    const { maxNewTokens: asked, prompt, given } = continuation.options
    if (asked > maxNewTokens) {
      throw new RangeError(
        `rows[${i}]: Expected maxNewTokens of ${maxNewTokens} at most but received ${asked}`,
      )
    }
    const first = texts.findIndex((text, j) => text === texts[i] && held[j] === held[i])
    const tokens = given.length + (prompt?.config.length ?? 0)
    const cost = asked + (first === i ? tokens : 0)
    const group = made[first]?.group ?? {}
    made.push({ continuation, held: held[i] as Held, group, tokens, cost })
  }
  return made
}

/** Fields become ids by their prompt's own template; those of several choices once. */
async function filledRows(
  backbone: Backbone,
  rows: GenerateRequest['rows'],
  held: readonly Held[],
) {
  const known = new Map<object, { prompt: Prompt | null; ids: readonly number[] }>()
  const own = []
  for (const [i, { text, ...row }] of rows.entries()) {
    const { prompt } = held[i] as Held
    if (!isFields(text)) {
      own.push({ ...row, prompt, text })
      continue
    }
    const { maxNewTokens = NEW_TOKENS } = row
    const before = known.get(text)
    const fill = () =>
      about(`rows[${i}]`, () => filledIds(backbone, prompt, text, { maxNewTokens }))
    const ids = before?.prompt === prompt ? before.ids : await inField('rows', fill)
    known.set(text, { prompt, ids })
    own.push({ ...row, prompt, text: ids })
  }
  return own
}
