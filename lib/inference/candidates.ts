// The scores of what may answer a text: a task's labels, or candidates of the row's own. Knows no task.

import type { Backbone } from '../backbone/index.js'
import type { Tensor } from '../torch/index.js'
import type { Row } from './batch.js'
import { Inputs } from './inputs.js'
import type { Waiting } from './label-hidden.js'
import { labelLogits, logProbabilitiesAt, type Place } from './label-logits.js'
import type { PromptLayout } from './prompt-set.js'

/** A text, the ids of what may answer it, one at least, and the prompt that it is run with. */
export interface CandidateRow {
  readonly text: readonly number[]
  readonly candidates: readonly (readonly number[])[]
  /** Its place in the set of prompts. */
  readonly prompt: number
  /** Whether the candidates are the row's own, of any number, and not a task's labels. */
  readonly isOwn?: boolean
}

/** Some of a row's candidates. */
interface Piece extends CandidateRow {
  readonly row: number
}

/**
 * Rows of like length together, at most `batchSize` of them in a batch, or as many candidates of their own; those of
 * a row that has more are spread over several batches, in their order.
 */
export function candidateBatches(
  rows: readonly CandidateRow[],
  batchSize: number,
): Piece[][] {
  const order = [...rows.entries()].sort(([, a], [, b]) => a.text.length - b.text.length)
  const pieces = order.flatMap(([row, one]): Piece[] => {
    const { candidates, isOwn = false } = one
    if (!isOwn) return [{ ...one, row }]
    return Array.from({ length: Math.ceil(candidates.length / batchSize) }, (_, i) => {
      const from = i * batchSize
      return { ...one, row, candidates: candidates.slice(from, from + batchSize) }
    })
  })
  const batches: Piece[][] = []
  let most = 0 // candidates of a piece of the batch at hand
  for (const piece of pieces) {
    const batch = batches.at(-1)
    const count = piece.isOwn ? piece.candidates.length : 1
    const grown = Math.max(most, count)
    if (batch !== undefined && grown * (batch.length + 1) <= batchSize) {
      batch.push(piece)
      most = grown
    } else {
      batches.push([piece])
      most = count
    }
  }
  return batches
}

/**
 * The score of every candidate, the sum of its tokens' log-probabilities: [B, C] with C of the row that has most, with
 * its graph; -Infinity where a row has no more. A candidate of several tokens is a row of its own; those of one token
 * are read off where the row's first one begins.
 */
export function candidateScores(
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  rows: readonly CandidateRow[],
  inputs = new Inputs(backbone.device),
): Waiting<Tensor> {
  const asked: Row[] = []
  const places: Place[][][] = [] // [B][C][tokens]
  let begin = 0 // queries of the rows before
  for (const { text, candidates, prompt } of rows) {
    const longer = candidates.filter((ids) => ids.length > 1)
    const labels = longer.length > 0 ? longer : [[0]] // one query a text; which token comes is open
    const first = begin
    places.push(
      candidates.map((ids) => {
        if (ids.length === 1) return [{ query: first, id: ids[0] as number }]
        begin += ids.length
        return ids.map((id, j) => ({ query: begin - ids.length + j, id }))
      }),
    )
    if (longer.length === 0) begin += 1
    asked.push({ text, labels, prompt })
  }
  // The candidates' tokens, padded to [B, C, K].
  const C = Math.max(...places.map(({ length }) => length))
  const all = places.flatMap((row) => Array.from({ length: C }, (_, c) => row[c] ?? []))
  const K = inputs.answerOf(Math.max(...all.map(({ length }) => length)))
  const cells = all.flatMap((own) => Array.from({ length: K }, (_, j) => own[j]))
  const shape = [places.length, C, K]
  const flat = logProbabilitiesAt(
    backbone,
    layouts,
    asked,
    cells.map((place) => place ?? { query: 0, id: 0 }),
    inputs,
  )
  inputs.note(`candidates ${shape.join()}`)
  // What is padded is replaced and not multiplied by 0: a row that is not finite leaves the others as they are.
  const isShort = cells.includes(undefined)
  const padding = isShort
    ? inputs.bool(
        cells.map((place) => Number(place === undefined)),
        shape,
      )
    : null
  const isEven = places.every(({ length }) => length === C)
  const missing = isEven
    ? null
    : inputs.bool(
        all.map(({ length }) => Number(length === 0)),
        [places.length, C],
      )
  return async (set) => {
    const found = (await flat(set)).reshape(shape)
    const sums = (padding ? found.maskedFill(padding, 0) : found).sum([2])
    return missing ? sums.maskedFill(missing, Number.NEGATIVE_INFINITY) : sums
  }
}

/**
 * Logits of the candidates' own tokens, [B, C], with their graph: enough where only a softmax over them is wanted.
 *
 * @param candidates of one token each, the same for all rows
 */
export function candidateLogits(
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  rows: readonly Pick<CandidateRow, 'text' | 'prompt'>[],
  candidates: readonly (readonly number[])[],
  inputs?: Inputs,
): Waiting<Tensor> {
  const asked = rows.map(({ text, prompt }) => ({ text, labels: [[0]], prompt }))
  return labelLogits(backbone, layouts, asked, candidates.flat(), inputs)
}
