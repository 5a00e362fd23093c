// The next token of each row, and what is told of it: chosen for all rows at once where the logits are, and read back
// together. Knows no model and no text.

import { LoptError } from '../errors.js'
import { binding } from '../torch/context.js'
import { cat, ones, type Tensor } from '../torch/index.js'
import { handleOf, handlesOf, wrap } from '../torch/tensor.js'
import type { Draws } from './draws.js'
import { Inputs } from './inputs.js'
import {
  kindOfRules,
  type LogitsChange,
  type LogitsKind,
  opsFor,
  placeRules,
  type Rules,
} from './sample.js'

/** A token, and its log-probability (nats) among all tokens, before temperature and the like. */
export interface TokenLogProbability {
  readonly token: number
  readonly logProbability: number
}

/** What was chosen, with what is told of it. */
export interface Choice {
  readonly token: number
  readonly logProbability?: number
  readonly likeliest?: readonly TokenLogProbability[]
}

/** What a row asks of its next token. */
export interface Wish {
  readonly rules: Rules
  /** What it is drawn by, at a temperature above 0. */
  readonly draws: Draws
  /** How many of the likeliest tokens are told with log-probabilities; undefined: not even its own. */
  readonly logProbabilities: number | undefined
}

/** Choices that wait for logits. */
export interface PlacedChoices {
  /** Of logits [R, N], what is to be known of each row: [R, ..] each. */
  readonly figures: (logits: Tensor) => Promise<Tensor[]>
  /** The same as one, to be read back at once, in the logits' dtype: ids are exact in it. */
  readonly joined: LogitsChange
  /** @param rows the figures of each */
  choicesOf(rows: readonly (readonly number[])[]): (Choice | LoptError)[]
}

const NOTHING_ASKED: Rules = {
  ...{ temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1 },
  ...{ seen: [], banned: [] },
}

/**
 * Chooses the rows' next tokens. A row's choice does not depend on the others.
 *
 * @returns for a row that has no next token, an error: the others have theirs
 */
export async function chooseAll(
  logits: Tensor,
  wishes: readonly Wish[],
): Promise<(Choice | LoptError)[]> {
  const kind = kindOfLogits(logits)
  // Apart: a row whose rules need little does not pay for the others'.
  const groups = new Map<string, number[]>()
  for (const [i, wish] of wishes.entries()) {
    const key = JSON.stringify([kindOfRules(wish.rules, kind), isDrawn(wish), told(wish)])
    groups.set(key, [...(groups.get(key) ?? []), i])
  }
  const found: (Choice | LoptError)[] = []
  const choose = async (places: readonly number[]) => {
    const inputs = new Inputs(logits.device)
    const own = places.map((i) => wishes[i] as Wish)
    const placed = await placeChoices(own, own.length, kind, inputs)
    const some =
      places.length === wishes.length
        ? logits
        : await selected(logits, inputs.int64(places))
    // Reading waits for a device, and is nothing on a CPU, where joining is what costs.
    const isHere = logits.device === 'cpu'
    const figures = isHere ? await placed.figures(some) : [await placed.joined(some)]
    const choices = placed.choicesOf(await readRows(figures))
    for (const [n, i] of places.entries()) found[i] = choices[n] as Choice | LoptError
  }
  await Promise.all([...groups.values()].map(choose))
  return found
}

/**
 * What rows ask for as tensors: the draws of each row too, which are its own generator's on the CPU, so that a seed gives the
 * same text on every device.
 *
 * @param R rows of the logits: those behind the wishes' own are padding
 */
export async function placeChoices(
  wishes: readonly Wish[],
  R: number,
  kind: LogitsKind,
  inputs: Inputs,
): Promise<PlacedChoices> {
  const rules = wishes.map((wish) => wish.rules)
  const padding = Array.from({ length: R - wishes.length }, () => NOTHING_ASKED)
  const rule = placeRules([...rules, ...padding], kind, inputs)
  const draw = await placeDraws(wishes, R, kind, inputs)
  const most = Math.max(...wishes.map((wish) => wish.logProbabilities ?? -1))
  const count = inputs.countOf(Math.max(most, 0), kind.vocabSize)
  const likeliest = Math.min(count, kind.vocabSize)
  inputs.note(`told ${most < 0 ? 'nothing' : likeliest}`)
  const figures = async (logits: Tensor) => {
    const ops = opsFor(logits)
    const allowed = await rule(logits)
    // A NaN is the largest of its row.
    const largest = ops.amax(handleOf(logits), [1], true)
    const drawn = await draw?.(allowed)
    const scores = handleOf(drawn?.scores ?? allowed)
    const id = wrap(await ops.argmax(scores, 1, true)) as Tensor
    const parts = [wrap(await largest), id]
    if (drawn !== undefined) parts.push(drawn.largest)
    if (most >= 0) parts.push(...(await logProbabilitiesOf(logits, id, likeliest)))
    return parts
  }
  return {
    figures,
    async joined(logits) {
      const parts = await figures(logits)
      return cat(
        parts.map((one) => one.to(kind.dtype)),
        1,
      )
    },
    choicesOf(rows) {
      return wishes.map(({ logProbabilities }, row) => {
        const [largest, token, ...rest] = rows[row] as [number, number, ...number[]]
        if (!Number.isFinite(largest)) return notFinite()
        // What a row's rules make of its logits may not be finite where they are.
        if (draw !== undefined && !Number.isFinite(rest.shift())) return notFinite()
        if (logProbabilities === undefined) return { token }
        const [logProbability, ...others] = rest as [number, ...number[]]
        const shown = others.slice(0, Math.min(logProbabilities, likeliest))
        if (logProbabilities === 0) return { token, logProbability }
        return {
          ...{ token, logProbability },
          likeliest: shown.map((value, i) => {
            return { token: others[likeliest + i] as number, logProbability: value }
          }),
        }
      })
    },
  }
}

