// Continues a text: greedily, by sampling or by beam search. Knows no label.

import { z } from 'zod'
import type { Backbone, Tokenizer } from '../backbone/index.js'
import { checkRows } from '../backbone/vocabulary.js'
import { checkAborted, checkMade } from '../errors.js'
import { checkOptions } from '../fields.js'
import { checkPrompt, type Prompt } from '../prompt/index.js'
import { Generator, noGrad, tidy } from '../torch/index.js'
import { type BeamSearchOptions, beamSearch } from './beam-search.js'
import { startDecoding } from './decoding.js'
import { firstToken } from './encode.js'
import { chooseToken, processedLogits, type SamplingOptions } from './sample.js'

export interface GenerateOptions {
  backbone: Backbone
  /** null or absent: the text alone. */
  prompt?: Prompt | null
  /** What is continued. Too long a text is refused. */
  text: string
  /** Default 64. */
  maxNewTokens?: number
  /** No token that ends a text may come before this many, default 0. */
  minNewTokens?: number
  /** 0 (default): the likeliest token each time; above: sampling. */
  temperature?: number
  /** Only the k likeliest; default 0: all. */
  topK?: number
  /** Only the likeliest that together reach this probability, in (0, 1], default 1. */
  topP?: number
  /** Default 1: none. */
  repetitionPenalty?: number
  /** Beams of a beam search, default 1: none. Its tokens come all at the end. */
  numBeams?: number
  /**
   * A beam's score is the sum of its log-probabilities over its length to this power, default 1: above
   * 0 longer texts are preferred.
   */
  lengthPenalty?: number
  /** Default 0. */
  seed?: number
  /** Keep keys and values (default). Without, everything is read again for each token. */
  cache?: boolean
  signal?: AbortSignal
}

/** `stop` a token came that ends a text; `length` maxNewTokens; `positions` the model has no more. */
export type FinishReason = 'stop' | 'length' | 'positions'

export type GenerateEvent =
  | {
      readonly type: 'token'
      readonly token: number
      /**
       * What the text grew by; empty while a character is incomplete. The last token brings what is
       * left, even if its character never gets complete.
       */
      readonly text: string
    }
  | {
      readonly type: 'done'
      /** Everything that was generated: the tokens' texts together. */
      readonly text: string
      readonly tokens: readonly number[]
      readonly finishReason: FinishReason
    }

// Each beam is a row of every step: a bound against a slip.
const MAX_BEAMS = 1024

const numbers = z.strictObject({
  text: z.string(),
  maxNewTokens: z.int().min(1).default(64),
  minNewTokens: z.int().min(0).default(0),
  temperature: z.number().min(0).default(0),
  topK: z.int().min(0).default(0),
  topP: z.number().gt(0).max(1).default(1),
  repetitionPenalty: z.number().gt(0).default(1),
  numBeams: z.int().min(1).max(MAX_BEAMS).default(1),
  lengthPenalty: z.number().default(1),
  seed: z.int().min(0).default(0),
  cache: z.boolean().default(true),
})

/**
 * Continues a text. Yields an event a token, then one with the whole.
 *
 * @throws TypeError for options of another type, RangeError for options out of range and for a text without
 *   room to continue it;
 *   LoptError `ERR_PROMPT_FILE` for a prompt of another backbone, `ERR_ABORTED` between two tokens once the signal
 *   is aborted.
 */
