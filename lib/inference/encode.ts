// From examples to rows of token ids, cut to what the backbone has positions for. Knows no tensor.

import type { CausalBackbone, Tokenizer } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import {
  type Example,
  fillTokensOfAll,
  type LabelTokens,
  labelTokens,
} from '../task/index.js'

/** A text ready for the backbone. */
export interface EncodedText {
  /** T ids, without the prompt and the label. */
  readonly ids: readonly number[]
  /** Tokens that were cut off to fit; 0 for most. */
  readonly truncated: number
}

/** What is needed of a task to encode its examples: `Task` has it, and so has `PromptTask`. */
export interface TextFormat {
  readonly template: string
  readonly labels: readonly string[]
  /** Label → the words that stand for it. */
  readonly verbalizer: Readonly<Record<string, string>>
}

/** Token ids of the labels' words. GPT-2 continues the filled template with a space and the label. */
export function encodeLabels(backbone: CausalBackbone, format: TextFormat): LabelTokens {
  const encode = (text: string) => backbone.tokenizer.encode(text)
  return labelTokens({ labels: format.labels, verbalizer: format.verbalizer, encode })
}

/**
 * Tokens of text that fit beside the prompt and the longest label.
 *
 * @param limits.maxLength a limit of the caller's own
 * @param limits.trained what the prompt was trained with: where the caller gives none, and where
 *   this backbone and these labels leave as much
 * @throws RangeError when `maxLength` is more than the positions that are left.
 */
export function textLimit(
  backbone: CausalBackbone,
  prompt: Prompt | null,
  labels: LabelTokens,
  {
    maxLength,
    trained = Number.POSITIVE_INFINITY,
  }: { maxLength?: number | undefined; trained?: number | undefined },
): number {
  const longest = Math.max(...labels.ids.map((ids) => ids.length))
  const left = backbone.config.positions - (prompt?.config.length ?? 0) - longest
  if (left < 1) {
    throw new RangeError(
      `A prompt of ${prompt?.config.length ?? 0} virtual tokens and a label of ${longest} tokens ` +
        `leave no room for a text in ${backbone.config.positions} positions`,
    )
  }
  if (maxLength === undefined) return Math.min(trained, left)
  if (Number.isSafeInteger(maxLength) && maxLength >= 1 && maxLength <= left)
    return maxLength
  throw new RangeError(
    `Expected maxLength in 1..${left}, the positions that prompt and label leave, but received ${maxLength}`,
  )
}

/** An example whose label does not matter. */
interface Unlabelled {
  readonly fields: Example['fields']
  readonly source?: Example['source'] | undefined
}

/**
 * The examples' filled templates as ids, each at most `limit` long: the longest field is cut. A
 * first token that the tokenizer puts before every text stands there, and counts.
 *
 * @throws LoptError `ERR_DATA` for a text without tokens, with its file and line where known.
 */
export async function encodeTexts(
  backbone: CausalBackbone,
  template: string,
  examples: readonly Unlabelled[],
  limit: number,
): Promise<EncodedText[]> {
  const { tokenizer } = backbone
  const first = firstToken(tokenizer)
  const filled = await fillTokensOfAll(
    template,
    examples.map(({ fields }) => fields),
    (texts) => tokenizer.tokenize(texts),
    limit - first.length,
  )
  return filled.map(({ ids, truncated }, i) => {
    if (ids.length === 0) {
      const source = examples[i]?.source
      const where = source ? `${source.file}:${source.line}` : `example ${i}`
      throw new LoptError('ERR_DATA', `${where}: the text has no tokens`)
    }
    return { ids: [...first, ...ids], truncated }
  })
}

/** The token that the tokenizer puts before every text, if it is of those that do. */
export function firstToken(tokenizer: Tokenizer): number[] {
  return tokenizer.firstTokenId === undefined ? [] : [tokenizer.firstTokenId]
}
