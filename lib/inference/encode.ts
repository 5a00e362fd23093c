// From examples to rows of token ids, cut to what the backbone has positions for. Knows no tensor.

import type { CausalBackbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import {
  type Example,
  fillTemplate,
  fillTokens,
  type LabelTokens,
  labelTokens,
  parseTemplate,
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
 * @param maxLength a limit of the caller's own; default: all the positions that are left
 * @throws RangeError when it is more than the positions that are left.
 */
export function textLimit(
  backbone: CausalBackbone,
  prompt: Prompt | null,
  labels: LabelTokens,
  maxLength?: number,
): number {
  const longest = Math.max(...labels.ids.map((ids) => ids.length))
  const left = backbone.config.positions - (prompt?.config.length ?? 0) - longest
  if (left < 1) {
    throw new RangeError(
      `A prompt of ${prompt?.config.length ?? 0} virtual tokens and a label of ${longest} tokens ` +
        `leave no room for a text in ${backbone.config.positions} positions`,
    )
  }
  if (maxLength === undefined) return left
  if (Number.isSafeInteger(maxLength) && maxLength >= 1 && maxLength <= left)
    return maxLength
  throw new RangeError(
    `Expected maxLength in 1..${left}, the positions that prompt and label leave, but received ${maxLength}`,
  )
}

/** The examples' filled templates as ids, each at most `limit` long: the longest field is cut. */
export function encodeTexts(
  backbone: CausalBackbone,
  template: string,
  examples: readonly Pick<Example, 'fields' | 'source'>[],
  limit: number,
): EncodedText[] {
  const parsed = parseTemplate(template)
  const whole = backbone.tokenizer.encodeBatch(
    examples.map(({ fields }) => fillTemplate(parsed, fields)),
  )
  const encode = (text: string) => backbone.tokenizer.encode(text)
  return examples.map(({ fields }, i) => {
    const ids = whole[i] as number[]
    if (ids.length === 0) {
      throw new LoptError(
        'ERR_DATA',
        `${where(examples[i], i)}: the filled template has no tokens`,
      )
    }
    if (ids.length <= limit) return { ids, truncated: 0 }
    return fillTokens(parsed, fields, encode, limit)
  })
}

function where(example: Pick<Example, 'source'> | undefined, i: number): string {
  return example?.source
    ? `${example.source.file}:${example.source.line}`
    : `example ${i}`
}
