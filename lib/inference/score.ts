// Log-probabilities of candidate labels, and the prediction they make. Trains nothing.

import type { Backbone } from '../backbone/index.js'
import { checkAborted, LoptError } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import { type Example, type LabelTokens, parseTemplate } from '../task/index.js'
import { binding } from '../torch/context.js'
import { arange, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import type { Row } from './batch.js'
import {
  checkCount,
  type EncodedText,
  encodeLabels,
  encodeTexts,
  type TextFormat,
  textLimit,
} from './encode.js'
import { labelLogits } from './label-logits.js'
import { type PreparedPrompt, preparePrompt } from './prepared-prompt.js'
import type { TextStore } from './text-store.js'

export interface ScoreOptions {
  backbone: Backbone
  /** null: the text alone, without a prompt. */
  prompt: Prompt | null
  /** Template and labels; default: what the prompt was trained for. */
  task?: TextFormat
  /** Texts, for a template of one field, or rows of its fields. */
  texts: readonly (string | Readonly<Record<string, string>>)[]
  /** Where each text was read, for messages. */
  sources?: readonly NonNullable<Example['source']>[]
  /** Tokens of text at most; default: what the prompt was trained with, or what fits. */
  maxLength?: number
  /** Default 16. */
  batchSize?: number
  /** false: nothing is skipped or shared that the frozen model would allow; default true. */
  fastPaths?: boolean
  signal?: AbortSignal
}

export interface Score {
  /** Label → sum of the log-probabilities (nats) of its tokens given everything before them. */
  readonly scores: Readonly<Record<string, number>>
  /** The label with the highest score. */
  readonly prediction: string
  /** Tokens of the text that were cut off to fit. */
  readonly truncated: number
}

/**
 * Scores every label for every text, over the whole vocabulary.
 *
 * @throws TypeError or RangeError for options that do not fit; LoptError `ERR_DATA` for a text
 *   without tokens, `ERR_ABORTED`.
 */
export async function score(options: ScoreOptions): Promise<Score[]> {
  const { backbone, prompt, texts } = options
  const format = options.task ?? storedFormat(prompt)
  const labels = encodeLabels(backbone, format)
  const limit = textLimit(backbone, prompt, labels, {
    maxLength: options.maxLength,
    trained: prompt?.task?.maxLength,
  })
  const examples = texts.map((text, i) => ({
    fields: fieldsOf(text, format.template),
    source: options.sources?.[i],
  }))
  const encoded = await encodeTexts(backbone, format.template, examples, limit)
  const all = await scoreTexts({ ...options, labels, encoded })
  return all.map((values, i) => ({
    scores: Object.fromEntries(
      labels.labels.map((label, j) => [label, values[j] as number]),
    ),
    prediction: labels.labels[argmax(values)] as string,
    truncated: encoded[i]?.truncated ?? 0,
  }))
}

function storedFormat(prompt: Prompt | null): TextFormat {
  if (prompt?.task === undefined) {
    throw new TypeError('The prompt says no template and labels of its own: give `task`')
  }
  const { template, labels } = prompt.task
  return { template, labels: Object.keys(labels), verbalizer: labels }
}

function fieldsOf(
  text: string | Readonly<Record<string, string>>,
  template: string,
): Example['fields'] {
  if (typeof text !== 'string') return text
  const { fields } = parseTemplate(template)
  if (fields.length === 1) return { [fields[0] as string]: text }
  throw new TypeError(
    `The template has the fields ${fields.join(', ')}: give each text as an object of them`,
  )
}

export function argmax(values: readonly number[]): number {
  return values.indexOf(Math.max(...values))
}

/**
 * A score a label for each encoded text, in the texts' order. Texts of like length share a batch,
 * so that little padding is computed.
 *
 * @param options.textStore see `preparePrompt`
 */
export async function scoreTexts({
  backbone,
  prompt,
  labels,
  encoded,
  batchSize = 16,
  fastPaths,
  textStore,
  signal,
}: {
  backbone: Backbone
  prompt: Prompt | null
  labels: LabelTokens
  encoded: readonly EncodedText[]
  batchSize?: number | undefined
  fastPaths?: boolean | undefined
  textStore?: TextStore | null | undefined
  signal?: AbortSignal | undefined
}): Promise<number[][]> {
  checkCount(batchSize, 'batchSize')
  const order = [...encoded.keys()].sort(
    (a, b) => lengthOf(encoded, a) - lengthOf(encoded, b),
  )
  const result = new Array<number[]>(encoded.length)
  await noGrad(() =>
    tidy(async () => {
      const prepared = await preparePrompt(backbone, prompt, { fastPaths, textStore })
      for (let from = 0; from < order.length; from += batchSize) {
        checkAborted(signal)
        const chosen = order.slice(from, from + batchSize)
        const texts = chosen.map((i) => (encoded[i] as EncodedText).ids)
        const scores = await tidy(async () => {
          const values = await (
            await labelScores(backbone, prepared, texts, labels)
          ).read()
          return checkFinite(Array.from(values as Float32Array))
        })
        chosen.forEach((i, row) => {
          const C = labels.ids.length
          result[i] = scores.slice(row * C, (row + 1) * C)
        })
      }
    }),
  )
  return result
}

function checkFinite(scores: number[]): number[] {
  if (scores.every(Number.isFinite)) return scores
  throw new LoptError(
    'ERR_NON_FINITE_LOSS',
    'A score is not finite: the prompt holds values too large for the backbone',
  )
}

function lengthOf(encoded: readonly EncodedText[], i: number): number {
  return (encoded[i] as EncodedText).ids.length
}

/**
 * The score of every label for every text, [B, C], with its graph. A label of several tokens is a
 * row of its own; those of one token are read off where the first row's label begins.
 */
export async function labelScores(
  backbone: Backbone,
  prepared: PreparedPrompt,
  texts: readonly (readonly number[])[],
  labels: LabelTokens,
): Promise<Tensor> {
  const longer = labels.ids.filter((ids) => ids.length > 1)
  const read = longer.length > 0 ? longer : [[0]] // one query a text; which token comes is open
  const rows = texts.map((text): Row => ({ text, labels: read }))
  const logits = await labelLogits(backbone, prepared, rows)
  const logProbabilities = wrap(await binding().jobs.logSoftmax(handleOf(logits), 1)) // [M, N]

  const [M, N] = logits.shape as [number, number]
  const perText = M / texts.length // queries of one text
  let next = 0
  const starts = labels.ids.map(({ length }) => {
    if (length === 1) return 0
    next += length
    return next - length
  })
  const C = labels.ids.length
  const each = texts.flatMap((_, text) =>
    labels.ids.flatMap((ids, label) =>
      ids.map((id, j) => ({
        owner: text * C + label,
        index: (text * perText + (starts[label] as number) + j) * N + id,
      })),
    ),
  )
  const int64 = (values: number[]) =>
    tensor(values, { dtype: 'int64', device: backbone.device })
  const values = logProbabilities
    .reshape([-1])
    .indexSelect(0, int64(each.map(({ index }) => index)))
  const owners = int64(each.map(({ owner }) => owner))
  return rowSums(values, owners, texts.length * C).reshape([texts.length, C])
}

/**
 * Logits of the labels' own tokens, [B, C], with their graph: enough where only a softmax over the
 * labels is wanted. For labels of one token each.
 */
export async function verbalizerLogits(
  backbone: Backbone,
  prepared: PreparedPrompt,
  texts: readonly (readonly number[])[],
  labels: LabelTokens,
): Promise<Tensor> {
  const rows = texts.map((text) => ({ text, labels: [[0]] }))
  return labelLogits(backbone, prepared, rows, labelIds(backbone, labels))
}

function labelIds(backbone: Backbone, labels: LabelTokens): Tensor {
  return tensor(labels.ids.flat(), { dtype: 'int64', device: backbone.device })
}

/** Sums of `values` [M] by their owner, [rows]. */
function rowSums(values: Tensor, owner: Tensor, rows: number): Tensor {
  // A product with the matrix of who owns what: sums in a fixed order, with a gradient.
  const index = arange(0, rows, { device: values.device }).unsqueeze(1) // [rows, 1]
  return index.eq(owner).to(values.dtype).matmul(values)
}
