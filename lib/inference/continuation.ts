// A text that is being continued, token by token: what may come next, and when it ends. Knows no model and no other text.

import type { Tokenizer } from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import type { Choice, TokenLogProbability, Wish } from './choose.js'
import { Draws } from './draws.js'
import type { SamplingOptions } from './sample.js'
import { type Decoded, StopStrings, TextPieces } from './text-pieces.js'

/** `stop` a token or a string came that ends a text; `length` maxNewTokens; `positions` the model has no more. */
export type FinishReason = 'stop' | 'length' | 'positions'

/** A text got a token. */
export interface TokenEvent {
  readonly type: 'token'
  readonly token: number
  /**
   * What the text grew by; empty while a character is incomplete, or a stop string may have begun. The last token brings
   * what is left, even if its character never gets complete.
   */
  readonly text: string
  /** With `logProbabilities`: of the token, in nats. */
  readonly logProbability?: number
  /** With `logProbabilities` above 0: the likeliest tokens, the first one first. */
  readonly likeliest?: readonly TokenLogProbability[]
}

/** A text is complete. */
export interface DoneEvent {
  readonly type: 'done'
  /** Everything that was generated: the tokens' texts together, without what ended it. */
  readonly text: string
  readonly tokens: readonly number[]
  readonly finishReason: FinishReason
}

export interface ContinuationOptions extends SamplingOptions {
  readonly tokenizer: Tokenizer
  readonly prompt: Prompt | null
  /** Ids of the text. */
  readonly given: readonly number[]
  /** Ids that stand before what is made, for the repetition penalty. */
  readonly before: readonly number[]
  /** The tokens that end a text. */
  readonly ends: readonly number[]
  readonly stop: readonly string[]
  readonly maxNewTokens: number
  readonly minNewTokens: number
  /** Why a text of maxNewTokens ends. */
  readonly atEnd: FinishReason
  readonly seed: number
  readonly logProbabilities: number | undefined
}

export class Continuation {
  readonly options: ContinuationOptions
  readonly made: number[] = []
  readonly #pieces: TextPieces
  readonly #stops: StopStrings
  readonly #draws: Draws
  #text = ''
  /** Whether a character or a stop string may have begun: where no token follows, this one brings the rest. */
  #waiting: TokenEvent | undefined
  #isDone = false

  constructor(options: ContinuationOptions) {
    this.options = options
    this.#pieces = new TextPieces(options.tokenizer)
    this.#stops = new StopStrings(options.stop)
    this.#draws = new Draws(options.seed)
  }

  get isDone(): boolean {
    return this.#isDone
  }

  /** What the next token is chosen by. */
  get wish(): Wish {
    const { before, ends, minNewTokens, logProbabilities } = this.options
    const { temperature, topK, topP, repetitionPenalty } = this.options
    const { made } = this
    const rules = {
      ...{ temperature, topK, topP, repetitionPenalty },
      // Made where it is asked for, which it seldom is.
      get seen() {
        return [...before, ...made]
      },
      banned: made.length < minNewTokens ? ends : [],
    }
    return { rules, draws: this.#draws, logProbabilities }
  }

  /** Frees what was made for tokens that do not come any more. */
  dispose(): void {
    this.#draws.dispose()
  }

  /** What has to be decoded before a token is taken; undefined where it ends the text. */
  read(token: number): Decoded<readonly number[]> | undefined {
    return this.options.ends.includes(token) ? undefined : this.#pieces.read(token)
  }

  /**
   * Takes the next token, and tells what is certain now; an event `done` is the last.
   *
   * @param texts of what `read` gave
   */
  take(choice: Choice, texts: Decoded<string> | undefined): (TokenEvent | DoneEvent)[] {
    const { maxNewTokens, atEnd } = this.options
    if (texts === undefined) return this.#end('stop')
    const events = this.#waiting === undefined ? [] : [this.#waiting]
    this.#waiting = undefined
    this.made.push(choice.token)
    const piece = this.#pieces.push(choice.token, texts)
    const { text, stopped } = this.#stops.push(piece)
    this.#text += text
    const event: TokenEvent = { type: 'token', ...choice, text }
    if (stopped) return [...events, event, ...this.#end('stop')]
    if (piece === '' || this.#stops.isHolding) this.#waiting = event
    else events.push(event)
    return this.made.length < maxNewTokens ? events : [...events, ...this.#end(atEnd)]
  }

  #end(reason: FinishReason): (TokenEvent | DoneEvent)[] {
    this.#isDone = true
    let finishReason = reason
    const events: (TokenEvent | DoneEvent)[] = []
    if (this.#waiting !== undefined) {
      const { text, stopped } = this.#stops.push(this.#pieces.rest())
      const rest = stopped ? text : text + this.#stops.rest()
      if (stopped) finishReason = 'stop'
      this.#text += rest
      events.push({ ...this.#waiting, text: this.#waiting.text + rest })
      this.#waiting = undefined
    }
    const tokens = [...this.made]
    return [...events, { type: 'done', text: this.#text, tokens, finishReason }]
  }
}

/** Texts take a token each; what that adds to them is decoded at once. */
export function takeAll(
  continuations: readonly Continuation[],
  choices: readonly Choice[],
): (TokenEvent | DoneEvent)[][] {
  const reads = continuations.map((one, i) => one.read(choices[i]?.token as number))
  const lists = reads.flatMap((read) => (read ? [read.shown, read.all] : []))
  const texts = continuations[0]?.options.tokenizer.decodeBatch(lists) ?? []
  let next = 0
  return continuations.map((one, i) => {
    const decoded = reads[i] && {
      shown: texts[next++] as string,
      all: texts[next++] as string,
    }
    return one.take(choices[i] as Choice, decoded)
  })
}
