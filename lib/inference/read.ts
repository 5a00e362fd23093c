// Log-probabilities of a text's own tokens. Generates nothing.

import type { CausalBackbone } from '../backbone/index.js'
import { arrange } from '../prompt/index.js'
import { binding } from '../torch/context.js'
import { type Tensor, tensor, tidy } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import { type BatchPlace, makeCausalBatch } from './batch.js'
import type { TokenLogProbability } from './choose.js'
import { Inputs } from './inputs.js'
import { batchOptions } from './label-hidden.js'
import { logitsOf } from './label-logits.js'
import type { PromptSet } from './prompt-set.js'
import { runBatch } from './run-batch.js'

/** A token of a text that was given. */
export interface ReadToken extends Pick<TokenLogProbability, 'token'> {
  /** Absent for the first one, which nothing says. */
  readonly logProbability?: number
  /** The likeliest tokens there, the first one first. */
  readonly likeliest?: readonly TokenLogProbability[]
}

/** Positions whose logits are held at once: [128, N]. */
const POSITIONS = 128

/**
 * What the model with a prompt thought of each token of a text, given those before it. A suffix prompt stands behind the
 * text, and has no say.
 *
 * @param set of one prompt
 * @param count likeliest tokens that are told at each position
 */
export async function readTokens(
  backbone: CausalBackbone,
  set: PromptSet,
  ids: readonly number[],
  count: number,
): Promise<ReadToken[]> {
  const [first, ...rest] = ids as readonly [number, ...number[]]
  const found: ReadToken[] = [{ token: first }]
  if (rest.length === 0) return found
  return await tidy(async () => {
    const batch = makeCausalBatch(
      [{ text: ids, labels: [[0]], prompt: 0 }],
      batchOptions(set.layouts, new Inputs(backbone.device)),
    )
    const prepared = await set.prepared
    const int64 = (values: number[] | number[][]) =>
      tensor(values, { dtype: 'int64', device: backbone.device })
    // A token is predicted where what is before it stands.
    const queries = placesOfTokens(set.layouts[0]?.place as BatchPlace, ids.length)
      .slice(1)
      .map((at) => at - 1)
    const wanted = { queries: int64([queries]), present: false }
    const run = await runBatch(backbone, prepared, batch, wanted)
    const hidden = run.hidden.select(0, 0) // [T - 1, H]
    const targets = int64(rest)
    for (let begin = 0; begin < rest.length; begin += POSITIONS) {
      const end = Math.min(rest.length, begin + POSITIONS)
      const part = {
        hidden: hidden.slice(0, begin, end),
        targets: targets.slice(0, begin, end),
      }
      found.push(...(await tidy(() => readPart(backbone, part, count))))
    }
    return found
  })
}

/** Of T tokens of a text, where each stands in its row. */
function placesOfTokens({ P, placement, shared }: BatchPlace, T: number): number[] {
  const inside = shared ? 0 : P
  const order = arrange(placement, inside, T, T)
  return Array.from({ length: T }, (_, i) => order.indexOf(inside + i))
}

async function readPart(
  backbone: CausalBackbone,
  { hidden, targets }: { hidden: Tensor; targets: Tensor },
  count: number,
): Promise<ReadToken[]> {
  const { jobs } = binding()
  const logits = await logitsOf(backbone, hidden)
  const all = wrap(await jobs.logSoftmax(handleOf(logits), 1)) // [M, N]
  const own = await all.gather(1, targets.unsqueeze(1)).read()
  const tokens = Array.from(await targets.read(), Number)
  const K = Math.min(count, logits.shape[1] as number)
  const top = K === 0 ? undefined : all.topk(K)
  const values = top && (await top.values.read())
  const ids = top && (await top.indices.read())
  return tokens.map((token, i) => ({
    token,
    logProbability: Number(own[i]),
    ...(values &&
      ids && {
        likeliest: Array.from({ length: K }, (_, k) => ({
          token: Number(ids[i * K + k]),
          logProbability: Number(values[i * K + k]),
        })),
      }),
  }))
}