/** Of [R, N]: what the choice is the largest of, and of each row's probabilities the largest. */
type Draw = (allowed: Tensor) => Promise<{ scores: Tensor; largest: Tensor }>

/**
 * Draws are exponential: the token with the largest probability over its draw comes with that probability (as
 * `torch.multinomial` has it).
 */
async function placeDraws(
  wishes: readonly Wish[],
  R: number,
  kind: LogitsKind,
  inputs: Inputs,
): Promise<Draw | undefined> {
  const { vocabSize, dtype } = kind
  if (!wishes.some(isDrawn)) return undefined
  inputs.note('drawn')
  const ops = opsFor({ numel: R * vocabSize })
  const isRowDrawn = Array.from({ length: R }, (_, i) => {
    const wish = wishes[i]
    return wish !== undefined && isDrawn(wish)
  })
  const isMixed = isRowDrawn.includes(false)
  const none = isMixed ? ones([1, vocabSize], { dtype }) : null
  const rows = isRowDrawn.map(async (isRow, i) => {
    if (!isRow) return none as Tensor
    return await (wishes[i] as Wish).draws.next(kind, R)
  })
  const drawn = handlesOf(await Promise.all(rows), 'draws')
  const draws = inputs.moved(wrap(await ops.cat(drawn, 0)))
  // Greedy rows keep their logits: two that differ may have one probability.
  const mixed = isMixed ? inputs.bool(isRowDrawn.map((one) => [one ? 1 : 0])) : null
  return async (allowed) => {
    const ops = opsFor(allowed)
    const probabilities = wrap(await ops.softmax(handleOf(allowed), 1))
    const largest = wrap(await ops.amax(handleOf(probabilities), [1], true))
    const raced = wrap(await ops.div(handleOf(probabilities), handleOf(draws)))
    if (mixed === null) return { scores: raced, largest }
    const scores = ops.where(handleOf(mixed), handleOf(raced), handleOf(allowed))
    return { scores: wrap(await scores), largest }
  }
}

/** Each [R, ..]: of the chosen ids, of the likeliest ones, and the ids of those. */
async function logProbabilitiesOf(
  logits: Tensor,
  id: Tensor,
  likeliest: number,
): Promise<Tensor[]> {
  const ops = opsFor(logits)
  const all = wrap(await ops.logSoftmax(handleOf(logits), 1))
  const own = all.gather(1, id)
  if (likeliest === 0) return [own]
  const top = await ops.topk(handleOf(all), likeliest, 1, true, true)
  return [own, ...top.map((one) => wrap(one))]
}

async function selected(logits: Tensor, rows: Tensor): Promise<Tensor> {
  return wrap(await binding().jobs.indexSelect(handleOf(logits), 0, handleOf(rows)))
}

export function kindOfLogits({ shape, dtype }: Tensor): LogitsKind {
  return { vocabSize: shape[1] as number, dtype: dtype as LogitsKind['dtype'] }
}

/** Makes what the rows' next tokens are drawn by, while a device is at work. */
export function drawAhead(wishes: readonly Wish[], kind: LogitsKind): void {
  for (const wish of wishes) {
    if (isDrawn(wish)) wish.draws.makeAhead(kind, wishes.length)
  }
}

/** Of logits that give no next token. */
export function notFinite(cause?: unknown): LoptError {
  return new LoptError(
    'ERR_NON_FINITE_LOSS',
    'A logit is not finite: the prompt holds values too large for the backbone, or the temperature is too close to 0',
    { cause },
  )
}

/** The rows of some [R, ..], each row's numbers one after the other. */
export async function readRows(figures: readonly Tensor[]): Promise<number[][]> {
  const read = await Promise.all(figures.map((one) => one.read()))
  const [R = 0] = figures[0]?.shape ?? []
  return Array.from({ length: R }, (_, row) =>
    read.flatMap((values) => {
      const width = values.length / R
      return Array.from(values.subarray(row * width, (row + 1) * width), Number)
    }),
  )
}

function isDrawn({ rules }: Wish): boolean {
  return rules.temperature > 0
}

function told({ logProbabilities = -1 }: Wish): number {
  return logProbabilities
}
