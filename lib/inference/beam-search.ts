// Beam search: the continuation with the highest score among those that several beams reach. As
// transformers 5 does it (`_beam_search` with early_stopping False), so that results agree.

import { binding } from '../torch/context.js'
import { cat, noGrad, type Tensor, tidy } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import { kindOfLogits, notFinite } from './choose.js'
import { Inputs } from './inputs.js'
import { placeRules } from './sample.js'

export interface BeamSearchOptions {
  readonly numBeams: number
  /** A continuation's score is the sum of its log-probabilities over its length to this power. */
  readonly lengthPenalty: number
  readonly repetitionPenalty: number
  readonly maxNewTokens: number
  readonly minNewTokens: number
  /** The tokens that end a text. */
  readonly ends: readonly number[]
  /** Ids that stand before what is made, for the repetition penalty. */
  readonly before: readonly number[]
  /** Called between two steps: throws to stop. */
  readonly check: () => void
}

interface Beam {
  /** What was made, the token that ended it included. */
  readonly tokens: readonly number[]
  /** Sum of log-probabilities; over the length's power for a finished one. */
  readonly score: number
}

interface Candidate extends Beam {
  /** The beam that it grew from. */
  readonly parent: number
  readonly ends: boolean
}

/**
 * Logits [K, N] of the token after each of K continuations of one text, in the caller's scope; the first call is for one, an
 * empty one.
 *
 * @param running their tokens, and from which of the call before each grew
 */
export type NextLogits = (
  running: readonly { readonly tokens: readonly number[]; readonly parent: number }[],
) => Promise<Tensor>

/** @returns the best continuation's tokens, the one that ended it included */
export async function beamSearch(
  next: NextLogits,
  options: BeamSearchOptions,
): Promise<readonly number[]> {
  const { numBeams, lengthPenalty, maxNewTokens } = options
  let running: readonly Candidate[] = [{ tokens: [], score: 0, parent: 0, ends: false }]
  let finished: readonly Beam[] = []
  for (let length = 1; length <= maxNewTokens; length += 1) {
    options.check()
    const found = await candidates(next, running, options)
    const isLast = length === maxNewTokens
    const done = found
      .slice(0, numBeams) // the others are there to go on from only
      .filter(({ ends }) => ends || isLast)
      .map(({ tokens, score }) => ({ tokens, score: score / length ** lengthPenalty }))
    finished = best([...finished, ...done], numBeams)
    running = found.filter(({ ends }) => !ends).slice(0, numBeams)
    if (isLast || running.length === 0) break
    // Could the best beam, as long as it is now, still come in? Scores only fall.
    const possible = (running[0] as Candidate).score / length ** lengthPenalty
    const worst = finished.at(-1)?.score ?? Number.NEGATIVE_INFINITY
    if (finished.length === numBeams && possible <= worst) break
  }
  return (finished[0] as Beam).tokens
}

/**
 * The (1 + E) K likeliest one-token continuations of K beams, best first, E tokens ending a text: K of them
 * may end, and K others are there to go on from. With no E, twice K as well.
 */
async function candidates(
  next: NextLogits,
  running: readonly Candidate[],
  options: BeamSearchOptions,
): Promise<Candidate[]> {
  const { numBeams, minNewTokens, ends, before } = options
  const count = Math.max(2, 1 + ends.length) * numBeams
  const [scores, indices, N] = await noGrad(() =>
    tidy(async () => {
      const logits = await next(running)
      const logProbabilities = wrap(await binding().jobs.logSoftmax(handleOf(logits), 1))
      const made = running[0]?.tokens.length ?? 0
      const banned = made < minNewTokens ? ends : []
      const { repetitionPenalty } = options
      const rules = running.map(({ tokens }) => ({
        ...{ temperature: 0, topK: 0, topP: 1, repetitionPenalty, banned },
        seen: [...before, ...tokens],
      }))
      const kind = kindOfLogits(logProbabilities)
      const change = placeRules(rules, kind, new Inputs(logits.device))
      const allowed = await change(logProbabilities)
      const rows = running.map(({ score }, i) => allowed.slice(0, i, i + 1).add(score))
      const N = logits.shape[1] as number
      const all = (rows.length === 1 ? (rows[0] as Tensor) : cat(rows, 1)).reshape([-1])
      const top = all.topk(Math.min(count, all.numel))
      return [await top.values.read(), await top.indices.read(), N] as const
    }),
  )
  if (Number.isNaN(Number(scores[0]))) throw notFinite()
  return Array.from(scores as ArrayLike<number>, Number).map((score, i) => {
    const index = Number(indices[i])
    const parent = Math.floor(index / N)
    const token = index % N
    const tokens = [...(running[parent] as Candidate).tokens, token]
    return { tokens, score, parent, ends: ends.includes(token) }
  })
}

function best(beams: readonly Beam[], count: number): Beam[] {
  return [...beams].sort((a, b) => b.score - a.score).slice(0, count)
}
