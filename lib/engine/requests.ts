// What an engine is asked for, and what it answers. Types alone.

import type { Backbone } from '../backbone/index.js'
import type {
  GenerateManyEvent,
  GenerationOptions,
  ReadToken,
} from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'

/** What every request may say. */
export interface RequestOptions {
  /** Ends the request: its slots are free within one step. */
  signal?: AbortSignal | undefined
  /** The request fails with `ERR_DEADLINE` after so many milliseconds, wherever it is; default: the engine's. */
  timeoutMs?: number | undefined
}

/** A text, the fields of a template, or token ids that are taken as they are. */
export type Input = string | Readonly<Record<string, string>> | readonly number[]

/** The engine's name of a prompt; null or absent: the backbone alone. */
export type PromptName = string | null

export interface ClassifyRequest extends RequestOptions {
  prompt?: PromptName
  inputs: readonly Input[]
  /**
   * Labels in place of the prompt's own; a backbone alone needs some, and its template is the text. A record gives the
   * words that stand for each label.
   */
  labels?: readonly string[] | Readonly<Record<string, string>>
  /** What each input is answered with, where it is not with the labels. */
  candidates?: readonly (readonly string[])[]
}

/** What a text was taken for. */
export interface Classification {
  /** The likeliest label. */
  readonly label: string
  /** All labels, in the task's order. */
  readonly labels: readonly string[]
  /** Softmax over the scores, by label. */
  readonly probabilities: readonly number[]
  /** Sums of the log-probabilities (nats) of the labels' tokens, by label. */
  readonly scores: readonly number[]
  /** Tokens of the text that were read. */
  readonly tokens: number
  /** Tokens of the text that were cut off to fit. */
  readonly truncated: number
}

/** A text that is continued. */
export interface GenerateInput extends Omit<GenerationOptions, 'prompt' | 'template'> {
  prompt?: PromptName
  /** A string, token ids, or fields of the prompt's own template; '' or []: a causal model begins with its end-of-text token. */
  text: Input
}

export interface GenerateRequest extends RequestOptions {
  /** Continued together; all of them are taken, or none. */
  rows: readonly GenerateInput[]
}

/** A request that is being answered. Leaving its loop ends it. */
export interface Generation extends AsyncIterable<GenerateManyEvent> {
  /** Ids of each row's text, as they are read. */
  readonly given: readonly (readonly number[])[]
}

export interface ReadRequest extends RequestOptions {
  prompt?: PromptName
  /** Strings, or token ids. */
  texts: readonly (string | readonly number[])[]
  /** Tells so many likeliest tokens at each position, 0..20, default 0. */
  logProbabilities?: number
}

/** A prompt that an engine serves. */
export interface ServedPrompt {
  readonly name: string
  readonly method: string
  /** P */
  readonly length: number
  /** R, of the methods that have one. */
  readonly rank?: number
  readonly trainableParameters: number
  /** What it was trained for. */
  readonly task?: { readonly template: string; readonly labels: readonly string[] }
  readonly addedAt: Date
}

/** What an engine does now, and has done since it was made. */
export interface EngineStats {
  /** Requests that wait for their turn. */
  readonly queuedRequests: number
  /** Their tokens. */
  readonly queuedTokens: number
  /** Texts that are being continued. */
  readonly running: number
  readonly slots: number
  /** Keys and values: bytes that are held, and at most. */
  readonly cacheBytes: number
  readonly maxCacheBytes: number
  /** Share of the cache's positions that running texts have filled. */
  readonly cacheUse: number
  /** Since the engine was made. */
  readonly totals: {
    readonly requests: number
    readonly rejected: number
    readonly failed: number
    readonly aborted: number
    readonly tokensRead: number
    readonly tokensMade: number
  }
}

/** What happens inside, as it happens: for metrics. */
export type EngineEvent =
  | {
      readonly type: 'pass'
      readonly work: 'score' | 'read' | 'decode'
      readonly rows: number
      readonly tokens: number
      readonly seconds: number
    }
  | { readonly type: 'rejected'; readonly prompt: PromptName }
  /** No prompt of this name is served any more. */
  | { readonly type: 'removed'; readonly prompt: string }

/** Answers requests over one backbone, each with a prompt of its own. `createEngine` makes one. */
export interface Engine {
  readonly backbone: Backbone
  /** What requests may call it. */
  readonly backboneName: string
  /** By name. */
  readonly prompts: ReadonlyMap<string, ServedPrompt>
  /**
   * @throws TypeError or RangeError (`RequestError`) for a request that does not fit; LoptError `ERR_DATA` for a text without tokens,
   *   `ERR_UNKNOWN_PROMPT`, `ERR_OVERLOADED`, `ERR_DEADLINE`, `ERR_ABORTED`, `ERR_CLOSED`, `ERR_NON_FINITE_LOSS`
   */
  classify(request: ClassifyRequest): Promise<Classification[]>
  /** Resolves when the request was taken, with its errors up to there as `classify`; those of a row are events `failed`, others are thrown by the loop. */
  generate(request: GenerateRequest): Promise<Generation>
  /** Log-probabilities of texts' own tokens; a causal model's alone (`ERR_UNSUPPORTED` otherwise). */
  read(request: ReadRequest): Promise<ReadToken[][]>
  /**
   * Serves a prompt from now on, in place of one of that name. The engine owns it: it is disposed of once no request
   * needs it.
   *
   * @throws RangeError for a name that is none (`[A-Za-z0-9][\w.-]{0,63}`), LoptError `ERR_PROMPT_FILE` for a prompt of another backbone
   */
  addPrompt(name: string, prompt: Prompt): void
  /** @returns whether there was one; requests that have begun end with it */
  removePrompt(name: string): boolean
  /** What it does now, and has done. */
  stats(): EngineStats
  /** Calls back with what happens, until the function that is returned is called. */
  observe(listener: (event: EngineEvent) => void): () => void
  /** Takes no more requests (`ERR_CLOSED`), waits until those that it has are answered, `graceMs` at most, ends the others, and frees everything but the backbone. Called again with less, it waits less. */
  close(options?: { graceMs?: number }): Promise<void>
}
