// Fields that several routes take: what a client may send, and what /openapi.json says of it. Knows no route.

import { z } from 'zod'
import type { ServeSettings } from './options.js'

type Limits = ServeSettings['limits']
type Check<T> = (value: unknown) => value is T

// Checks of texts and lists are written out: a union of schemas collects an issue for every one of a body's half a million
// numbers before it tries the next, and all other requests wait meanwhile.

/** Half a character is no text: it could be neither tokenized nor sent back as it came. */
export function isText({ maxTextChars }: Limits): Check<string> {
  return (value): value is string =>
    typeof value === 'string' &&
    value.length <= maxTextChars &&
    !/\p{Surrogate}/u.test(value)
}

/** Token ids; the model's own bound is the engine's to check. */
export function isIds({ maxTextChars }: Limits): Check<number[]> {
  const isId = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0
  return (value): value is number[] =>
    isList(value, maxTextChars, (id): id is number => isId(id))
}

const MOST_FIELDS = 64

/** What a template's fields are filled with, or words by label. */
export function isRecord(limits: Limits): Check<Record<string, string>> {
  const check = isText(limits)
  return (value): value is Record<string, string> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
    const texts = Object.values(value)
    return texts.length > 0 && texts.length <= MOST_FIELDS && texts.every(check)
  }
}

export function isList<T>(value: unknown, most: number, check: Check<T>): value is T[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > most) return false
  return value.every(check)
}

/** The shapes in /openapi.json. */
export const SHAPES = {
  text: { type: 'string' },
  texts: { type: 'array', items: { type: 'string' }, minItems: 1 },
  ids: { type: 'array', items: { type: 'integer', minimum: 0 }, minItems: 1 },
  idLists: {
    type: 'array',
    items: { type: 'array', items: { type: 'integer', minimum: 0 }, minItems: 1 },
    minItems: 1,
  },
  fields: { type: 'object', additionalProperties: { type: 'string' } },
  fieldLists: {
    type: 'array',
    items: { type: 'object', additionalProperties: { type: 'string' } },
    minItems: 1,
  },
  textLists: {
    type: 'array',
    items: { type: 'array', items: { type: 'string' }, minItems: 1 },
    minItems: 1,
  },
} as const

/** A field of one of several shapes. */
export function oneOf<T>(
  check: Check<T>,
  expected: string,
  shapes: readonly (keyof typeof SHAPES)[],
) {
  const anyOf = shapes.map((shape) => SHAPES[shape])
  return z.custom<T>(check, `Expected ${expected}`).meta({ anyOf })
}

export const modelField = z
  .string()
  .min(1)
  .max(300)
  .meta({ description: "A prompt's name, or the model's own for none" })

export const userField = z
  .string()
  .optional()
  .meta({ description: 'Taken, and not looked at' })

export const usageAnswer = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
})

export type Usage = z.infer<typeof usageAnswer>

export function usageOf(read: number, made: number): Usage {
  return { prompt_tokens: read, completion_tokens: made, total_tokens: read + made }
}

/** Sum of a list's numbers. */
export function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
