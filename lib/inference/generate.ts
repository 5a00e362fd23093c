// Continues a text, token by token, with the keys and values of what was read kept. Knows no label.

import { z } from 'zod'
import type { CausalBackbone, Tokenizer } from '../backbone/index.js'
import { checkAborted } from '../errors.js'
import type { Prompt } from '../prompt/index.js'
import { Generator, keep, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { makeBatch } from './batch.js'
import { firstToken } from './encode.js'
import { assemble, logitsOf } from './label-logits.js'
import { preparePrompt } from './prepared-prompt.js'
import { chooseToken, processedLogits } from './sample.js'

export interface GenerateOptions {
  backbone: CausalBackbone
  /** null or absent: the text alone. */
  prompt?: Prompt | null
  /** What is continued. Too long a text is refused. */
  text: string
  /** Default 64. */
  maxNewTokens?: number
  /** The end-of-text token may not come before this many, default 0. */
  minNewTokens?: number
  /** 0 (default): the likeliest token each time; above: sampling. */
  temperature?: number
  /** Only the k likeliest; default 0: all. */
  topK?: number
  /** Only the likeliest that together reach this probability, in (0, 1], default 1. */
  topP?: number
  /** Default 1: none. */
  repetitionPenalty?: number
  /** Default 0. */
  seed?: number
  /** Keep keys and values (default). Without, everything is read again for each token. */
  cache?: boolean
  signal?: AbortSignal
}

/** `stop` the end-of-text token came; `length` maxNewTokens; `positions` the model has no more. */
export type FinishReason = 'stop' | 'length' | 'positions'

export type GenerateEvent =
  | {
      readonly type: 'token'
      readonly token: number
      /** What the text grew by; empty while a character is incomplete. */
      readonly text: string
    }
  | {
      readonly type: 'done'
      /** Everything that was generated. */
      readonly text: string
      readonly tokens: readonly number[]
      readonly finishReason: FinishReason
    }

const numbers = z.strictObject({
  text: z.string(),
  maxNewTokens: z.int().min(1).default(64),
  minNewTokens: z.int().min(0).default(0),
  temperature: z.number().min(0).default(0),
  topK: z.int().min(0).default(0),
  topP: z.number().gt(0).max(1).default(1),
  repetitionPenalty: z.number().gt(0).default(1),
  seed: z.int().min(0).default(0),
  cache: z.boolean().default(true),
})

/**
 * Continues a text. Yields an event a token, then one with the whole.
 *
 * @throws RangeError for options out of range and for a text without room to continue it;
 *   LoptError `ERR_ABORTED` between two tokens once the signal is aborted.
 */
export async function* generate(options: GenerateOptions): AsyncGenerator<GenerateEvent> {
  const { backbone, prompt = null, signal, ...rest } = options
  const checked = numbers.safeParse(rest)
  if (!checked.success) throw new RangeError(z.prettifyError(checked.error))
  const { text, maxNewTokens, minNewTokens, seed, cache, ...sampling } = checked.data
  const { tokenizer } = backbone
  const P = prompt?.config.length ?? 0
  const room = backbone.config.positions - P
  // A model that was given nothing starts where its texts do.
  const given = [...firstToken(tokenizer), ...tokenizer.encode(text)]
  if (given.length === 0 && tokenizer.eosTokenId !== undefined)
    given.push(tokenizer.eosTokenId)
  if (given.length === 0 || given.length >= room) {
    throw new RangeError(
      `Expected a text of 1..${room - 1} tokens, which leaves a position, but received ${given.length}`,
    )
  }

  const generator = new Generator({ seed })
  const stop = tokenizer.eosTokenId
  const decoder = new TextPieces(tokenizer)
  const made: number[] = []
  let finishReason: FinishReason = 'length'
  let past: Tensor[] = []
  try {
    while (made.length < maxNewTokens) {
      checkAborted(signal)
      const seen = [...given, ...made]
      if (P + seen.length > backbone.config.positions) {
        finishReason = 'positions'
        break
      }
      const banned = stop !== undefined && made.length < minNewTokens ? [stop] : []
      const step = await noGrad(() =>
        tidy(async () => {
          const next =
            past.length > 0
              ? await nextOf(backbone, seen, P, past)
              : await first(backbone, prompt, given, made)
          const logits = processedLogits(next.logits, sampling, seen, banned)
          const token = await chooseToken(logits, sampling, generator)
          return { token, present: cache ? next.present : [] }
        }),
      )
      for (const tensor of past) tensor.dispose()
      past = step.present.map(keep)
      if (step.token === stop) {
        finishReason = 'stop'
        break
      }
      made.push(step.token)
      yield { type: 'token', token: step.token, text: decoder.push(step.token) }
    }
  } finally {
    for (const tensor of past) tensor.dispose()
  }
  yield { type: 'done', text: tokenizer.decode(made), tokens: made, finishReason }
}

/** Logits [1, N] after everything so far, read from its beginning. */
async function first(
  backbone: CausalBackbone,
  prompt: Prompt | null,
  given: readonly number[],
  made: readonly number[],
): Promise<{ logits: Tensor; present: Tensor[] }> {
  // What was made stands where a label does: behind a suffix.
  const row = { text: given, label: [...made, 0] }
  // One row shares nothing.
  const prepared = await preparePrompt(backbone, prompt, { fastPaths: false })
  const batch = makeBatch([row], prepared.place)
  const x = await assemble(backbone, prepared, batch)
  const Q = x.shape[1] as number
  const queries = tensor([[Q - 1]], { dtype: 'int64', device: backbone.device })
  const { hidden, present } = await backbone.run({
    x,
    positions: batch.positions,
    queries,
  })
  return { logits: await logitsOf(backbone, hidden.select(0, 0)), present }
}

/** Logits [1, N] after the newest token, the rest being in `past`. */
async function nextOf(
  backbone: CausalBackbone,
  seen: readonly number[],
  P: number,
  past: readonly Tensor[],
): Promise<{ logits: Tensor; present: Tensor[] }> {
  const { device } = backbone
  const newest = tensor([[seen.at(-1) as number]], { dtype: 'int64', device })
  const positions = tensor([[P + seen.length - 1]], { dtype: 'int64', device })
  const x = await backbone.embed(newest)
  const { hidden, present } = await backbone.run({ x, positions, past })
  return { logits: await logitsOf(backbone, hidden.select(0, 0)), present }
}

/** Text that grows by whole characters: a byte-level token may end inside one. */
class TextPieces {
  readonly #tokenizer: Tokenizer
  readonly #ids: number[] = []
  #given = ''

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  push(id: number): string {
    this.#ids.push(id)
    const text = this.#tokenizer.decode(this.#ids)
    if (text.endsWith('\uFFFD')) return ''
    const piece = text.slice(this.#given.length)
    this.#given = text
    return piece
  }
}
