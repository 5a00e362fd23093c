// Log-probabilities of candidate labels, and the prediction they make. Trains nothing.

import type { Backbone } from '../backbone/index.js'
import { checkAborted, checkMade, LoptError } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import { type Example, type LabelTokens, parseTemplate } from '../task/index.js'
import { binding } from '../torch/context.js'
import { noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import type { Row } from './batch.js'
import { type CandidateRow, candidateBatches, candidateScores } from './candidates.js'
import {
  checkCount,
  type EncodedText,
  encodeExamples,
  type TextFormat,
  type Unlabelled,
} from './encode.js'
import { labelLogits, rowSums } from './label-logits.js'
import { type GivenPrompt, preparePrompt } from './prepared-prompt.js'
import type { TextStore } from './text-store.js'

export interface ScoreOptions {
  backbone: Backbone
  /** null: the text alone, without a prompt. */
  prompt: Prompt | null
  /** Template and labels; default: what the prompt was trained for. */
  task?: TextFormat
  /** Texts, for a template of one field, or rows of its fields. */
  texts: readonly (string | Readonly<Record<string, string>>)[]
  /** What each text is answered with, where it is not with the labels: see `Example.candidates`. */
  candidates?: readonly Example['candidates'][]
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
  /** Label, or a candidate's words → sum of the log-probabilities (nats) of its tokens given everything before them. */
  readonly scores: Readonly<Record<string, number>>
  /** The label with the highest score, or that the candidate with the highest means. */
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
  checkMade({ backbone, ...(prompt && { prompt }) })
  const format = options.task ?? storedFormat(prompt)
  const examples = texts.map((text, i) => ({
    fields: fieldsOf(text, format.template),
    source: options.sources?.[i],
    candidates: options.candidates?.[i],
  }))
  const limits = { maxLength: options.maxLength, trained: prompt?.task?.maxLength }
  const { labels, encoded } = await encodeExamples(
    backbone,
    prompt,
    format,
    [examples] as const,
    limits,
  )
  const [rows] = encoded
  if (
    labels.ids.length === 0 &&
    rows.some(({ candidates }) => candidates === undefined)
  ) {
    throw new TypeError('The task has no labels of its own: give `candidates`')
  }
  const all = await scoreTexts({
    backbone,
    prompt,
    labels,
    encoded: rows,
    ...batch(options),
  })
  return all.map((values, i) => {
    const { candidates } = examples[i] as Unlabelled
    const names = candidates?.map(({ words }) => words) ?? labels.labels
    const best = argmax(values)
    return {
      scores: Object.fromEntries(names.map((name, j) => [name, values[j] as number])),
      prediction: candidates?.[best]?.label ?? (names[best] as string),
      truncated: rows[i]?.truncated ?? 0,
    }
  })
}

function batch({ batchSize, fastPaths, signal }: ScoreOptions) {
  return { batchSize, fastPaths, signal }
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
  const own = encoded.map(({ candidates }) => candidates)
  if (own.some((candidates) => candidates !== undefined)) {
    const rows = encoded.map(({ ids, candidates = labels.ids }) => ({
      text: ids,
      candidates,
    }))
    return await scoreCandidates(backbone, prompt, rows, { batchSize, fastPaths, signal })
  }
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

/** A score a candidate for each text, where each has its own. */
async function scoreCandidates(
  backbone: Backbone,
  prompt: Prompt | null,
  rows: readonly CandidateRow[],
  { batchSize, fastPaths, signal }: ReturnType<typeof batch> & { batchSize: number },
): Promise<number[][]> {
  const result = rows.map((): number[] => [])
  await noGrad(() =>
    tidy(async () => {
      const prepared = await preparePrompt(backbone, prompt, { fastPaths })
      for (const pieces of candidateBatches(rows, batchSize)) {
        checkAborted(signal)
        await tidy(async () => {
          const scores = await candidateScores(backbone, prepared, pieces) // [B, C]
          const C = scores.shape[1] as number
          const values = Array.from((await scores.read()) as Float32Array)
          pieces.forEach(({ row, candidates }, i) => {
            const own = values.slice(i * C, i * C + candidates.length)
            result[row]?.push(...checkFinite(own))
          })
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
  prompt: GivenPrompt,
  texts: readonly (readonly number[])[],
  labels: LabelTokens,
): Promise<Tensor> {
  const longer = labels.ids.filter((ids) => ids.length > 1)
  const read = longer.length > 0 ? longer : [[0]] // one query a text; which token comes is open
  const rows = texts.map((text): Row => ({ text, labels: read }))
  const perText = read.reduce((sum, { length }) => sum + length, 0) // queries of one text
  const N = backbone.config.vocabSize
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
  const index = int64(each.map((one) => one.index))
  const owners = int64(each.map(({ owner }) => owner))

  const logits = await labelLogits(backbone, prompt, rows) // [M, N]
  const logProbabilities = wrap(await binding().jobs.logSoftmax(handleOf(logits), 1))
  const values = logProbabilities.reshape([-1]).indexSelect(0, index)
  return rowSums(values, owners, texts.length * C).reshape([texts.length, C])
}

/**
 * Logits of the labels' own tokens, [B, C], with their graph: enough where only a softmax over the
 * labels is wanted. For labels of one token each.
 */
export async function verbalizerLogits(
  backbone: Backbone,
  prompt: GivenPrompt,
  texts: readonly (readonly number[])[],
  labels: LabelTokens,
): Promise<Tensor> {
  const rows = texts.map((text) => ({ text, labels: [[0]] }))
  return labelLogits(backbone, prompt, rows, labelIds(backbone, labels))
}

function labelIds(backbone: Backbone, labels: LabelTokens): Tensor {
  return tensor(labels.ids.flat(), { dtype: 'int64', device: backbone.device })
}
