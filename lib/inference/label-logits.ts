// From rows to logits and log-probabilities where their labels are predicted. What is as large as the vocabulary is held
// for so many positions at once, however many there are. Knows no loss and no task.

import type { Backbone } from '../backbone/index.js'
import { binding } from '../torch/context.js'
import {
  cat,
  grad,
  isGradEnabled,
  keep,
  noGrad,
  parameter,
  type Tensor,
  tidy,
  zeros,
} from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import type { Row } from './batch.js'
import { placeCausalRows } from './causal-hidden.js'
import { placeEncoderDecoderRows } from './encoder-decoder-hidden.js'
import { Inputs } from './inputs.js'
import type { PlacedRows, Waiting } from './label-hidden.js'
import type { PromptLayout, PromptSet } from './prompt-set.js'

/** Logits that are held at once: 64 MiB of float32, and a few times that on the way to a gradient. */
const LOGITS_AT_ONCE = 2 ** 24

function placeRows(
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  rows: readonly Row[],
  inputs: Inputs,
  isPadded?: boolean,
): PlacedRows {
  return backbone.kind === 'causal'
    ? placeCausalRows(backbone, layouts, rows, inputs, isPadded)
    : placeEncoderDecoderRows(backbone, layouts, rows, inputs, isPadded)
}

/** Logits [M, V], of the named rows of the output matrix, where the rows' label tokens are predicted. */
export function labelLogits(
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  rows: readonly Row[],
  vocabulary: readonly number[],
  inputs = new Inputs(backbone.device),
): Waiting<Tensor> {
  const { hidden } = placeRows(backbone, layouts, rows, inputs)
  const ids = inputs.int64(vocabulary)
  return async (set) => await logitsOf(backbone, await hidden(set), ids)
}

/** `backbone.head` of [M, H]; in float32 for a backbone of half precision. */
export async function logitsOf(
  backbone: Backbone,
  hidden: Tensor,
  rows?: Tensor,
): Promise<Tensor> {
  const logits = await backbone.head(hidden, rows)
  if (logits.dtype === 'float64' || logits.dtype === 'float32') return logits
  return wrap(await binding().jobs.to(handleOf(logits), 'float32', null, false))
}

/**
 * Log-probability of each label token of the rows given everything before it, [M], row by row; where inputs are bucketed, of
 * the last one again and again behind them.
 */
export function labelLogProbabilities(
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  rows: readonly Row[],
  inputs = new Inputs(backbone.device),
): Waiting<Tensor> {
  const { hidden, targets } = placeRows(backbone, layouts, rows, inputs, true)
  return async (set) => await ofTargets(backbone, set, await hidden(set), targets)
}

async function ofTargets(
  backbone: Backbone,
  set: PromptSet,
  hidden: Tensor,
  targets: Tensor,
): Promise<Tensor> {
  const [M] = hidden.shape as [number, number]
  if (M <= positionsAtOnce(backbone, set)) {
    return await targetLogProbabilities(backbone, hidden, targets)
  }
  if (!isGradEnabled()) {
    return await inPieces(positionsAtOnce(backbone, set), hidden, (own, begin, end) =>
      targetLogProbabilities(backbone, own, targets.slice(0, begin, end)),
    )
  }
  // A gradient by the output matrix itself needs all logits.
  if (await isHeadTrained(backbone)) {
    return await targetLogProbabilities(backbone, hidden, targets)
  }
  return await withSlopes(backbone, set, hidden, targets)
}

/** A token at one of the positions that are asked for. */
export interface Place {
  readonly query: number
  readonly id: number
}

/**
 * Log-probabilities of any tokens at the positions that the rows ask for, [places], in their order.
 *
 * @param places the positions count over all rows' label tokens, row by row
 */
export function logProbabilitiesAt(
  backbone: Backbone,
  layouts: readonly PromptLayout[],
  rows: readonly Row[],
  places: readonly Place[],
  inputs = new Inputs(backbone.device),
): Waiting<Tensor> {
  const placed = placeRows(backbone, layouts, rows, inputs, true)
  const index = inputs.int64(indexOf(places, backbone))
  return async (set) => {
    const hidden = await placed.hidden(set)
    const [M] = hidden.shape as [number, number]
    const size = positionsAtOnce(backbone, set)
    if (M <= size || isGradEnabled()) return await gathered(backbone, hidden, index)
    return await gatheredInPieces(backbone, size, hidden, index)
  }
}