export async function* generate(options: GenerateOptions): AsyncGenerator<GenerateEvent> {
  const { backbone, prompt = null, signal: _, ...rest } = options
  checkMade({ backbone })
  if (prompt !== null) checkPrompt(prompt, backbone)
  const checked = checkOptions(numbers, rest)
  if (checked.numBeams > 1 && checked.temperature > 0) {
    throw new RangeError(
      'Beam search looks for the likeliest text and does not sample: give numBeams or temperature',
    )
  }
  const { tokenizer, endTokenIds: ends } = backbone
  const given = givenIds(backbone, prompt, checked.text)
  const P = prompt?.config.length ?? 0
  // What a causal model reads counts; an encoder-decoder's positions are relative.
  const left = backbone.maxPositions - P - given.length + 1
  const maxNewTokens = Math.min(checked.maxNewTokens, left)
  const atEnd = maxNewTokens < checked.maxNewTokens ? 'positions' : 'length'
  const chosen = chosenTokens(options, {
    ...checked,
    given,
    maxNewTokens,
    ends,
    before: backbone.kind === 'causal' ? given : [backbone.config.decoderStartTokenId],
  })
  const pieces = new TextPieces(tokenizer)
  const made: number[] = []
  let stopped = false
  // A token without a text waits for the next one: where none comes, it brings the rest.
  let waiting: number | undefined
  for await (const token of chosen) {
    stopped = ends.includes(token)
    if (stopped) break
    if (waiting !== undefined) yield { type: 'token', token: waiting, text: '' }
    made.push(token)
    const piece = pieces.push(token)
    waiting = piece === '' ? token : undefined
    if (waiting === undefined) yield { type: 'token', token, text: piece }
  }
  if (waiting !== undefined) yield { type: 'token', token: waiting, text: pieces.rest() }
  const finishReason = stopped ? 'stop' : atEnd
  yield { type: 'done', text: pieces.text, tokens: made, finishReason }
}

type Continued = Omit<BeamSearchOptions, 'check'> &
  SamplingOptions &
  Pick<z.infer<typeof numbers>, 'seed' | 'cache'> & {
    /** Ids of the text. */
    given: readonly number[]
  }

/** Tokens one by one as they are chosen; one that ends the text is the last. */
async function* chosenTokens(
  { backbone, prompt = null, signal }: GenerateOptions,
  options: Continued,
): AsyncGenerator<number> {
  const { given, cache, maxNewTokens, minNewTokens, ends, before } = options
  const decoding = await startDecoding(backbone, prompt, given, cache)
  try {
    if (options.numBeams > 1) {
      yield* await beamSearch(decoding, { ...options, check: () => checkAborted(signal) })
      return
    }
    const generator = new Generator({ seed: options.seed })
    const made: number[] = []
    while (made.length < maxNewTokens) {
      checkAborted(signal)
      const banned = made.length < minNewTokens ? ends : []
      const token = await noGrad(() =>
        tidy(async () => {
          const logits = await decoding.next([made], [0])
          const processed = processedLogits(logits, options, [...before, ...made], banned)
          return await chooseToken(processed, options, generator)
        }),
      )
      yield token
      if (ends.includes(token)) return
      made.push(token)
    }
  } finally {
    decoding.dispose()
  }
}

/** Ids of the text. A causal model that was given nothing starts where its texts do. */
function givenIds(backbone: Backbone, prompt: Prompt | null, text: string): number[] {
  const { tokenizer, kind, maxPositions } = backbone
  const given = [...firstToken(tokenizer), ...tokenizer.encode(text)]
  if (kind === 'causal' && given.length === 0 && tokenizer.eosTokenId !== undefined)
    given.push(tokenizer.eosTokenId)
  checkRows(backbone, given, 'text')
  if (kind === 'encoder-decoder') return given
  const room = maxPositions - (prompt?.config.length ?? 0)
  if (given.length > 0 && given.length < room) return given
  throw new RangeError(
    `Expected a text of 1..${room - 1} tokens, which leaves a position, but received ${given.length}`,
  )
}

/** Text that grows by whole characters: a byte-level token may end inside one. */
class TextPieces {
  readonly #tokenizer: Tokenizer
  readonly #ids: number[] = []
  #text = ''

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  /** All that was given. */
  get text(): string {
    return this.#text
  }

  /** What a token adds; nothing while the last character is incomplete. */
  push(id: number): string {
    this.#ids.push(id)
    const whole = this.#tokenizer.decode(this.#ids)
    return whole.endsWith('\uFFFD') ? '' : this.#grow(whole)
  }

  /** What was held back, no token following. */
  rest(): string {
    return this.#grow(this.#tokenizer.decode(this.#ids))
  }

  /**
   * What was given stays: a tokenizer with byte fallback turns bytes that it had shown as characters
   * into U+FFFD when one behind them is wrong.
   */
  #grow(whole: string): string {
    const piece = whole.slice(this.#text.length)
    this.#text += piece
    return piece
  }
}
