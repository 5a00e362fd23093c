// Texts that are continued or looked at, as ids that fit the backbone's positions. Knows no queue and no row's rules.

import type { Backbone } from '../backbone/index.js'
import { checkRows } from '../backbone/vocabulary.js'
import { about } from '../errors.js'
import { firstToken } from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import { inField, tooLong } from './request-error.js'

/** A string or token ids, and the prompt that it is read with. */
export interface GivenText {
  readonly text: string | readonly number[]
  readonly prompt: Prompt | null
}

export interface GivenLimits {
  /** The request's field that they are of. */
  readonly field: string
  /** Tokens of a text at most, if the backbone has positions for as many. */
  readonly most: number
  /** Positions that are left behind a text. */
  readonly after: number
}

/**
 * Texts become ids off the event loop; one that is there several times is encoded once. A causal model that was given nothing
 * begins with its end-of-text token.
 *
 * @throws RangeError (`RequestError`) for a text without tokens or with too many, and for ids that the model has no row for
 */
export async function encodeGiven(
  backbone: Backbone,
  given: readonly GivenText[],
  { field, most, after }: GivenLimits,
): Promise<(readonly number[])[]> {
  const { tokenizer, kind, maxPositions } = backbone
  const least = kind === 'causal' ? 1 : 0
  const rooms = given.map(({ prompt }) =>
    Math.min(most, maxPositions - (prompt?.config.length ?? 0) - after),
  )
  inField(field, () => {
    for (const [i, { text }] of given.entries()) {
      if (typeof text !== 'string') continue
      about(`${field}[${i}]`, () =>
        checkCharacters(backbone, text, rooms[i] as number, least),
      )
    }
  })
  const strings = given.flatMap(({ text }) => (typeof text === 'string' ? [text] : []))
  const distinct = [...new Set(strings)]
  const encoded = await tokenizer.tokenize(distinct)
  const first = firstToken(tokenizer)
  const begun = (ids: readonly number[]) => {
    const { eosTokenId } = tokenizer
    const isNothing = kind === 'causal' && ids.length === 0 && eosTokenId !== undefined
    return isNothing ? [eosTokenId] : ids
  }
  const idsOf = new Map(
    distinct.map((text, i) => [text, begun([...first, ...(encoded[i] as number[])])]),
  )
  return given.map(({ text }, i) => {
    const ids =
      typeof text === 'string' ? (idsOf.get(text) as readonly number[]) : begun(text)
    const check = () =>
      about(`${field}[${i}]`, () => {
        checkRows(backbone, ids, 'text')
        checkLength(ids.length, rooms[i] as number, least)
      })
    inField(field, check)
    return ids
  })
}

function checkLength(length: number, most: number, least: number): void {
  if (length >= least && length <= most) return
  const message = `${expected(least, most)} received ${length}`
  throw length > most ? tooLong(message) : new RangeError(message)
}

/** Before it is encoded: who sends a very long text makes others wait for nothing. */
function checkCharacters(
  { tokenizer }: Backbone,
  { length }: string,
  most: number,
  least: number,
): void {
  const { charactersPerToken = Number.POSITIVE_INFINITY } = tokenizer
  const isBounded = Number.isFinite(charactersPerToken)
  if (!isBounded || length <= most * charactersPerToken) return
  throw tooLong(
    `${expected(least, most)} received ${length} characters, and a token is ${charactersPerToken} at most`,
  )
}

function expected(least: number, most: number): string {
  return `Expected a text of ${least}..${most} tokens, which there are positions for, but`
}