async function gatheredInPieces(
  backbone: Backbone,
  size: number,
  hidden: Tensor,
  index: Tensor,
): Promise<Tensor> {
  const N = backbone.config.vocabSize
  const parts = await inPieces(size, hidden, async (own, begin, end) => {
    const local = index.sub(begin * N)
    const last = (end - begin) * N - 1
    const isElsewhere = local.lt(0).logicalOr(local.gt(last))
    const found = await gathered(backbone, own, local.clamp({ min: 0, max: last }))
    return found.maskedFill(isElsewhere, 0)
  })
  // Each is in one piece, and 0 in the others.
  return parts.reshape([-1, index.numel]).sum([0])
}

/** Where places are in logits [M, N], row by row. */
function indexOf(places: readonly Place[], { config }: Backbone): number[] {
  return places.map(({ query, id }) => query * config.vocabSize + id)
}

/** Log-probabilities of hidden states [M, H] at an index of [M, N]. */
async function gathered(
  backbone: Backbone,
  hidden: Tensor,
  index: Tensor,
): Promise<Tensor> {
  const logits = await logitsOf(backbone, hidden) // [M, N]
  const all = wrap(await binding().jobs.logSoftmax(handleOf(logits), 1))
  return all.reshape([-1]).indexSelect(0, index)
}

/** Log-probabilities [M] of a token at each of hidden states [M, H]. */
async function targetLogProbabilities(
  backbone: Backbone,
  hidden: Tensor,
  targets: Tensor,
): Promise<Tensor> {
  const logits = await logitsOf(backbone, hidden)
  const { jobs } = binding()
  const target = handleOf(targets)
  return wrap(
    await jobs.crossEntropy(handleOf(logits), target, null, 'none', -100, 0),
  ).neg()
}

/**
 * The same, a piece of the positions after the other. A log-probability depends on its own position's hidden state alone:
 * the slopes by that, [M, H], are all that a gradient needs, whatever is made of the log-probabilities. They are computed
 * beside them, while a piece's logits are there.
 */
async function withSlopes(
  backbone: Backbone,
  set: PromptSet,
  hidden: Tensor,
  targets: Tensor,
): Promise<Tensor> {
  const slopes: Tensor[] = []
  const found = async (own: Tensor, begin: number, end: number) => {
    const leaf = parameter(own.detach())
    const values = await targetLogProbabilities(
      backbone,
      leaf,
      targets.slice(0, begin, end),
    )
    const [slope] = await grad(values.sum(), leaf)
    slopes.push(keep(slope as Tensor))
    return values.detach()
  }
  try {
    const values = await inPieces(positionsAtOnce(backbone, set), hidden, found)
    const all = noGrad(() => cat(slopes, 0).to(values.dtype))
    // 0, but with the slopes as its gradient
    const moved = hidden.to(values.dtype).mul(all).sum([1])
    return values.add(moved.sub(moved.detach()))
  } finally {
    for (const slope of slopes) slope.dispose()
  }
}

/** What `work` gives for pieces of hidden states [M, H], one after the other. */
async function inPieces(
  size: number,
  hidden: Tensor,
  work: (own: Tensor, begin: number, end: number) => Promise<Tensor>,
): Promise<Tensor> {
  const M = hidden.shape[0] as number
  const parts: Tensor[] = []
  for (let begin = 0; begin < M; begin += size) {
    const end = Math.min(M, begin + size)
    parts.push(await tidy(() => work(hidden.slice(0, begin, end), begin, end)))
  }
  return cat(parts, 0)
}

function positionsAtOnce({ config }: Backbone, set: PromptSet): number {
  return set.positionsAtOnce ?? Math.max(1, Math.floor(LOGITS_AT_ONCE / config.vocabSize))
}

/** Whether what comes out of the head has a graph though nothing that goes in has one. */
async function isHeadTrained(backbone: Backbone): Promise<boolean> {
  return await tidy(async () => {
    const { config, dtype, device } = backbone
    const one = zeros([1, config.hiddenSize], { dtype, device })
    // Made on the device: a captured step brings nothing over.
    const first = zeros([1], { dtype: 'int64', device })
    return (await backbone.head(one, first)).requiresGrad
  })
}
