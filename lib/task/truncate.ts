// Filled templates as token ids, no longer than a limit: shortens fields, never the template's own
// words. Knows a tokenizer only as a function from text to ids.

import { setImmediate as turn } from 'node:timers/promises'
import { fieldValue, fillTemplate, parseTemplate, type Template } from './template.js'

/** Text to token ids, no special tokens added: a tokenizer's `encode`. */
export type Encode = (text: string) => number[]

/** Many texts at once, off the event loop: a tokenizer's `tokenize`. */
export type EncodeMany = (texts: readonly string[]) => Promise<number[][]>

export interface FilledTokens {
  ids: number[]
  /** Tokens that the whole text has more than `ids`; 0 if nothing was cut. */
  truncated: number
}

type Values = Readonly<Record<string, string>>

/** Work that asks for the ids of texts on its way: who runs it answers one text or many at once. */
type Asking<T> = Generator<readonly string[], T, readonly number[][]>

/** How many tokens a text has; where they are more than `most`, it may be any number above that. */
type Count = (text: string, most?: number) => Asking<number>

// A subword tokenizer may need fewer tokens for a whole word than for part of it, so the end of the
// word that is being cut is tried too. Past this many characters a "word" is not one.
const longestWord = 40

// Characters whose words are counted at once: whoever counts a long text holds up nobody for long.
const stretch = 2 ** 14

// Texts that are worked on side by side: enough for large calls to the tokenizer, few enough for
// their words to be kept.
const textsAtOnce = 1024

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
  values: Values,
  encode: Encode,
  maxTokens: number,
): FilledTokens {
  const work = filling(parsed(template), values, checkLimit(maxTokens), new Map())
  let state = work.next()
  while (!state.done) state = work.next(state.value.map(encode))
  return state.value
}

/** `fillTokens` of many rows, each with the same limit or its own: what they ask the tokenizer goes to it in few large calls. */
export async function fillTokensOfAll(
  template: Template | string,
  rows: readonly Values[],
  encode: EncodeMany,
  maxTokens: number | ((row: number) => number),
): Promise<FilledTokens[]> {
  const one = parsed(template)
  const limitOf = (row: number) =>
    checkLimit(typeof maxTokens === 'number' ? maxTokens : maxTokens(row))
  const filled: FilledTokens[] = []
  for (let from = 0; from < rows.length; from += textsAtOnce) {
    const some = rows.slice(from, from + textsAtOnce)
    const words = new Map<string, number>()
    const works = some.map((values, i) => filling(one, values, limitOf(from + i), words))
    filled.push(...(await sideBySide(works, encode)))
  }
  return filled
}

/** Runs works until each has ended; a text that several ask for at a time is encoded once. */
async function sideBySide<T>(
  works: readonly Asking<T>[],
  encode: EncodeMany,
): Promise<T[]> {
  const results = new Array<T>(works.length)
  let waiting = works.map((work, i) => ({ work, i, state: work.next() }))
  for (;;) {
    waiting = waiting.filter(({ state, i }) => {
      if (state.done) results[i] = state.value
      return !state.done
    })
    if (waiting.length === 0) return results
    const asked = waiting.map(({ state }) => state.value as readonly string[])
    const texts = [...new Set(asked.flat())]
    // Who counts a long text of known words asks for nothing, and lets others have their turn.
    const encoded = texts.length > 0 ? await encode(texts) : await turn([])
    const idsOf = new Map(texts.map((text, i) => [text, encoded[i] as number[]]))
    waiting = waiting.map(({ work, i }, at) => {
      const answer = (asked[at] ?? []).map((text) => idsOf.get(text) as number[])
      return { work, i, state: work.next(answer) }
    })
  }
}

/** @param words tokens of words that were asked for before, by this text or another one */
function* filling(
  template: Template,
  values: Values,
  maxTokens: number,
  words: Map<string, number>,
): Asking<FilledTokens> {
  const text = fillTemplate(template, values)
  const whole = yield* idsOf(text)
  if (whole.length <= maxTokens) return { ids: whole, truncated: 0 }
  const none = Object.fromEntries(template.fields.map((field) => [field, '']))
  const own = (yield* idsOf(fillTemplate(template, none))).length
  if (own > maxTokens) {
    throw new RangeError(
      `The template's own words are ${own} tokens, more than the ${maxTokens} that are left: ` +
        'shorten the template, or allow longer inputs',
    )
  }
  // Most tokenizers take a text word by word. Then sums over words, each encoded once, find the
  // cut, and neither the whole text nor the cut one may show another count.
  const byWord: Count = (text, most) => sumOfWords(text, words, most)
  const filled = { text, tokens: whole.length }
  if ((yield* byWord(text, whole.length)) === whole.length) {
    const cut = yield* shorten(template, values, byWord, maxTokens, filled)
    const ids = yield* idsOf(cut)
    if (ids.length === (yield* byWord(cut))) {
      return { ids, truncated: whole.length - ids.length }
    }
  }
  const exact: Count = function* (text) {
    return (yield* idsOf(text)).length
  }
  const ids = yield* idsOf(yield* shorten(template, values, exact, maxTokens, filled))
  return { ids, truncated: whole.length - ids.length }
}

