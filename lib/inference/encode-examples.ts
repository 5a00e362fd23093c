// Lists of examples as all that scoring and training read: texts, labels, candidates and targets. Knows no tensor.

import type { Backbone } from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import type { LabelTokens, TargetFormat } from '../task/index.js'
import {
  type EncodedText,
  encodeCandidates,
  encodeLabels,
  encodeTexts,
  type TextFormat,
  type TextLimits,
  textLimit,
  type Unlabelled,
} from './encode.js'
import { encodeTargets, type TargetLimits } from './encode-targets.js'

/**
 * Lists of examples as ids, with those of the labels and of the rows' own candidates: all that scoring
 * and training read.
 *
 * @param limits as for `textLimit`
 * @returns `limit`, the tokens of text that they were cut to
 */
export async function encodeExamples<Lists extends readonly (readonly Unlabelled[])[]>(
  backbone: Backbone,
  prompt: Prompt | null,
  format: TextFormat,
  lists: Lists,
  limits: TextLimits & TargetLimits,
): Promise<{
  labels: LabelTokens
  limit: number
  encoded: { [List in keyof Lists]: EncodedText[] }
}> {
  const labels = encodeLabels(backbone, format)
  type Encoded = { [List in keyof Lists]: EncodedText[] }
  const { target } = format
  if (target !== undefined) {
    const limit = textLimit(backbone, prompt, labels, { ...limits, longestCandidate: 1 })
    const how = { prompt, format: { ...format, target }, limit, limits }
    const encoded: EncodedText[][] = []
    for (const list of lists) encoded.push(await encodeAnswered(backbone, list, how))
    return { labels, limit, encoded: encoded as Encoded }
  }
  const candidates: EncodedText['candidates'][][] = []
  for (const list of lists) candidates.push(await encodeCandidates(backbone, list))
  const longestCandidate = candidates
    .flat(2)
    .reduce((longest, ids) => Math.max(longest, ids?.length ?? 0), 0)
  const limit = textLimit(backbone, prompt, labels, { ...limits, longestCandidate })
  const encoded: EncodedText[][] = []
  for (const [n, list] of lists.entries()) {
    const texts = await encodeTexts(backbone, format.template, list, limit)
    encoded.push(
      texts.map((text, i) => {
        const own = candidates[n]?.[i]
        return own === undefined ? text : { ...text, candidates: own }
      }),
    )
  }
  return { labels, limit, encoded: encoded as Encoded }
}

/** Rows that texts answer: a text is cut to what its own target leaves. */
async function encodeAnswered(
  backbone: Backbone,
  list: readonly Unlabelled[],
  {
    prompt,
    format,
    limit,
    limits,
  }: {
    prompt: Prompt | null
    format: TextFormat & { target: TargetFormat }
    limit: number
    limits: TargetLimits
  },
): Promise<EncodedText[]> {
  const targets = await encodeTargets(backbone, prompt, format, list, limits)
  const isCausal = backbone.kind === 'causal'
  const left = backbone.maxPositions - (prompt?.config.length ?? 0)
  const room = (i: number) => (isCausal ? left - (targets[i]?.ids.length ?? 1) : limit)
  const texts = await encodeTexts(backbone, format.template, list, (i) =>
    Math.min(limit, room(i)),
  )
  return texts.map((text, i) => ({ ...text, target: targets[i] }))
}
