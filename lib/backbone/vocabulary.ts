// Whether a model has rows for a tokenizer's ids. A tokenizer may have tokens behind the model's vocabulary,
// as `[PAD]` often is: only a text that uses one is wrong. Knows no file.

import { LoptError } from '../errors.js'
import type { Backbone, BackboneConfig, Tokenizer } from './contract.js'

/** How many rows a tokenizer needs: those of its own vocabulary, without what was added behind it. */
export function rowsNeeded({ vocabSize, baseVocabSize = vocabSize }: Tokenizer): number {
  return baseVocabSize
}

/** @throws LoptError `ERR_MODEL_FILE` when a tokenizer's own vocabulary is larger than the model's. */
export function checkVocabulary(
  tokenizer: Tokenizer,
  config: BackboneConfig,
  where: string,
): void {
  const rows = rowsNeeded(tokenizer)
  if (rows <= config.vocabSize) return
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${where}: the tokenizer has ids up to ${rows - 1}, but the model's vocab_size ` +
      `is ${config.vocabSize}: they do not belong together`,
  )
}

/**
 * The first of `ids` that the model has no row for, in words: `the token "[PAD]" with the id 50257, but
 * the model's vocab_size is 50257`.
 */
export function tokenWithoutRow(
  { tokenizer, config }: Pick<Backbone, 'tokenizer' | 'config'>,
  ids: readonly number[],
): string | undefined {
  const id = ids.find((id) => id >= config.vocabSize)
  if (id === undefined) return undefined
  const token = JSON.stringify(tokenizer.decode([id], { skipSpecialTokens: false }))
  return `the token ${token} with the id ${id}, but the model's vocab_size is ${config.vocabSize}`
}

/**
 * @param what names the text in the message
 * @throws RangeError for an id that the model has no row for.
 */
export function checkRows(
  backbone: Pick<Backbone, 'tokenizer' | 'config'>,
  ids: readonly number[],
  what: string,
): void {
  const wrong = tokenWithoutRow(backbone, ids)
  if (wrong === undefined) return
  throw new RangeError(
    `Expected ${what} to be of tokens that the model knows but received ${wrong}`,
  )
}
