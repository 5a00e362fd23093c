// From labels to the words that the model is shown, and to their token ids. Knows a tokenizer only
// as a function from text to ids.

import type { Encode } from './truncate.js'

export type { Encode } from './truncate.js'

/** The labels' words as the model sees them; the three arrays are in the order of the labels. */
export interface LabelTokens {
  readonly labels: readonly string[]
  /** What each label was encoded from, the space before it included. */
  readonly words: readonly string[]
  readonly ids: readonly (readonly number[])[]
  /** Whether every label is one token: then a softmax over a few rows of the head is enough. */
  readonly singleToken: boolean
}

/**
 * A verbalizer with an entry for every label; a label without one stands for itself.
 *
 * @throws RangeError for a label that there is not, for words that are empty or have white space
 * around them, and for two labels with the same words.
 */
export function completeVerbalizer(
  labels: readonly string[],
  verbalizer: Readonly<Record<string, string>> = {},
): Record<string, string> {
  for (const label of Object.keys(verbalizer)) {
    if (!labels.includes(label)) {
      throw new RangeError(
        `The verbalizer names the label "${label}", but the labels are ${quoted(labels)}`,
      )
    }
  }
  const seen = new Map<string, string>()
  const entries = labels.map((label) => {
    const words = Object.hasOwn(verbalizer, label) ? verbalizer[label] : label
    if (typeof words !== 'string' || words === '' || words !== words.trim()) {
      throw new RangeError(
        `Expected the words of label "${label}" to be text without white space around it but ` +
          `received ${JSON.stringify(words)}`,
      )
    }
    const other = seen.get(words)
    if (other !== undefined) {
      throw new RangeError(
        `Labels "${other}" and "${label}" have the same words, "${words}"`,
      )
    }
    seen.set(words, label)
    return [label, words]
  })
  return Object.fromEntries(entries)
}

/**
 * Token ids of each label's words.
 *
 * @param options.prefixSpace put a space before the words (default true): GPT-2 continues the
 * filled template with a space and the label. False for T5, whose decoder starts with the label.
 * @throws RangeError for words without tokens, and for two labels with the same ids; see also
 * `completeVerbalizer`.
 */
export function labelTokens(options: {
  labels: readonly string[]
  verbalizer?: Readonly<Record<string, string>>
  encode: Encode
  prefixSpace?: boolean
}): LabelTokens {
  const { labels, encode, prefixSpace = true } = options
  const verbalizer = completeVerbalizer(labels, options.verbalizer)
  const words = labels.map((label) => `${prefixSpace ? ' ' : ''}${verbalizer[label]}`)
  const ids = words.map((text) => encode(text))
  const seen = new Map<string, string>()
  labels.forEach((label, i) => {
    const key = (ids[i] ?? []).join(' ')
    if (key === '') throw new RangeError(`The words of label "${label}" have no tokens`)
    const other = seen.get(key)
    if (other !== undefined) {
      throw new RangeError(
        `Labels "${other}" and "${label}" are the same tokens (${key}); give them other words`,
      )
    }
    seen.set(key, label)
  })
  return {
    labels: [...labels],
    words,
    ids,
    singleToken: ids.every((one) => one.length === 1),
  }
}

/** Names for a message: `"ham", "spam"`; the first twenty if there are more. */
export function quoted(names: readonly string[]): string {
  const shown = names.slice(0, 20).map((name) => JSON.stringify(name))
  if (names.length > 20) shown.push(`… (${names.length} in all)`)
  return shown.join(', ')
}
