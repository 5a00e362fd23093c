// Fields of a prompt's own template as the ids of a text that is to be continued. Generates nothing.

import type { Backbone } from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import { encodeTexts, textLimit } from './encode.js'

/** What is continued: a string, token ids, which are taken as they are, or fields of a template. */
export type Given = string | readonly number[] | Readonly<Record<string, string>>

export function isFields(text: unknown): text is Readonly<Record<string, string>> {
  return typeof text === 'object' && text !== null && !Array.isArray(text)
}

const NO_LABELS = { labels: [], words: [], ids: [], singleToken: true }

/**
 * Fields in the template that the prompt was trained with, cut as training cut it: to what leaves the new tokens their
 * positions, but not to less than half of them.
 *
 * @throws TypeError where nothing says a template; RangeError for a field that is missing; LoptError as `encodeTexts`.
 */
export async function filledIds(
  backbone: Backbone,
  prompt: Prompt | null,
  fields: Readonly<Record<string, string>>,
  {
    template: given,
    maxNewTokens,
  }: { template?: string | undefined; maxNewTokens: number },
): Promise<readonly number[]> {
  const template = given ?? prompt?.task?.template
  if (template === undefined) {
    throw new TypeError(
      'Fields are of a template: give `template`, or a prompt that has one',
    )
  }
  const wrong = Object.entries(fields).find(([, value]) => typeof value !== 'string')
  if (wrong !== undefined) {
    throw new TypeError(
      `Expected the field ${wrong[0]} to be text but received ${typeof wrong[1]}`,
    )
  }
  const half = Math.floor((backbone.maxPositions - (prompt?.config.length ?? 0)) / 2)
  const longestCandidate = Math.max(1, Math.min(maxNewTokens, half))
  const limits = { trained: prompt?.task?.maxLength, longestCandidate }
  const limit = textLimit(backbone, prompt, NO_LABELS, limits)
  const [text] = await encodeTexts(backbone, template, [{ fields }], limit)
  return text?.ids ?? []
}
