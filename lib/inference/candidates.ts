// Scores of the candidates that a row has of its own: rows of a batch may differ in how many. Knows no
// label and no task.

import type { Backbone } from '../backbone/index.js'
import { type Tensor, tensor } from '../torch/index.js'
import { labelLogProbabilities, rowSums } from './label-logits.js'
import type { GivenPrompt } from './prepared-prompt.js'

/** A text and the ids of what may answer it, one at least. */
export interface CandidateRow {
  readonly text: readonly number[]
  readonly candidates: readonly (readonly number[])[]
}

/** Some of a row's candidates. */
interface Piece extends CandidateRow {
  readonly row: number
}

/**
 * Rows of like length together, at most `batchSize` candidates in a batch; the candidates of a row that
 * has more are spread over several, in their order.
 */
export function candidateBatches(
  rows: readonly CandidateRow[],
  batchSize: number,
): Piece[][] {
  const order = [...rows.entries()].sort(([, a], [, b]) => a.text.length - b.text.length)
  const pieces = order.flatMap(([row, { text, candidates }]) =>
    Array.from({ length: Math.ceil(candidates.length / batchSize) }, (_, i): Piece => {
      const from = i * batchSize
      return { row, text, candidates: candidates.slice(from, from + batchSize) }
    }),
  )
  const batches: Piece[][] = []
  let most = 0 // candidates of a piece of the batch at hand
  for (const piece of pieces) {
    const batch = batches.at(-1)
    const grown = Math.max(most, piece.candidates.length)
    if (batch !== undefined && grown * (batch.length + 1) <= batchSize) {
      batch.push(piece)
      most = grown
    } else {
      batches.push([piece])
      most = piece.candidates.length
    }
  }
  return batches
}

/**
 * The score of every candidate, [B, C] with C of the row that has most, with its graph; -Infinity where a
 * row has no more.
 */
export async function candidateScores(
  backbone: Backbone,
  prompt: GivenPrompt,
  rows: readonly CandidateRow[],
): Promise<Tensor> {
  const C = Math.max(...rows.map(({ candidates }) => candidates.length))
  // A T5 decodes the rows' n-th labels together: a row that has fewer repeats its last.
  const counts = rows.map(({ candidates }) =>
    backbone.kind === 'causal' ? candidates.length : C,
  )
  const asked = rows.map(({ text, candidates }, i) => ({
    text,
    labels: Array.from(
      { length: counts[i] as number },
      (_, n) => candidates[Math.min(n, candidates.length - 1)] as readonly number[],
    ),
  }))
  const labels = asked.flatMap((row) => row.labels)
  const { device } = backbone
  const owner = tensor(
    labels.flatMap((ids, i) => ids.map(() => i)),
    { dtype: 'int64', device },
  )
  let begin = 0
  const cells = rows.flatMap(({ candidates }, i) => {
    const own = Array.from({ length: C }, (_, n) => ({
      index: begin + Math.min(n, candidates.length - 1),
      missing: Number(n >= candidates.length),
    }))
    begin += counts[i] as number
    return own
  })
  const index = tensor(
    cells.map((cell) => cell.index),
    { dtype: 'int64', device },
  )
  const missing = tensor(
    cells.map((cell) => cell.missing),
    { dtype: 'bool', device },
  )
  const values = await labelLogProbabilities(backbone, prompt, asked) // [M]
  const sums = rowSums(values, owner, labels.length)
  return sums
    .indexSelect(0, index)
    .maskedFill(missing, Number.NEGATIVE_INFINITY)
    .reshape([rows.length, C])
}
