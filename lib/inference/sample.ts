// Which token comes next: from logits to a choice. Knows no model and no text.

import { LoptError } from '../errors.js'
import { binding } from '../torch/context.js'
import {
  type Generator,
  multinomial,
  type Tensor,
  tensor,
  where,
} from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'

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

const NEVER = Number.NEGATIVE_INFINITY

/**
 * The logits [1, N] after penalty, bans, temperature, top-k and top-p, in transformers' order.
 *
 * @param seen ids of the text so far
 * @param banned ids that may not come next
 */
export function processedLogits(
  logits: Tensor,
  { temperature, topK, topP, repetitionPenalty }: SamplingOptions,
  seen: readonly number[],
  banned: readonly number[],
): Tensor {
  let x = logits
  if (repetitionPenalty !== 1 && seen.length > 0) {
    const ids = idRow([...new Set(seen)], x.device)
    const values = x.gather(1, ids)
    const penalised = where(
      values.lt(0),
      values.mul(repetitionPenalty),
      values.div(repetitionPenalty),
    )
    x = x.scatter(1, ids, penalised)
  }
  x = withoutBanned(x, [banned])
  if (temperature > 0 && temperature !== 1) x = x.div(temperature)
  if (topK > 0 && topK < (x.shape[1] as number)) {
    const least = x.topk(topK).values.slice(1, topK - 1, topK) // [1, 1]
    x = x.maskedFill(x.lt(least), NEVER)
  }
  if (topP < 1) {
    const { values, indices } = x.sort({ descending: true })
    const probabilities = values.softmax(1)
    // A token stays while those before it have not reached topP: the first always does.
    const dropped = probabilities.cumsum(1).sub(probabilities).ge(topP)
    x = x.scatter(1, indices, values.maskedFill(dropped, NEVER))
  }
  return x
}

/**
 * Logits [B, N], -inf where a row may not choose a token.
 *
 * @param banned ids, of each row
 */
export function withoutBanned(
  logits: Tensor,
  banned: readonly (readonly number[])[],
): Tensor {
  const N = logits.shape[1] as number
  const places = banned.flatMap((ids, row) => ids.map((id) => row * N + id))
  if (places.length === 0) return logits
  const at = tensor(places, { dtype: 'int64', device: logits.device })
  const all = logits.reshape([-1])
  return all.scatter(0, at, all.gather(0, at).mul(0).add(NEVER)).reshape(logits.shape)
}

/** Draws one id of logits [1, N], or takes the likeliest at temperature 0. */
export async function chooseToken(
  logits: Tensor,
  options: SamplingOptions,
  generator: Generator,
): Promise<number> {
  if (options.temperature === 0) {
    const best = wrap(await binding().jobs.argmax(handleOf(logits), 1, false))
    return Number((await best.read())[0])
  }
  // On the CPU: the generator's draws are the same for every device.
  const probabilities = logits.softmax(1).to('cpu')
  return Number((await multinomial(probabilities, 1, { generator }).read())[0])
}

/** Of logits that give no next token. */
export function notFinite(cause?: unknown): LoptError {
  return new LoptError(
    'ERR_NON_FINITE_LOSS',
    'A logit is not finite: the prompt holds values too large for the backbone, or the temperature is too close to 0',
    { cause },
  )
}

function idRow(ids: readonly number[], device: string): Tensor {
  return tensor([[...ids]], { dtype: 'int64', device })
}
