// Examples as ids for several prompts at once: once for all that leave enough room. Knows no tensor.

import type { Backbone } from '../backbone/index.js'
import { about } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import type { LabelTokens } from '../task/index.js'
import {
  type EncodedText,
  type TextFormat,
  textLimit,
  type Unlabelled,
} from './encode.js'
import { encodeExamples } from './encode-examples.js'
import type { TargetLimits } from './encode-targets.js'

/** Lists of examples, cut to what a prompt leaves room for. */
export interface EncodedLists<Lists> {
  /** Tokens of text at most. */
  readonly limit: number
  /** The same object for prompts whose texts are the same. */
  readonly encoded: { [List in keyof Lists]: EncodedText[] }
}

/**
 * @param limits.trained what each prompt was trained with, where that counts
 * @returns `of`: one a prompt
 * @throws as `encodeExamples`, naming the prompt where there are several
 */
export async function encodeForPrompts<Lists extends readonly (readonly Unlabelled[])[]>(
  backbone: Backbone,
  prompts: readonly (Prompt | null)[],
  format: TextFormat,
  lists: Lists,
  limits: TargetLimits & { maxLength: number | undefined; trained?: boolean },
): Promise<{ labels: LabelTokens; of: EncodedLists<Lists>[] }> {
  let labels: LabelTokens | undefined
  const made: (EncodedLists<Lists> & { longest: number; isWhole: boolean; P: number })[] =
    []
  const of: EncodedLists<Lists>[] = []
  for (const [i, prompt] of prompts.entries()) {
    const own = {
      ...limits,
      maxLength: limits.maxLength,
      trained: limits.trained ? prompt?.task?.maxLength : undefined,
    }
    const name = prompts.length > 1 ? `prompts[${i}]` : undefined
    await about(name, async () => {
      const limit =
        labels &&
        textLimit(backbone, prompt, labels, {
          ...own,
          longestCandidate: format.target ? 1 : longestCandidate(made[0]?.encoded ?? []),
        })
      const P = prompt?.config.length ?? 0
      // Texts that are whole, and fit, are the same whatever the limit; beside targets of their own a prompt's length counts.
      const known = made.find(
        (one) =>
          (format.target === undefined || one.P >= P) &&
          (one.limit === limit || (one.isWhole && one.longest <= (limit ?? 0))) &&
          (format.target === undefined || one.isWhole || one.P === P),
      )
      if (known !== undefined) {
        of.push({ limit: limit as number, encoded: known.encoded })
        return
      }
      const found = await encodeExamples(backbone, prompt, format, lists, own)
      const texts = found.encoded.flat() as EncodedText[]
      labels = found.labels
      made.push({
        ...found,
        P,
        longest: texts.reduce((most, { ids }) => Math.max(most, ids.length), 0),
        isWhole: texts.every(
          ({ truncated, target }) => truncated === 0 && (target?.truncated ?? 0) === 0,
        ),
      })
      of.push({ limit: found.limit, encoded: found.encoded })
    })
  }
  return { labels: labels as LabelTokens, of }
}

function longestCandidate(lists: readonly (readonly EncodedText[])[]): number {
  let most = 0
  for (const { candidates = [] } of lists.flat()) {
    for (const ids of candidates) most = Math.max(most, ids.length)
  }
  return most
}
