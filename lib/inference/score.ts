// Log-probabilities of candidate labels, and the prediction they make. Trains nothing.

import type { Backbone } from '../backbone/index.js'
import { checkAborted, checkMade, LoptError } from '../errors.js'
import { checkPrompt, type Prompt } from '../prompt/index.js'
import { type Example, parseTemplate } from '../task/index.js'
import { noGrad, tidy } from '../torch/index.js'
import { type CandidateRow, candidateBatches, candidateScores } from './candidates.js'
import {
  checkCount,
  type EncodedText,
  encodeExamples,
  type TextFormat,
  type Unlabelled,
} from './encode.js'
import { createPromptSet, type PromptSetOptions } from './prompt-set.js'

export interface ScoreOptions {
  backbone: Backbone
  /** Of all texts; null: the texts alone, without a prompt. */
  prompt?: Prompt | null
  /**
   * In place of `prompt`: the prompt of each text. Texts of different prompts share a batch, whatever their methods,
   * placements, lengths and labels are.
   */
  prompts?: readonly (Prompt | null)[]
  /** Template and labels; default: what each prompt was trained for. */
  task?: TextFormat
  /** Texts, for a template of one field, or rows of its fields. */
  texts: readonly (string | Readonly<Record<string, string>>)[]
  /** What each text is answered with, where it is not with the labels: see `Example.candidates`. */
  candidates?: readonly Example['candidates'][]
  /** Where each text was read, for messages. */
  sources?: readonly NonNullable<Example['source']>[]
  /** Tokens of text at most; default: what the prompt was trained with, or what fits. */
  maxLength?: number
  /** Texts that are run at once, default 16. */
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
 * @example
 * const [first] = await score({ backbone, prompts: [reviews, topics], texts: ['A delight.', 'Rain at noon.'] })
 *
 * @throws TypeError or RangeError for options that do not fit; LoptError `ERR_DATA` for a text
 *   without tokens, `ERR_PROMPT_FILE` for a prompt of another backbone, `ERR_ABORTED`.
 */
export async function score(options: ScoreOptions): Promise<Score[]> {
  const { backbone, texts, batchSize, fastPaths, signal } = options
  const { prompts, chosen } = promptsOf(options)
  const result = new Array<Score>(texts.length)
  const rows: CandidateRow[] = []
  const finish: ((scores: number[]) => void)[] = []
  for (const [k, prompt] of prompts.entries()) {
    // Texts of one prompt have one template and one limit.
    const own = [...texts.keys()].filter((i) => chosen[i] === k)
    for (const { i, row, named } of await encodedOf(options, prompt, own)) {
      rows.push({ ...row, prompt: k })
      finish.push((scores) => {
        checkFinite(scores)
        result[i] = named(scores)
      })
    }
  }
  const all = await scoreRows(rows, { backbone, prompts, batchSize, fastPaths, signal })
  all.forEach((scores, n) => {
    finish[n]?.(scores)
  })
  return result
}

/** The different prompts, and which of them each text has. */
function promptsOf({ backbone, prompt, prompts, texts }: ScoreOptions): {
  prompts: readonly (Prompt | null)[]
  chosen: readonly number[]
} {
  checkMade({ backbone })
  if (prompts === undefined) {
    if (prompt) checkPrompt(prompt, backbone)
    return { prompts: [prompt ?? null], chosen: texts.map(() => 0) }
  }
  if (prompt !== undefined) throw new TypeError('Give either prompt or prompts, not both')
  if (!Array.isArray(prompts) || prompts.length !== texts.length) {
    throw new RangeError(
      `Expected prompts to be a list, the prompt of each of ${texts.length} texts, but received ` +
        (Array.isArray(prompts) ? `${prompts.length}` : typeof prompts),
    )
  }
  const different = [...new Set(prompts)]
  for (const one of different) {
    if (one !== null) checkPrompt(one, backbone, `prompts[${prompts.indexOf(one)}]`)
  }
  return { prompts: different, chosen: prompts.map((one) => different.indexOf(one)) }
}

/** A prompt's own texts as rows, each with what its scores are told by. */
async function encodedOf(
  options: ScoreOptions,
  prompt: Prompt | null,
  own: readonly number[],
): Promise<
  { i: number; row: Omit<CandidateRow, 'prompt'>; named: (scores: number[]) => Score }[]
> {
  const { backbone, texts, sources, candidates, maxLength } = options
  const format = options.task ?? storedFormat(prompt)
  const examples = own.map((i) => ({
    fields: fieldsOf(texts[i] as (typeof texts)[number], format.template),
    source: sources?.[i],
    candidates: candidates?.[i],
  }))
  const limits = { maxLength, trained: prompt?.task?.maxLength }
  const { labels, encoded } = await encodeExamples(
    backbone,
    prompt,
    format,
    [examples] as const,
    limits,
  )
  const [rows] = encoded
  return own.map((i, n) => {
    const { candidates: means } = examples[n] as Unlabelled
    const text = rows[n] as EncodedText
    if (labels.ids.length === 0 && text.candidates === undefined) {
      throw new TypeError('The task has no labels of its own: give `candidates`')
    }
    const names = means?.map(({ words }) => words) ?? labels.labels
    const named = (scores: number[]): Score => {
      const best = argmax(scores)
      return {
        scores: Object.fromEntries(names.map((name, j) => [name, scores[j] as number])),
        prediction: means?.[best]?.label ?? (names[best] as string),
        truncated: text.truncated,
      }
    }
    return { i, row: candidateRow(text, labels.ids), named }
  })
}

/** A row that is scored: by its own candidates, or by the labels. */
export function candidateRow(
  { ids, candidates }: EncodedText,
  labels: readonly (readonly number[])[],
): Omit<CandidateRow, 'prompt'> {
  return {
    text: ids,
    candidates: candidates ?? labels,
    isOwn: candidates !== undefined,
  }
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

/** @throws LoptError `ERR_NON_FINITE_LOSS` unless every score is finite. */
export function checkFinite(scores: readonly number[]): void {
  if (scores.every(Number.isFinite)) return
  throw new LoptError(
    'ERR_NON_FINITE_LOSS',
    'A score is not finite: the prompt holds values too large for the backbone',
  )
}

/**
 * A score a candidate for each row, in the rows' order, without a graph. Texts of like length share a batch,
 * so that little padding is computed; what the prompts give is computed once. A row that is not finite leaves the
 * others as they are.
 *
 * @param options.prompts that the rows name by their place
 * @param options.textStore see `createPromptSet`
 */
export async function scoreRows(
  rows: readonly CandidateRow[],
  options: {
    backbone: Backbone
    prompts: readonly (Prompt | null)[]
    batchSize?: number | undefined
    signal?: AbortSignal | undefined
  } & Pick<PromptSetOptions, 'fastPaths' | 'textStore'>,
): Promise<number[][]> {
  const { backbone, prompts, batchSize = 16, signal } = options
  checkCount(batchSize, 'batchSize')
  const result = rows.map((): number[] => [])
  await noGrad(() =>
    tidy(async () => {
      const set = createPromptSet(backbone, prompts, options)
      await set.prepared
      for (const pieces of candidateBatches(rows, batchSize)) {
        checkAborted(signal)
        await tidy(async () => {
          const scores = await candidateScores(backbone, set, pieces) // [B, C]
          const C = scores.shape[1] as number
          const values = Array.from((await scores.read()) as Float32Array)
          pieces.forEach(({ row, candidates }, i) => {
            result[row]?.push(...values.slice(i * C, i * C + candidates.length))
          })
        })
      }
    }),
  )
  return result
}
