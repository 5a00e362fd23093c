// When two texts count as the same: one rule for splits that share no text, and for pretraining
// text without a dev or test row. Imports nothing: scripts/ load this file too.

/** Fewer words than this occur by chance in any long text. */
export const fewestWords = 4

/**
 * A text's letters, lowercase, in words with one space between. Punctuation, digits, quote marks
 * and line breaks do not count, so that a quoted or rewrapped copy is the same text.
 */
export function normaliseText(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}]+/gu, ' ')
    .trim()
}

/** Finds texts inside other texts, as whole words, after both are normalised. */
export interface TextFinder {
  /** @throws RangeError for a text of fewer than four words: it would be found everywhere. */
  add(text: string): void
  /** Whether one of the texts that were added is in `text`. */
  isIn(text: string): boolean
}

/** A finder of `texts`, and of those that are added later. */
export function createTextFinder(texts: Iterable<string> = []): TextFinder {
  // by their first words, so that a long text is walked through once
  const byStart = new Map<string, string[]>()
  const add = (text: string) => {
    const normal = normaliseText(text)
    const words = normal.split(' ')
    if (words.length < fewestWords) {
      throw new RangeError(
        `Expected a text of ${fewestWords} words or more but received ${JSON.stringify(text)}`,
      )
    }
    const start = words.slice(0, fewestWords).join(' ')
    const same = byStart.get(start)
    if (same) same.push(`${normal} `)
    else byStart.set(start, [`${normal} `])
  }
  const isIn = (text: string) => {
    const normal = `${normaliseText(text)} `
    const words = normal.split(' ')
    let at = 0
    for (let i = 0; i + fewestWords < words.length; i++) {
      const start = words.slice(i, i + fewestWords).join(' ')
      for (const known of byStart.get(start) ?? []) {
        if (normal.startsWith(known, at)) return true
      }
      at += (words[i] ?? '').length + 1
    }
    return false
  }
  for (const text of texts) add(text)
  return { add, isIn }
}
