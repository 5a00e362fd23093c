// What prompts say to rows that texts answer: the rows to look at, the texts that they generate, and the figures of both.
// Trains nothing, writes nothing.

import type { Backbone } from '../backbone/index.js'
import {
  type EncodedText,
  type GenerateRow,
  type GenerationOptions,
  generate,
  type StepGraphs,
} from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import type { Figures, Sample } from '../run/index.js'
import { type Example, fillTemplate, type Task } from '../task/index.js'
import { textFigures } from './text-figures.js'

/** How texts are generated; `maxNewTokens` is by default what the longest target has. */
export type GenerationSettings = Omit<GenerationOptions, 'prompt' | 'logProbabilities'>

/** Rows of which texts are generated: all, or so many, those with the highest loss a token and those with the lowest. */
export type GeneratedRows = 'all' | number

/** Mean negative log-likelihood (nats) a token of each row's target. */
export function lossesATarget(
  encoded: readonly EncodedText[],
  scores: readonly (readonly number[])[],
): number[] {
  return scores.map(([score = 0], i) => -score / (encoded[i]?.target?.ids.length ?? 1))
}

/** Of the rows those to generate texts of, the ones with the highest loss first. */
function chosenRows(losses: readonly number[], rows: GeneratedRows): number[] {
  const order = [...losses.keys()].sort(
    (a, b) => (losses[b] as number) - (losses[a] as number) || a - b,
  )
  if (rows === 'all' || rows >= order.length) return order
  const worst = Math.ceil(rows / 2)
  return [...order.slice(0, worst), ...order.slice(order.length - (rows - worst))]
}

/**
 * Texts of several prompts, continued together.
 *
 * @param lists the rows as ids, of each prompt
 * @param scores of each prompt's rows; where one is not finite nothing is generated
 * @returns of each prompt the generated texts by row, those with the highest loss first
 */
export async function saidBy(
  prompts: readonly (Prompt | null)[],
  lists: readonly (readonly EncodedText[])[],
  scores: readonly (readonly (readonly number[])[])[],
  options: {
    backbone: Backbone
    batchSize?: number | undefined
    rows: GeneratedRows
    generation?: GenerationSettings | undefined
    /** null: steps are not captured. */
    graphs?: StepGraphs | null | undefined
    signal?: AbortSignal | undefined
  },
): Promise<Map<number, string>[]> {
  const { backbone, batchSize, generation, signal } = options
  const graphs = options.graphs === undefined ? undefined : options.graphs !== null
  const places: { prompt: number; row: number }[] = []
  const rows: GenerateRow[] = []
  for (const [k, list] of lists.entries()) {
    const own = scores[k] ?? []
    if (!own.flat().every(Number.isFinite)) continue
    for (const row of chosenRows(lossesATarget(list, own), options.rows)) {
      const { ids } = list[row] as EncodedText
      places.push({ prompt: k, row })
      rows.push({ text: ids, prompt: prompts[k] ?? null })
    }
  }
  const longest = lists
    .flat()
    .reduce((most, { target }) => Math.max(most, target?.ids.length ?? 1), 1)
  const said = lists.map(() => new Map<number, string>())
  // In their order, whichever ends first.
  for (const { prompt, row } of places) said[prompt]?.set(row, '')
  const how = { maxNewTokens: longest, graphs, ...generation }
  for await (const event of generate({ backbone, rows, batchSize, signal, ...how })) {
    const { prompt, row } = places[event.row] as (typeof places)[number]
    if (event.type === 'failed') throw event.error
    if (event.type === 'done') said[prompt]?.set(row, event.text)
  }
  return said
}

/** What is known of rows that texts answer. */
export interface TextEvaluation {
  readonly figures: Figures
  /** Mean negative log-likelihood (nats) of the targets' tokens. */
  readonly loss: number
  /** Those of which a text was generated, the ones with the highest loss first. */
  readonly samples: readonly Sample[]
}

/** @param said generated texts by row; figures that compare them are there where every row has one */
export function textEvaluation(
  task: Task,
  examples: readonly Example[],
  encoded: readonly EncodedText[],
  scores: readonly (readonly number[])[],
  said: ReadonlyMap<number, string>,
): TextEvaluation {
  const losses = lossesATarget(encoded, scores)
  const tokens = encoded.map(({ target }) => target?.ids.length ?? 1)
  const sum = losses.reduce((all, loss, i) => all + loss * (tokens[i] as number), 0)
  const loss = sum / tokens.reduce((all, count) => all + count, 0)
  const samples = [...said].map(([row, generated]): Sample => {
    const { fields, label, targets = [label] } = examples[row] as Example
    const text = fillTemplate(task.template, fields)
    return { row, text, targets, generated, loss: losses[row] as number }
  })
  const isWhole = said.size === examples.length
  const compared = () => {
    const rows = examples.map(({ fields, label, targets = [label] }, i) => {
      return { fields, targets, generated: said.get(i) as string }
    })
    return { ...textFigures(rows), ...(task.judge && { own: task.judge(rows) }) }
  }
  return {
    figures: { perplexity: Math.exp(loss), ...(isWhole && compared()) },
    loss,
    samples,
  }
}
