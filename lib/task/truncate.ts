// Filled templates as token ids, no longer than a limit: shortens fields, never the template's own
// words. Knows a tokenizer only as a function from text to ids.

import { fieldValue, fillTemplate, parseTemplate, type Template } from './template.js'

/** Text to token ids, no special tokens added: a tokenizer's `encode`. */
export type Encode = (text: string) => number[]

export interface FilledTokens {
  ids: number[]
  /** Tokens that the whole text has more than `ids`; 0 if nothing was cut. */
  truncated: number
}

// A subword tokenizer may need fewer tokens for a whole word than for part of it, so the end of the
// word that is being cut is tried too. Past this many characters a "word" is not one.
const longestWord = 40

/**
 * The filled template's token ids, at most `maxTokens` of them. If it is too long, the longest
 * field (in tokens) is shortened from its end, to the length of the next longest, then both, and
 * so on; the template's own words stay.
 *
 * The cut is made in the text, and the whole text is encoded again: with byte-level BPE the pieces
 * encoded one by one would give ids that no text has. Nothing is cut that would have fitted: no
 * longer beginning of the shortened field fits, up to the end of the word that it is cut in.
 *
 * @param encode text → ids without special tokens
 * @param maxTokens the limit, 1 or more
 * @throws RangeError if the template's own words are longer than `maxTokens`, or a field is missing.
 */
export function fillTokens(
  template: Template | string,
  values: Readonly<Record<string, string>>,
  encode: Encode,
  maxTokens: number,
): FilledTokens {
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new RangeError(
      `Expected maxTokens to be an integer of 1 or more but received ${maxTokens}`,
    )
  }
  const parsed = typeof template === 'string' ? parseTemplate(template) : template
  const whole = encode(fillTemplate(parsed, values))
  if (whole.length <= maxTokens) return { ids: whole, truncated: 0 }
  const ids = shorten(parsed, values, encode, maxTokens, whole.length)
  return { ids, truncated: whole.length - ids.length }
}

function shorten(
  template: Template,
  values: Readonly<Record<string, string>>,
  encode: Encode,
  maxTokens: number,
  wholeTokens: number,
): number[] {
  const texts = template.fields.map((field) => fieldValue(field, values))
  // a text that has no token of its own (a space, to some tokenizers) may have one among others
  const tokens = texts.map((text) => (text === '' ? 0 : Math.max(1, encode(text).length)))
  const encodeCut = (lengths: readonly number[]) => {
    const cut = template.fields.map((field, i) => [
      field,
      beginning(texts[i] ?? '', lengths[i] ?? 0),
    ])
    return encode(fillTemplate(template, Object.fromEntries(cut)))
  }
  const fits = (lengths: readonly number[]) => encodeCut(lengths).length <= maxTokens

  const nothing = encodeCut(texts.map(() => 0)).length
  if (nothing > maxTokens) {
    throw new RangeError(
      `The template's own words are ${nothing} tokens, more than the ${maxTokens} that are left: ` +
        'shorten the template, or allow longer inputs',
    )
  }

  // characters kept of each field when none may have more than `level` tokens
  const keptAt = (level: number) =>
    texts.map((text, i) => {
      const count = tokens[i] ?? 0
      return count <= level ? text.length : Math.floor((text.length * level) / count)
    })
  const longest = Math.max(...tokens)
  const level = lastTrue(0, longest, longest - (wholeTokens - maxTokens), (n) =>
    fits(keptAt(n)),
  )
  const lengths = keptAt(level)

  // a level is a whole number of tokens for each field: what is left over goes to the longest
  const cut = tokens.map((_, i) => i).filter((i) => (tokens[i] ?? 0) > level)
  for (const i of cut.sort((a, b) => (tokens[b] ?? 0) - (tokens[a] ?? 0))) {
    const text = texts[i] ?? ''
    lengths[i] = longestBeginning(text, lengths[i] ?? 0, (length) =>
      fits(lengths.with(i, length)),
    )
  }
  return encodeCut(lengths)
}

/** The longest beginning of `text` that fits, given that `from` characters do. */
function longestBeginning(
  text: string,
  from: number,
  fits: (length: number) => boolean,
): number {
  if (fits(text.length)) return text.length
  let length = lastTrue(from, text.length, from + 4, fits)
  for (;;) {
    const word = /^\s*\S*/.exec(text.slice(length, length + longestWord))?.[0] ?? ''
    let end = length + word.length
    while (end > length && !fits(end)) end--
    const wholeWord = end === length + word.length
    if (end === length || !wholeWord) return end
    length = end
  }
}

/**
 * A number in low..high-1 for which `test` holds and for the next one does not. `test(low)` holds
 * and `test(high)` does not; `guess` says where to look first.
 */
function lastTrue(
  low: number,
  high: number,
  guess: number,
  test: (n: number) => boolean,
): number {
  let [holds, fails] = [low, high]
  let step = 1
  let next = Math.min(Math.max(guess, low + 1), high - 1)
  // doubling steps away from the guess until it is between, then halving
  while (fails - holds > 1) {
    if (next <= holds || next >= fails) next = (holds + fails) >> 1
    if (test(next)) {
      holds = next
      next += step
    } else {
      fails = next
      next -= step
    }
    step *= 2
  }
  return holds
}

/** The first `length` UTF-16 units of `text`, one less if that would halve a character. */
function beginning(text: string, length: number): string {
  const last = text.charCodeAt(length - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length)
}
