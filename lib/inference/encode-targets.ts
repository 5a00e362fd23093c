// Texts that answer rows, as ids: ended, and cut or refused where they are too long. Knows no tensor.

import type { Backbone } from '../backbone/index.js'
import { tokenWithoutRow } from '../backbone/vocabulary.js'
import { LoptError } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import { fillTemplate, parseTemplate, type TargetFormat } from '../task/index.js'
import {
  checkCount,
  type EncodedTarget,
  firstToken,
  placeOf,
  startAndEnd,
  type Unlabelled,
} from './encode.js'

/** What becomes of a target that is too long. */
export const LONG_TARGETS = ['refuse', 'cut'] as const

export interface TargetLimits {
  /** Tokens of a target at most, its end included; default: what prompt and template leave of the positions. */
  readonly maxTargetLength?: number | undefined
  /** Default `refuse`. */
  readonly longTargets?: (typeof LONG_TARGETS)[number] | undefined
}

/**
 * The texts that answer examples, undefined for one without. Of a causal model prompt, text and target share the
 * positions: what the template's own words and one token of text need is not the target's.
 *
 * @throws LoptError `ERR_DATA` for a target without tokens, with one that the model does not have, or that is too long
 *   and not cut, with its file and line where known; `ERR_MODEL_FILE` where no token ends a text.
 */
export async function encodeTargets(
  backbone: Backbone,
  prompt: Prompt | null,
  { template, target }: { readonly template: string; readonly target: TargetFormat },
  examples: readonly Unlabelled[],
  { maxTargetLength, longTargets = 'refuse' }: TargetLimits,
): Promise<(EncodedTarget | undefined)[]> {
  if (maxTargetLength !== undefined) checkCount(maxTargetLength, 'maxTargetLength')
  const ending = target.end ? [endOf(backbone)] : []
  // A template of the caller's own says whether a space comes first.
  const space = target.template === undefined && backbone.kind === 'causal' ? ' ' : ''
  const room = targetRoom(backbone, prompt, template)
  const most = Math.min(maxTargetLength ?? Number.POSITIVE_INFINITY, room)
  const texts = examples.flatMap(({ label }) =>
    label === undefined ? [] : [space + label],
  )
  const encoded = texts.length === 0 ? [] : await backbone.tokenizer.tokenize(texts)
  let next = 0
  return examples.map((example, i) => {
    if (example.label === undefined) return undefined
    const own = encoded[next++] as number[]
    const fail = (what: string) => {
      throw new LoptError('ERR_DATA', `${placeOf(example, i)}: ${what}`)
    }
    const wrong = own.length === 0 ? 'no tokens' : tokenWithoutRow(backbone, own)
    if (wrong !== undefined) fail(`the target has ${wrong}`)
    const ids = [...own, ...ending]
    if (ids.length <= most) return { ids, truncated: 0 }
    if (longTargets === 'cut' && most >= 1) {
      return { ids: ids.slice(0, most), truncated: ids.length - most }
    }
    const why =
      most < room
        ? `maxTargetLength is ${most}`
        : `prompt and template leave ${Math.max(0, room)} of ${backbone.maxPositions} positions`
    return fail(
      `the target has ${ids.length} tokens, and ${why}: shorten it, or cut long targets`,
    )
  })
}

/** Positions that prompt and template leave for a target. */
function targetRoom(backbone: Backbone, prompt: Prompt | null, template: string): number {
  // A decoder's positions are relative.
  if (backbone.kind === 'encoder-decoder') return Number.POSITIVE_INFINITY
  const { tokenizer, maxPositions } = backbone
  const { fields } = parseTemplate(template)
  const none = Object.fromEntries(fields.map((field) => [field, '']))
  const own = tokenizer.encode(fillTemplate(template, none)).length
  const least = firstToken(tokenizer).length + Math.max(1, own)
  return maxPositions - (prompt?.config.length ?? 0) - least
}

/** The token behind a target: generation ends at it too. */
function endOf(backbone: Backbone): number {
  if (backbone.kind === 'encoder-decoder') return startAndEnd(backbone).end
  const { tokenizer, endTokenIds, source } = backbone
  const end = tokenizer.eosTokenId
  const found = end !== undefined && endTokenIds.includes(end) ? end : endTokenIds[0]
  if (found !== undefined) return found
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${source}: no token ends a text: give eos_token_id in config.json, or learn targets without an end`,
  )
}
