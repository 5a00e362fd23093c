// Log-probabilities of candidate labels, and the prediction they make. Trains nothing.

import type { Backbone } from '../backbone/index.js'
import { about, checkAborted, checkMade, LoptError } from '../errors.js'
import { checkPrompt, type Prompt } from '../prompt/index.js'
import { type Example, parseTemplate } from '../task/index.js'
import { noGrad, tidy } from '../torch/index.js'
import { type CandidateRow, candidateBatches } from './candidates.js'
import { checkCount, type EncodedText, placeOf, type TextFormat } from './encode.js'
import { encodeExamples } from './encode-examples.js'
import { passGraphsOf, passScores } from './pass-scores.js'
import { type PromptCache, promptCacheOf } from './prompt-cache.js'
import { createPromptSet, type PromptSetOptions } from './prompt-set.js'
import type { StepGraphs } from './step-graphs.js'

/** What `score` takes for texts of one prompt. */
export interface ScoreOptions {
  backbone: Backbone
  /** Of all texts; null: the texts alone, without a prompt. */
  prompt: Prompt | null
  /** In place of `prompt`: the prompt of each text. */
  prompts?: undefined
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
  /**
   * Launches a batch as one where the device captures graphs (CUDA), its rows padded to counts and lengths that come again: by
   * default there. true does the same on every device, for tests; false never does.
   */
  graphs?: boolean
  signal?: AbortSignal
}

/** `score` of texts that have a prompt each. */
export interface ScoreManyOptions extends Omit<ScoreOptions, 'prompt' | 'prompts'> {
  prompt?: undefined
  /**
   * The prompt of each text; null: none. Texts of different prompts share a batch, whatever their methods,
   * placements, lengths and labels are.
   */
  prompts: readonly (Prompt | null)[]
}

type AnyScoreOptions = ScoreOptions | ScoreManyOptions

/** How likely each label of a text is. */
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
 *   without tokens, `ERR_PROMPT_FILE` for a prompt of another backbone, `ERR_NON_FINITE_LOSS` for a score that is
 *   not finite, `ERR_ABORTED`.
 */
export async function score(options: ScoreOptions | ScoreManyOptions): Promise<Score[]> {
  const { backbone, texts, batchSize, fastPaths, signal } = options
  const { prompts, names, chosen } = promptsOf(options)
  const result = new Array<Score>(texts.length)
  const rows: CandidateRow[] = []
  const finish: ((scores: number[]) => void)[] = []
  for (const [k, prompt] of prompts.entries()) {
    // Texts of one prompt have one template and one limit.
    const own = [...texts.keys()].filter((i) => chosen[i] === k)
    const encoded = await about(names[k], () => encodedOf(options, prompt, own))
    for (const { i, place, row, named } of encoded) {
      rows.push({ ...row, prompt: k })
      finish.push((scores) => {
        checkFinite(scores, names[k] === undefined ? place : `${place}, ${names[k]}`)
        result[i] = named(scores)
      })
    }
  }
  const kept = fastPaths === false ? undefined : promptCacheOf(backbone)
  const graphs = passGraphsOf(backbone, options.graphs)
  const how = { backbone, prompts, kept, graphs, batchSize, fastPaths, signal }
  const all = await scoreRows(rows, how)
  all.forEach((scores, n) => {
    finish[n]?.(scores)
  })
  return result
}

/** The different prompts, their names in messages where each text has its own, and which of them each text has. */
function promptsOf({ backbone, prompt, prompts, texts }: AnyScoreOptions): {
  prompts: readonly (Prompt | null)[]
  names: readonly (string | undefined)[]
  chosen: readonly number[]
} {
  checkMade({ backbone })
  if ((prompt === undefined) === (prompts === undefined)) {
    throw new TypeError(
      'Give what the texts are scored with: either prompt (null: none) or prompts',
    )
  }
  if (prompts === undefined) {
    if (prompt) checkPrompt(prompt, backbone)
    return { prompts: [prompt ?? null], names: [undefined], chosen: texts.map(() => 0) }
  }
  if (!Array.isArray(prompts) || prompts.length !== texts.length) {
    throw new RangeError(
      `Expected prompts to be a list, the prompt of each of ${texts.length} texts, but received ` +
        (Array.isArray(prompts) ? `${prompts.length}` : typeof prompts),
    )
  }
  const different: (Prompt | null)[] = [...new Set(prompts)]
  const names = different.map((one) => `prompts[${prompts.indexOf(one)}]`)
  different.forEach((one, k) => {
    if (one !== null) checkPrompt(one, backbone, names[k])
  })
  const chosen = prompts.map((one) => different.indexOf(one))
  return { prompts: different, names, chosen }
}

