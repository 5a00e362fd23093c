// From examples to rows of token ids, cut to what the backbone has positions for. Knows no tensor.

import type { Backbone, EncoderDecoderBackbone, Tokenizer } from '../backbone/index.js'
import { checkRows, tokenWithoutRow } from '../backbone/vocabulary.js'
import { LoptError } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import {
  completeVerbalizer,
  type Example,
  type FilledTokens,
  fillTemplate,
  fillTokensOfAll,
  type LabelTokens,
  labelTokens,
  type TargetFormat,
} from '../task/index.js'

/** A target ready for the backbone. */
export interface EncodedTarget {
  /** One id at least. */
  readonly ids: readonly number[]
  /** Tokens that were cut off, the end among them; 0 for most. */
  readonly truncated: number
}

/** A text ready for the backbone. */
export interface EncodedText {
  /** T ids, without the prompt and the label. */
  readonly ids: readonly number[]
  /** Tokens that were cut off to fit; 0 for most. */
  readonly truncated: number
  /** Ids of the row's own candidates; absent where the task's labels are scored. */
  readonly candidates?: readonly (readonly number[])[] | undefined
  /** Of a row that a text answers: the text. */
  readonly target?: EncodedTarget | undefined
}

/** What is needed of a task to encode its examples: `Task` has it, and so has `PromptTask`. */
export interface TextFormat {
  readonly template: string
  readonly labels: readonly string[]
  /** Label → the words that stand for it. */
  readonly verbalizer: Readonly<Record<string, string>>
  /** Where rows are answered by texts. */
  readonly target?: TargetFormat | undefined
}

/**
 * Token ids of the labels' words. A causal model continues the filled template with a space and the
 * label. An encoder-decoder's decoder starts with the label and ends it.
 */
export function encodeLabels(backbone: Backbone, format: TextFormat): LabelTokens {
  return labelsOf(backbone, format, (text) => backbone.tokenizer.encode(text))
}

/** As `encodeLabels`, off the event loop. */
export async function tokenizeLabels(
  backbone: Backbone,
  format: TextFormat,
): Promise<LabelTokens> {
  const { labels, verbalizer } = format
  const prefix = backbone.kind === 'causal' ? ' ' : ''
  const words = Object.values(completeVerbalizer(labels, verbalizer))
  const texts = words.map((text) => prefix + text)
  const encoded = await backbone.tokenizer.tokenize(texts)
  const idsOf = new Map(texts.map((text, i) => [text, encoded[i] as number[]]))
  return labelsOf(backbone, format, (text) => idsOf.get(text) as number[])
}

function labelsOf(
  backbone: Backbone,
  { labels, verbalizer }: TextFormat,
  idsOf: (text: string) => number[],
): LabelTokens {
  const bare = (text: string) => {
    const ids = idsOf(text)
    checkRows(backbone, ids, `the words of a label, ${JSON.stringify(text.trim())},`)
    return ids
  }
  if (backbone.kind === 'causal') return labelTokens({ labels, verbalizer, encode: bare })
  const { end } = startAndEnd(backbone)
  const encode = (text: string) => {
    const ids = bare(text)
    return ids.length === 0 ? ids : [...ids, end]
  }
  return labelTokens({ labels, verbalizer, encode, prefixSpace: false })
}

/**
 * The tokens that a decoder starts from and that end a text.
 *
 * @throws LoptError `ERR_MODEL_FILE` when no file says which token ends a text, or the model has no row
 *   for it.
 */