function* idsOf(text: string): Asking<number[]> {
  const [ids] = yield [text]
  return ids as number[]
}

/** The tokens of a text's words, each with the white space before it, one by one. */
function* sumOfWords(
  text: string,
  known: Map<string, number>,
  most = Number.POSITIVE_INFINITY,
): Asking<number> {
  let sum = 0
  for (let begin = 0; begin < text.length && sum <= most; ) {
    const end = endOfWord(text, begin + stretch)
    const words = text.slice(begin, end).match(/\s*\S+|\s+/g) ?? []
    const unknown = [...new Set(words.filter((word) => !known.has(word)))]
    if (unknown.length > 0 || end < text.length) {
      const encoded = yield unknown
      for (const [i, word] of unknown.entries()) known.set(word, encoded[i]?.length ?? 0)
    }
    for (const word of words) sum += known.get(word) ?? 0
    begin = end
  }
  return sum
}

/** Where the word ends that reaches to `from` or beyond it. */
function endOfWord(text: string, from: number): number {
  const space = /(?<=\S)\s/g
  space.lastIndex = from
  return space.exec(text)?.index ?? text.length
}

/** The filled template with its longest fields cut, as `fillTokens` says. */
function* shorten(
  template: Template,
  values: Values,
  count: Count,
  maxTokens: number,
  filled: { readonly text: string; readonly tokens: number },
): Asking<string> {
  const texts = template.fields.map((field) => fieldValue(field, values))
  const tokens: number[] = []
  for (const text of texts) {
    // a text that has no token of its own (a space, to some tokenizers) may have one among others
    const own = text === filled.text ? filled.tokens : yield* count(text)
    tokens.push(text === '' ? 0 : Math.max(1, own))
  }
  const cutTo = (lengths: readonly number[]) => {
    const cut = template.fields.map((field, i) => [
      field,
      beginning(texts[i] ?? '', lengths[i] ?? 0),
    ])
    return fillTemplate(template, Object.fromEntries(cut))
  }
  function* fits(lengths: readonly number[]): Asking<boolean> {
    return (yield* count(cutTo(lengths), maxTokens)) <= maxTokens
  }

  // characters kept of each field when none may have more than `level` tokens
  const keptAt = (level: number) =>
    texts.map((text, i) => {
      const count = tokens[i] ?? 0
      return count <= level ? text.length : Math.floor((text.length * level) / count)
    })
  const longest = Math.max(...tokens)
  const level = yield* lastTrue(0, longest, longest - (filled.tokens - maxTokens), (n) =>
    fits(keptAt(n)),
  )
  const lengths = keptAt(level)

  // a level is a whole number of tokens for each field: what is left over goes to the longest
  const cut = tokens.map((_, i) => i).filter((i) => (tokens[i] ?? 0) > level)
  for (const i of cut.sort((a, b) => (tokens[b] ?? 0) - (tokens[a] ?? 0))) {
    const text = texts[i] ?? ''
    lengths[i] = yield* longestBeginning(text, lengths[i] ?? 0, (length) =>
      fits(lengths.with(i, length)),
    )
  }
  return cutTo(lengths)
}

/** The longest beginning of `text` that fits, given that `from` characters do. */
function* longestBeginning(
  text: string,
  from: number,
  fits: (length: number) => Asking<boolean>,
): Asking<number> {
  if (yield* fits(text.length)) return text.length
  let length = yield* lastTrue(from, text.length, from + 4, fits)
  for (;;) {
    const word = /^\s*\S*/.exec(text.slice(length, length + longestWord))?.[0] ?? ''
    let end = length + word.length
    while (end > length && !(yield* fits(end))) end--
    const wholeWord = end === length + word.length
    if (end === length || !wholeWord) return end
    length = end
  }
}

/**
 * A number in low..high-1 for which `test` holds and for the next one does not. `test(low)` holds
 * and `test(high)` does not; `guess` says where to look first.
 */
function* lastTrue(
  low: number,
  high: number,
  guess: number,
  test: (n: number) => Asking<boolean>,
): Asking<number> {
  let [holds, fails] = [low, high]
  let step = 1
  let next = Math.min(Math.max(guess, low + 1), high - 1)
  // doubling steps away from the guess until it is between, then halving
  while (fails - holds > 1) {
    if (next <= holds || next >= fails) next = (holds + fails) >> 1
    if (yield* test(next)) {
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

function parsed(template: Template | string): Template {
  return typeof template === 'string' ? parseTemplate(template) : template
}

function checkLimit(maxTokens: number): number {
  if (Number.isSafeInteger(maxTokens) && maxTokens >= 1) return maxTokens
  throw new RangeError(
    `Expected maxTokens to be an integer of 1 or more but received ${maxTokens}`,
  )
}