interface Encoded {
  /** The text's place among all. */
  readonly i: number
  /** The same in messages. */
  readonly place: string
  readonly row: Omit<CandidateRow, 'prompt'>
  /** What its scores say. */
  readonly named: (scores: number[]) => Score
}

/** A prompt's own texts as rows, each with what its scores are told by. */
async function encodedOf(
  options: AnyScoreOptions,
  prompt: Prompt | null,
  own: readonly number[],
): Promise<Encoded[]> {
  const { backbone, texts, sources, candidates, maxLength } = options
  const format = options.task ?? storedFormat(prompt)
  const examples = own.map((index) => ({
    fields: fieldsOf(texts[index] as (typeof texts)[number], format.template),
    source: sources?.[index],
    candidates: candidates?.[index],
    index,
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
  return examples.map((example, n) => {
    const { candidates: means, index: i } = example
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
    return { i, place: placeOf(example), row: candidateRow(text, labels.ids), named }
  })
}

/** A row that is scored: by the text that answers it, by its own candidates, or by the labels. */
export function candidateRow(
  { ids, candidates, target }: EncodedText,
  labels: readonly (readonly number[])[],
): Omit<CandidateRow, 'prompt'> {
  return {
    text: ids,
    candidates: target ? [target.ids] : (candidates ?? labels),
    isOwn: candidates !== undefined || target !== undefined,
  }
}

/** Template and labels that a prompt was trained for. */
export function storedFormat(prompt: Prompt | null): TextFormat {
  if (prompt === null) {
    throw new TypeError('Without a prompt nothing says template and labels: give `task`')
  }
  if (prompt.task === undefined) {
    throw new TypeError('The prompt says no template and labels of its own: give `task`')
  }
  const { template, labels } = prompt.task
  return { template, labels: Object.keys(labels), verbalizer: labels }
}

/** A text as the fields of a template. */
export function fieldsOf(
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
 * @param where names the row in the message
 * @throws LoptError `ERR_NON_FINITE_LOSS` unless every score is finite.
 */
export function checkFinite(scores: readonly number[], where?: string): void {
  if (scores.every(Number.isFinite)) return
  throw new LoptError(
    'ERR_NON_FINITE_LOSS',
    `${where === undefined ? '' : `${where}: `}A score is not finite: the prompt holds values too large for ` +
      'the backbone',
  )
}

/**
 * A score a candidate for each row, in the rows' order, without a graph. Texts of like length share a batch,
 * so that little padding is computed; what the prompts give is computed once. A row that is not finite leaves the
 * others as they are.
 *
 * @param options.prompts that the rows name by their place
 * @param options.kept prompts that are prepared once for all calls; without, once a call. The caller's
 * @param options.graphs where passes are captured; without, they are not
 * @param options.textStore see `createPromptSet`
 */
export async function scoreRows(
  rows: readonly CandidateRow[],
  options: {
    backbone: Backbone
    prompts: readonly (Prompt | null)[]
    kept?: PromptCache | undefined
    graphs?: StepGraphs | null | undefined
    batchSize?: number | undefined
    signal?: AbortSignal | undefined
  } & Pick<PromptSetOptions, 'fastPaths' | 'textStore'>,
): Promise<number[][]> {
  const { backbone, prompts, kept, graphs = null, batchSize = 16, signal } = options
  checkCount(batchSize, 'batchSize')
  const result = rows.map((): number[] => [])
  await noGrad(() =>
    tidy(async () => {
      const set = kept
        ? await kept.set(prompts)
        : createPromptSet(backbone, prompts, options)
      await set.prepared
      for (const pieces of candidateBatches(rows, batchSize)) {
        checkAborted(signal)
        const scores = await passScores(backbone, set, pieces, graphs)
        pieces.forEach(({ row }, i) => {
          result[row]?.push(...(scores[i] as number[]))
        })
      }
    }),
  )
  return result
}