export function startAndEnd(backbone: EncoderDecoderBackbone): {
  start: number
  end: number
} {
  const { config, tokenizer, source } = backbone
  const end = tokenizer.eosTokenId
  if (end !== undefined) {
    const wrong = tokenWithoutRow(backbone, [end])
    if (wrong === undefined) return { start: config.decoderStartTokenId, end }
    throw new LoptError('ERR_MODEL_FILE', `${source}: what ends a text is ${wrong}`)
  }
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${source}: no token ends a text: give eos_token_id in config.json, or eos_token in ` +
      'tokenizer_config.json',
  )
}

// What T5 was pretrained on; its positions are relative, so that longer texts work too.
const ENCODER_TOKENS = 512

/** How long texts may be. */
export interface TextLimits {
  readonly maxLength?: number | undefined
  readonly trained?: number | undefined
}

/**
 * Tokens of text that fit beside the prompt and the longest label; 512 where positions are relative.
 *
 * @param limits.maxLength a limit of the caller's own
 * @param limits.trained what the prompt was trained with: where the caller gives none, and where
 *   this backbone and these labels leave as much
 * @throws RangeError when `maxLength` is more than the positions that are left.
 */
export function textLimit(
  backbone: Backbone,
  prompt: Prompt | null,
  labels: LabelTokens,
  {
    maxLength,
    trained = Number.POSITIVE_INFINITY,
    longestCandidate = 0,
  }: TextLimits & {
    /** Tokens of the longest candidate that a row has of its own. */
    longestCandidate?: number
  },
): number {
  if (backbone.kind === 'encoder-decoder') {
    if (maxLength !== undefined) checkCount(maxLength, 'maxLength')
    return maxLength ?? (Number.isFinite(trained) ? trained : ENCODER_TOKENS)
  }
  const longest = Math.max(longestCandidate, ...labels.ids.map((ids) => ids.length))
  const left = backbone.maxPositions - (prompt?.config.length ?? 0) - longest
  if (left < 1) {
    throw new RangeError(
      `A prompt of ${prompt?.config.length ?? 0} virtual tokens and a label of ${longest} tokens ` +
        `leave no room for a text in ${backbone.maxPositions} positions`,
    )
  }
  if (maxLength === undefined) return Math.min(trained, left)
  if (Number.isSafeInteger(maxLength) && maxLength >= 1 && maxLength <= left)
    return maxLength
  throw new RangeError(
    `Expected maxLength in 1..${left}, the positions that prompt and label leave, but received ${maxLength}`,
  )
}

/** An example whose label does not matter, but for a text that answers it. */
export interface Unlabelled {
  readonly label?: string | undefined
  readonly fields: Example['fields']
  readonly candidates?: Example['candidates'] | undefined
  readonly source?: Example['source'] | undefined
  /** Its place for messages, where the list is a part of what was given. */
  readonly index?: number | undefined
}

/**
 * The examples' filled templates as ids, each at most `limit` long, or as that says of its place: the longest field is cut. A
 * first token that the tokenizer puts before every text stands there, and counts.
 *
 * @throws LoptError `ERR_DATA` for a text without tokens, or with one that the model does not have, with its
 *   file and line where known.
 */
export async function encodeTexts(
  backbone: Backbone,
  template: string,
  examples: readonly Unlabelled[],
  limit: number | ((i: number) => number),
): Promise<EncodedText[]> {
  const { tokenizer } = backbone
  const first = firstToken(tokenizer)
  const roomOf = (i: number) =>
    (typeof limit === 'number' ? limit : limit(i)) - first.length
  const readable = examples.map(({ fields }, i) =>
    readableOf(fields, tokenizer, roomOf(i)),
  )
  const filling = fillTokensOfAll(
    template,
    readable,
    (texts) => tokenizer.tokenize(texts),
    typeof limit === 'number' ? roomOf(0) : roomOf,
  )
  const long = [...examples.keys()].filter((i) => readable[i] !== examples[i]?.fields)
  const whole = long.map((i) =>
    fillTemplate(template, (examples[i] as Unlabelled).fields),
  )
  const [filled, wholeIds] = await Promise.all([filling, tokenizer.tokenize(whole)])
  for (const [n, i] of long.entries()) {
    const text = filled[i] as FilledTokens
    text.truncated = (wholeIds[n]?.length ?? 0) - text.ids.length
  }
  return filled.map(({ ids: own, truncated }, i) => {
    const ids = [...first, ...own]
    const wrong = own.length === 0 ? 'no tokens' : tokenWithoutRow(backbone, ids)
    if (wrong === undefined) return { ids, truncated }
    const where = placeOf(examples[i] as Unlabelled, i)
    throw new LoptError('ERR_DATA', `${where}: the text has ${wrong}`)
  })
}

/** Ids of each row's own candidates, by the rules of `encodeLabels`; undefined for rows without. */
export async function encodeCandidates(
  backbone: Backbone,
  examples: readonly Unlabelled[],
): Promise<EncodedText['candidates'][]> {
  const causal = backbone.kind === 'causal'
  const wordsOf = ({ candidates = [] }: Unlabelled) =>
    candidates.map(({ words }) => (causal ? ` ${words}` : words))
  const words = [...new Set(examples.flatMap(wordsOf))]
  if (words.length === 0) return examples.map(() => undefined)
  const ids = await backbone.tokenizer.tokenize(words)
  const ending = backbone.kind === 'causal' ? [] : [startAndEnd(backbone).end]
  const idsOf = new Map(words.map((text, i) => [text, [...(ids[i] ?? []), ...ending]]))
  return examples.map((example, i) => {
    if (example.candidates === undefined) return undefined
    return wordsOf(example).map((text) => {
      const own = idsOf.get(text) as number[]
      const wrong =
        own.length === ending.length ? 'no tokens' : tokenWithoutRow(backbone, own)
      if (wrong === undefined) return own
      const where = placeOf(example, i)
      throw new LoptError('ERR_DATA', `${where}: the candidate "${text}" has ${wrong}`)
    })
  })
}

/** Characters that truncation looks at behind the last token that fits: the end of a word. */
const LOOKED_AT = 64

/**
 * Fields without what no cut can keep: `limit` tokens stand for no more characters than that. How a very long text is cut would
 * else be looked for in all of it, on the event loop.
 *
 * @returns the same fields where there is nothing to leave out
 */
function readableOf(
  fields: Example['fields'],
  { charactersPerToken = Number.POSITIVE_INFINITY }: Tokenizer,
  limit: number,
): Example['fields'] {
  const most = limit * charactersPerToken + LOOKED_AT
  if (Object.values(fields).every(({ length }) => length <= most)) return fields
  return Object.fromEntries(
    Object.entries(fields).map(([name, text]) => [name, text.slice(0, most)]),
  )
}

/** An example in messages; `i` is its place in its list. */
export function placeOf({ source, index }: Unlabelled, i?: number): string {
  return source ? `${source.file}:${source.line}` : `example ${index ?? i}`
}

/** The token that the tokenizer puts before every text, if it is of those that do. */
export function firstToken(tokenizer: Tokenizer): number[] {
  return tokenizer.firstTokenId === undefined ? [] : [tokenizer.firstTokenId]
}

/** @throws RangeError unless `value` is an integer of 1 or more. */
export function checkCount(value: number, name: string): void {
  if (Number.isSafeInteger(value) && value >= 1) return
  throw new RangeError(
    `Expected ${name} to be an integer of 1 or more but received ${value}`,
  )
}
