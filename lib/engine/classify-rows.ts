// From a request's inputs to rows whose labels are scored, and from scores to an answer. Knows no queue.

import type { Backbone } from '../backbone/index.js'
import { checkRows } from '../backbone/vocabulary.js'
import {
  argmax,
  type CandidateRow,
  candidateRow,
  checkFinite,
  type EncodedText,
  encodeCandidates,
  encodeLabels,
  encodeTexts,
  fieldsOf,
  storedFormat,
  type TextFormat,
  textLimit,
  tokenizeLabels,
} from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import { completeVerbalizer, type LabelTokens } from '../task/index.js'
import { inField } from './request-error.js'
import type { Classification, ClassifyRequest, Input } from './requests.js'

type Asked = Pick<ClassifyRequest, 'inputs' | 'labels' | 'candidates'>

/** What a backbone alone reads. */
const TEXT = '{text}'

/** An input's row, and what its scores say. */
export interface ClassifyRow {
  readonly row: Omit<CandidateRow, 'prompt'>
  readonly answer: (scores: readonly number[]) => Classification
}

/** Labels of the prompts that are served, encoded when they are added. */
export class LabelCache {
  readonly #backbone: Backbone
  readonly #known = new WeakMap<Prompt, LabelTokens>()

  constructor(backbone: Backbone) {
    this.#backbone = backbone
  }

  /** @throws RangeError for labels that are none */
  add(prompt: Prompt): void {
    this.#known.set(prompt, encodeLabels(this.#backbone, storedFormat(prompt)))
  }

  /** @param isStored whether the format is the prompt's own */
  async of(
    prompt: Prompt | null,
    format: TextFormat,
    isStored: boolean,
  ): Promise<LabelTokens> {
    const known = isStored && prompt !== null ? this.#known.get(prompt) : undefined
    return known ?? (await tokenizeLabels(this.#backbone, format))
  }
}

/**
 * @throws TypeError or RangeError (`RequestError`) for inputs that do not fit the template, LoptError `ERR_DATA` for a text
 *   without tokens
 */
export async function classifyRows(
  backbone: Backbone,
  prompt: Prompt | null,
  { inputs, labels: given, candidates }: Asked,
  cache: LabelCache,
): Promise<ClassifyRow[]> {
  const format = inField('labels', () =>
    formatOf(prompt, given, candidates !== undefined),
  )
  inField('labels', () => checkCharacters(backbone, Object.values(format.verbalizer)))
  inField('candidates', () => checkCharacters(backbone, candidates?.flat() ?? []))
  const labels = await inField('labels', () =>
    cache.of(prompt, format, given === undefined),
  )
  const own = await inField('candidates', () =>
    encodeCandidates(
      backbone,
      inputs.map((_, i) => {
        const words = candidates?.[i]?.map((words) => ({ words, label: words }))
        return { fields: {}, candidates: words }
      }),
    ),
  )
  let longestCandidate = 0
  for (const ids of own.flatMap((ids) => ids ?? [])) {
    longestCandidate = Math.max(longestCandidate, ids.length)
  }
  const limits = { trained: prompt?.task?.maxLength, longestCandidate }
  const limit = inField(candidates === undefined ? 'labels' : 'candidates', () =>
    textLimit(backbone, prompt, labels, limits),
  )
  const texts = await inField('inputs', () =>
    encodeInputs(backbone, format.template, inputs, limit),
  )
  return texts.map((text, i) => {
    const row = candidateRow({ ...text, candidates: own[i] }, labels.ids)
    inField('candidates', () => checkAnswers(row))
    const names = candidates?.[i] ?? labels.labels
    return { row, answer: (scores) => classification(names, scores, text, i) }
  })
}

/** Before they are encoded: words that there are no positions for. */
function checkCharacters(
  { maxPositions, tokenizer }: Backbone,
  words: readonly string[],
): void {
  const most = maxPositions * (tokenizer.charactersPerToken ?? Number.POSITIVE_INFINITY)
  const long = words.find(({ length }) => length > most)
  if (long === undefined) return
  throw new RangeError(
    `Expected what answers a text to be of ${most} characters at most, which ${maxPositions} positions have room for, but ` +
      `received ${long.length}`,
  )
}

function checkAnswers({ candidates }: ClassifyRow['row']): void {
  if (candidates.length > 0) return
  throw new TypeError('The task has no labels of its own: give `candidates`')
}

function formatOf(
  prompt: Prompt | null,
  given: ClassifyRequest['labels'],
  hasCandidates: boolean,
): TextFormat {
  if (given === undefined) {
    if (prompt !== null) return storedFormat(prompt)
    if (hasCandidates) return { template: TEXT, labels: [], verbalizer: {} }
    throw new TypeError(
      'Without a prompt nothing says which labels there are: give `labels`',
    )
  }
  const labels = Array.isArray(given) ? (given as string[]) : Object.keys(given)
  const verbalizer = completeVerbalizer(
    labels,
    Array.isArray(given) ? {} : (given as Record<string, string>),
  )
  return { template: prompt?.task?.template ?? TEXT, labels, verbalizer }
}

async function encodeInputs(
  backbone: Backbone,
  template: string,
  inputs: readonly Input[],
  limit: number,
): Promise<EncodedText[]> {
  const isIds = (input: Input): input is readonly number[] => Array.isArray(input)
  const texts = inputs.flatMap((input, index) => {
    if (isIds(input)) return []
    const fields = fieldsOf(input as string | Record<string, string>, template)
    return [{ fields, index }]
  })
  const encoded = await encodeTexts(backbone, template, texts, limit)
  let next = 0
  return inputs.map((input, i) => {
    if (!isIds(input)) return encoded[next++] as EncodedText
    checkRows(backbone, input, `inputs[${i}]`)
    if (input.length > 0 && input.length <= limit) return { ids: input, truncated: 0 }
    throw new RangeError(
      `Expected inputs[${i}] to be 1..${limit} token ids, which leaves room for the labels, but received ${input.length}`,
    )
  })
}

function classification(
  labels: readonly string[],
  scores: readonly number[],
  { ids, truncated }: EncodedText,
  i: number,
): Classification {
  checkFinite(scores, `inputs[${i}]`)
  const most = Math.max(...scores)
  const weights = scores.map((score) => Math.exp(score - most))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return {
    label: labels[argmax(scores)] as string,
    labels: [...labels],
    probabilities: weights.map((weight) => weight / sum),
    scores: [...scores],
    tokens: ids.length,
    truncated,
  }
}
