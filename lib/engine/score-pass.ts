// Texts that are scored together, whatever their prompts. Knows no queue.

import type { Backbone } from '../backbone/index.js'
import { type PromptCache, passScores, type StepGraphs } from '../inference/index.js'
import { noGrad, tidy } from '../torch/index.js'
import type { ScoreWork } from './work.js'

/** Padding that a pass may have, over its own tokens; and what is less than another pass would cost. */
const PADDING = 0.25
const LEAST_TOKENS = 128

/** Texts of like length share a pass. */
export function passesOf(works: readonly ScoreWork[]): ScoreWork[][] {
  const lengthOf = ({ row }: ScoreWork) => row.text.length
  const sorted = [...works].sort((a, b) => lengthOf(a) - lengthOf(b))
  const passes: ScoreWork[][] = []
  let own = 0 // tokens of the pass at hand
  for (const work of sorted) {
    const pass = passes.at(-1)
    const grown = own + lengthOf(work)
    const padding = lengthOf(work) * ((pass?.length ?? 0) + 1) - grown
    if (pass !== undefined && padding <= Math.max(PADDING * grown, LEAST_TOKENS)) {
      pass.push(work)
      own = grown
    } else {
      passes.push([work])
      own = lengthOf(work)
    }
  }
  return passes
}

/** @returns the scores of each one's candidates */
export async function scoreWorks(
  backbone: Backbone,
  prompts: PromptCache,
  works: readonly ScoreWork[],
  graphs: StepGraphs | null,
): Promise<number[][]> {
  const used = [...new Set(works.map(({ held }) => held.prompt))]
  const rows = works.map(({ row, held }) => {
    return { ...row, prompt: used.indexOf(held.prompt) }
  })
  return await tidy(async () => {
    const set = await noGrad(() => prompts.set(used))
    return await passScores(backbone, set, rows, graphs)
  })
}
