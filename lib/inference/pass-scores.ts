// Scores of rows that go through the backbone together, as numbers. Where passes are captured, rows and prompts become what
// comes again: padded counts, and inputs. Knows no task and no queue.

import type { Backbone } from '../backbone/index.js'
import { capturesGraphs, noGrad, type Tensor, tidy } from '../torch/index.js'
import { type CandidateRow, candidateScores } from './candidates.js'
import { Inputs } from './inputs.js'
import { keptOf } from './kept.js'
import {
  eachOf,
  type PreparedPrompt,
  type PromptLayout,
  type PromptSet,
} from './prompt-set.js'
import { StepGraphs, withRoom } from './step-graphs.js'

/**
 * The score of every candidate of each row, without a graph.
 *
 * @param graphs where passes are captured; null: they are not
 */
export async function passScores(
  backbone: Backbone,
  set: PromptSet,
  rows: readonly CandidateRow[],
  graphs: StepGraphs | null,
): Promise<number[][]> {
  return await noGrad(() =>
    tidy(async () => {
      const ownOf = async (scores: Tensor) => {
        const C = scores.shape[1] as number
        const values = Array.from(await scores.read(), Number) // [B, C]
        return rows.map(({ candidates }, i) =>
          values.slice(i * C, i * C + candidates.length),
        )
      }
      if (graphs === null) {
        const scores = candidateScores(backbone, set.layouts, rows)
        return await ownOf(await withRoom(backbone.device, () => scores(set)))
      }
      const { device } = backbone
      const inputs = new Inputs(device, { bucketed: true, anyPrompts: true })
      const pass = await withRoom(device, () => placed(set, rows, inputs))
      const scores = candidateScores(backbone, pass.set.layouts, pass.rows, inputs)
      await withRoom(device, () => inputs.bring(set.textStore))
      const work = async () => [await scores(pass.set)]
      return await graphs.runInTurn(inputs, work, ([found]) => ownOf(found as Tensor))
    }),
  )
}

/** As many rows and prompts as come again: those that stand for none are copies of the last. */
async function placed(
  { layouts, prepared, ...set }: PromptSet,
  rows: readonly CandidateRow[],
  inputs: Inputs,
): Promise<{ set: PromptSet; rows: readonly CandidateRow[] }> {
  const all = await prepared
  // What it gives, too: of a T5, the layout of none is that of one that gives keys and values alone.
  const shapeOf = (k: number) => JSON.stringify([layouts[k], shapesOf(all[k])])
  // One order, whichever of them a row names first.
  const used = [...new Set(rows.map(({ prompt }) => prompt))].sort((a, b) =>
    shapeOf(a).localeCompare(shapeOf(b)),
  )
  const filled = filledTo(inputs.countOf(used.length), used)
  inputs.note(`scores ${set.fastPaths} ${filled.map(shapeOf)}`)
  const own = filled.map((k) =>
    eachOf(all[k] as PreparedPrompt, (one) => inputs.copied(one)),
  )
  const renamed = rows.map((row) => ({ ...row, prompt: used.indexOf(row.prompt) }))
  return {
    set: {
      ...set,
      layouts: filled.map((k) => layouts[k] as PromptLayout),
      prepared: Promise.resolve(own),
    },
    rows: filledTo(inputs.rowsOf(rows.length), renamed),
  }
}

function shapesOf(prepared: PreparedPrompt | undefined): (readonly number[] | null)[] {
  const { inputs, prefix, embeddingDelta, past } = prepared as PreparedPrompt
  return [inputs, prefix, embeddingDelta, past].map((one) => one?.shape ?? null)
}

function filledTo<T>(count: number, values: readonly T[]): T[] {
  return Array.from({ length: count }, (_, i) => (values[i] ?? values.at(-1)) as T)
}

const graphsOf = keptOf(
  ({ device, tokenEmbedding: weight }) => new StepGraphs(device, { weight }),
  {
    // Of a device that is broken: whoever uses it is told.
    release: (graphs) => void graphs.clear().catch(() => {}),
    close: (graphs) => void graphs.dispose().catch(() => {}),
  },
)

/**
 * Where the passes of a backbone are captured, until it is disposed of or memory is asked for.
 *
 * @param graphs whether they are: by default where the device captures graphs
 */
export function passGraphsOf(
  backbone: Backbone,
  graphs = capturesGraphs(backbone.device),
): StepGraphs | null {
  if (typeof graphs !== 'boolean') {
    throw new TypeError(`Expected graphs to be true or false but received ${graphs}`)
  }
  return graphs ? graphsOf(backbone) : null
}
