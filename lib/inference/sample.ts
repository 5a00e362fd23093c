// Which tokens may come next, and how likely: from logits to logits, of all rows at once. What rows ask for becomes tensors
// first, so that it can be captured. Knows no model and no text.

import type { NativeBinding } from '../native.js'
import { binding } from '../torch/context.js'
import type { FloatDType } from '../torch/dtype.js'
import { type Tensor, where } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import type { Inputs } from './inputs.js'

export interface SamplingOptions {
  /** 0 chooses the likeliest token (greedy); above, logits are divided by it. */
  readonly temperature: number
  /** Only the k likeliest tokens; 0: all. */
  readonly topK: number
  /** Only the likeliest tokens that together reach this probability; 1: all. */
  readonly topP: number
  /** Above 1, tokens seen before get less likely (Keskar et al. 2019, CTRL). */
  readonly repetitionPenalty: number
}

/** What a row's next token is bound to. */
export interface Rules extends SamplingOptions {
  /** Ids of the text so far. */
  readonly seen: readonly number[]
  /** Ids that may not come next. */
  readonly banned: readonly number[]
}

/** The logits that rules are for. */
export interface LogitsKind {
  /** N */
  readonly vocabSize: number
  readonly dtype: FloatDType
}

/** Of [R, N] logits, [R, N] others. */
export type LogitsChange = (logits: Tensor) => Promise<Tensor>

const NEVER = Number.NEGATIVE_INFINITY

/** Which of the rules some row has. */
export function kindOfRules(rules: Rules, { vocabSize }: LogitsKind): string[] {
  const { temperature, topK, topP, repetitionPenalty, banned } = rules
  const has = {
    // Last: a list that is made where it is asked for.
    penalty: repetitionPenalty !== 1 && rules.seen.length > 0,
    banned: banned.length > 0,
    temperature: temperature > 0 && temperature !== 1,
    topK: topK > 0 && topK < vocabSize,
    topP: topP < 1,
  }
  return Object.entries(has).flatMap(([name, isThere]) => (isThere ? [name] : []))
}

/** Logits after penalty, bans, temperature, top-k and top-p, in transformers' order; -inf for a token that may not come. */
export function placeRules(
  rows: readonly Rules[],
  kind: LogitsKind,
  inputs: Inputs,
): LogitsChange {
  const places = { penalty, banned, temperature, topK, topP } as const
  const kinds = rows.map((row) => kindOfRules(row, kind))
  const changes: LogitsChange[] = []
  for (const [name, place] of Object.entries(places)) {
    const isBound = kinds.map((own) => own.includes(name))
    if (!isBound.includes(true)) continue
    inputs.note(name)
    changes.push(place(rows, isBound, kind, inputs))
  }
  return async (logits) => {
    let x = logits
    for (const change of changes) x = await change(x)
    return x
  }
}

/** `isBound` says which of the rows have the rule. */
type Place = (
  rows: readonly Rules[],
  isBound: readonly boolean[],
  kind: LogitsKind,
  inputs: Inputs,
) => LogitsChange

const penalty: Place = (rows, isBound, { dtype }, inputs) => {
  const ids = inputs.int64(
    idRows(
      rows.map(({ seen }) => [...new Set(seen)]),
      inputs,
    ),
  )
  const by = inputs.float(
    rows.map((row, i) => (isBound[i] ? row.repetitionPenalty : 1)),
    dtype,
  )
  return async (x) => {
    const values = x.gather(1, ids)
    return await scattered(x, ids, where(values.lt(0), values.mul(by), values.div(by)))
  }
}

const banned: Place = (rows, isBound, _, inputs) => {
  const ids = inputs.int64(
    idRows(
      rows.map((row) => row.banned),
      inputs,
    ),
  )
  const never = inputs.bool(isBound.map((one) => [one ? 1 : 0]))
  return async (x) => {
    const values = x.gather(1, ids)
    // A NaN stays one, and is told of.
    return await scattered(x, ids, where(never, values.mul(0).add(NEVER), values))
  }
}

const temperature: Place = (rows, isBound, { dtype }, inputs) => {
  const by = inputs.float(
    rows.map((row, i) => (isBound[i] ? row.temperature : 1)),
    dtype,
  )
  return async (x) => wrap(await opsFor(x).div(handleOf(x), handleOf(by)))
}

const topK: Place = (rows, isBound, { vocabSize }, inputs) => {
  const counts = rows.map((row, i) => (isBound[i] ? row.topK : 1))
  const most = inputs.countOf(Math.max(...counts), vocabSize)
  inputs.note(`${most}`)
  const last = inputs.int64(counts.map((count) => [count - 1]))
  const free = inputs.bool(isBound.map((one) => [one ? 0 : 1]))
  return async (x) => {
    const ops = opsFor(x)
    const [values] = await ops.topk(handleOf(x), most, 1, true, true)
    const least = wrap(values).gather(1, last).maskedFill(free, NEVER) // [R, 1]
    const isLess = wrap(await ops.lt(handleOf(x), handleOf(least)))
    return await without(x, isLess)
  }
}

const topP: Place = (rows, isBound, { dtype }, inputs) => {
  // No sum is as large as infinity.
  const most = inputs.float(
    rows.map((row, i) => (isBound[i] ? row.topP : Number.POSITIVE_INFINITY)),
    dtype,
  )
  return async (x) => {
    const ops = opsFor(x)
    const [sorted, order] = (await ops.sort(handleOf(x), 1, true, false)).map((one) =>
      wrap(one),
    ) as [Tensor, Tensor]
    const probabilities = wrap(await ops.softmax(handleOf(sorted), 1))
    // A token stays while those before it have not reached topP: the first always does.
    const sums = wrap(await ops.cumsum(handleOf(probabilities), 1))
    const before = wrap(await ops.sub(handleOf(sums), handleOf(probabilities), 1))
    const isOver = wrap(await ops.ge(handleOf(before), handleOf(most)))
    return await scattered(x, order, await without(sorted, isOver))
  }
}

/** What libtorch computes on one thread. */
const SMALL = 2 ** 15

/**
 * Ops of what has so many elements: a job where it is large, which would hold JavaScript's thread up, and share its processors
 * with the executor's; on the spot where a job's way there and back takes longer.
 */
export function opsFor({
  numel,
}: {
  numel: number
}): NativeBinding['ops'] | NativeBinding['jobs'] {
  return numel <= SMALL ? binding().ops : binding().jobs
}

async function scattered(x: Tensor, ids: Tensor, values: Tensor): Promise<Tensor> {
  return wrap(await opsFor(x).scatter(handleOf(x), 1, handleOf(ids), handleOf(values)))
}

async function without(x: Tensor, isOut: Tensor): Promise<Tensor> {
  return wrap(await opsFor(x).maskedFill(handleOf(x), handleOf(isOut), NEVER))
}

/** As many ids of each row, at least one: a row that has fewer has its first again, or any where it has none. */
function idRows(lists: readonly (readonly number[])[], inputs: Inputs): number[][] {
  const most = inputs.countOf(Math.max(1, ...lists.map(({ length }) => length)))
  return lists.map((ids) => Array.from({ length: most }, (_, i) => ids[i] ?? ids[0] ?? 0))
}
