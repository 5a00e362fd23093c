// A completion's choices as they grow, whole or piece by piece, in OpenAI's form. Knows no engine and no HTTP.

import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { DoneEvent, ReadToken, TokenEvent } from '../inference/index.js'
import { usageAnswer } from './fields.js'
import { LogProbabilities, logProbabilitiesAnswer } from './log-probabilities.js'
import type { Metrics } from './metrics.js'
import type { TokenTexts } from './token-texts.js'

const choiceAnswer = z.object({
  text: z.string(),
  index: z.int().meta({ description: 'Of the prompt × n, plus of the choice' }),
  logprobs: logProbabilitiesAnswer.nullable(),
  finish_reason: z.enum(['stop', 'length']).nullable(),
})

export const completionAnswer = z.object({
  id: z.string(),
  object: z.literal('text_completion'),
  created: z.int(),
  model: z.string(),
  choices: z.array(choiceAnswer),
  usage: usageAnswer.nullish(),
})

export type ChoiceAnswer = z.infer<typeof choiceAnswer>
export type CompletionAnswer = z.infer<typeof completionAnswer>

/** What all chunks of an answer, or the one, begin with. */
export function headOf(model: string) {
  return {
    id: `cmpl-${randomUUID()}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model,
  } as const
}

export interface ChoiceOptions {
  readonly index: number
  /** Tell log-probabilities. */
  readonly logProbabilities: boolean
  readonly tokens: TokenTexts
  readonly metrics: Metrics
  /** When the request came. */
  readonly startedAt: number
}

/** One choice. What was taken since the last piece is the next. */
export class Choice {
  readonly #options: ChoiceOptions
  readonly #logProbabilities: LogProbabilities | undefined
  #text = ''
  #isNew = false
  #firstAt: number | undefined
  /** Tokens that were generated. */
  made = 0

  constructor(options: ChoiceOptions) {
    this.#options = options
    if (options.logProbabilities) {
      this.#logProbabilities = new LogProbabilities(options.tokens)
    }
  }

  /** The text that was given, for `echo`. */
  echo(text: string, read: readonly ReadToken[]): void {
    this.#grow(text)
    for (const token of read) this.#logProbabilities?.add(token)
  }

  take(event: TokenEvent): void {
    const now = performance.now()
    const { metrics, startedAt } = this.#options
    if (this.#firstAt === undefined) {
      this.#firstAt = now
      metrics.firstToken((now - startedAt) / 1000)
    }
    this.made += 1
    this.#grow(event.text)
    this.#logProbabilities?.add(event)
  }

  #grow(text: string): void {
    this.#text += text
    this.#isNew ||= text !== '' || this.#logProbabilities !== undefined
  }

  /** Whether a piece would say something. */
  get isNew(): boolean {
    return this.#isNew
  }

  /** What came since the last piece; with a reason it is the last. */
  piece(finishReason: DoneEvent['finishReason'] | null): ChoiceAnswer {
    if (finishReason !== null) this.#measure()
    const text = this.#text
    this.#text = ''
    this.#isNew = false
    return {
      text,
      index: this.#options.index,
      logprobs: this.#logProbabilities?.take() ?? null,
      // to a client it is the same what there was no more room for
      finish_reason: finishReason === 'positions' ? 'length' : finishReason,
    }
  }

  #measure(): void {
    if (this.#firstAt === undefined || this.made < 2) return
    const seconds = (performance.now() - this.#firstAt) / 1000
    this.#options.metrics.perToken(seconds / (this.made - 1))
  }
}
