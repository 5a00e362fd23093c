// Continues texts: greedily, by sampling or by beam search. Knows no label.

import { z } from 'zod'
import type { Backbone } from '../backbone/index.js'
import { checkRows } from '../backbone/vocabulary.js'
import { about, checkAborted, checkMade, checkObject, LoptError } from '../errors.js'
import { checkOptions } from '../fields.js'
import { checkPrompt, type Prompt } from '../prompt/index.js'
import { tidy } from '../torch/index.js'
import { type BeamSearchOptions, beamSearch, type NextLogits } from './beam-search.js'
import { type Choice, chooseAll } from './choose.js'
import {
  Continuation,
  type ContinuationOptions,
  type DoneEvent,
  type TokenEvent,
  takeAll,
} from './continuation.js'
import { ContinuousBatch, roomFor } from './continuous-batch.js'
import { Decoding } from './decoding.js'
import { firstToken } from './encode.js'
import { filledIds, type Given, isFields } from './filled.js'
import type { DecodingSize } from './reader.js'
import { spareDecodingsOf } from './spare-decodings.js'

/** How a text is continued. */
export interface GenerationOptions {
  /** null or absent: the text alone. */
  prompt?: Prompt | null
  /** What a text that is given as fields is filled into; default: the prompt's own. */
  template?: string
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
  /** Strings that end a text, up to 16: it ends before the first one. */
  stop?: readonly string[]
  /** Default 0. The same seed gives the same text, whatever others are continued beside it. */
  seed?: number
  /** Tells each token's log-probability, and those of so many likeliest ones, 0..20. */
  logProbabilities?: number
}

export interface GenerateOptions extends GenerationOptions {
  backbone: Backbone
  /**
   * What is continued: a string, or token ids, which are taken as they are, or fields of the template. Too long a text is
   * refused; fields are cut.
   */
  text: Given
  rows?: undefined
  /** Beams of a beam search, default 1: none. Its tokens come all at the end. */
  numBeams?: number
  /**
   * A beam's score is the sum of its log-probabilities over its length to this power, default 1: above
   * 0 longer texts are preferred.
   */
  lengthPenalty?: number
  /** Keep keys and values (default). Without, everything is read again for each token. */
  cache?: boolean
  /**
   * Launches a step as one where the device captures graphs (CUDA), its rows and the keys that it reads padded to counts that
   * come again: by default there. true on another device: steps are run from inputs that stay, in the same buckets, which is
   * of use in tests alone. false: op by op. What was captured, and the memory that it reads, stays for the next call until
   * `releaseMemory()` or the end of the backbone.
   */
  graphs?: boolean
  signal?: AbortSignal
}

/** A text, and what is its own of the options. */
export interface GenerateRow extends GenerationOptions {
  /** A string, or token ids, which are taken as they are, or fields of the template. */
  text: Given
}

/** `generate` of several texts. */
export interface GenerateManyOptions extends GenerationOptions {
  backbone: Backbone
  text?: undefined
  /** What is continued together: each with its own prompt and options, where it has some. */
  rows: readonly GenerateRow[]
  /** Texts that are continued at once, default 16; another begins when one ends. */
  batchSize?: number
  /** As for one text. */
  graphs?: boolean
  signal?: AbortSignal
}

/** What `generate` says of one text. */
export type GenerateEvent = TokenEvent | DoneEvent

/** Of one of several texts: it ends here, and the others go on. */
export interface FailedEvent {
  readonly type: 'failed'
  /** `ERR_NON_FINITE_LOSS` */
  readonly error: LoptError
}

/** An event of one of several texts, `row` of `rows`. */
export type GenerateManyEvent = (GenerateEvent | FailedEvent) & { readonly row: number }

// Each beam, and each text, is a row of every step: a bound against a slip.
const MAX_ROWS = 1024
const MAX_STOPS = 16
export const NEW_TOKENS = 64

const generation = {
  text: z.union([z.string(), z.array(z.int().min(0))], 'Expected a string or token ids'),
  maxNewTokens: z.int().min(1).default(NEW_TOKENS),
  minNewTokens: z.int().min(0).default(0),
  temperature: z.number().min(0).default(0),
  topK: z.int().min(0).default(0),
  topP: z.number().gt(0).max(1).default(1),
  repetitionPenalty: z.number().gt(0).default(1),
  stop: z.array(z.string().min(1)).max(MAX_STOPS).default([]),
  seed: z.int().min(0).default(0),
  logProbabilities: z.int().min(0).max(20).optional(),
}
const rowFields = z.strictObject(generation)
const oneFields = z.strictObject({
  ...generation,
  numBeams: z.int().min(1).max(MAX_ROWS).default(1),
  lengthPenalty: z.number().default(1),
  cache: z.boolean().default(true),
  graphs: z.boolean().optional(),
})
const manyFields = z.strictObject({
  batchSize: z.int().min(1).max(MAX_ROWS).default(16),
  graphs: z.boolean().optional(),
})

/**
 * Continues a text, or several together. Yields an event a token, then one with the whole; of several, each event says
 * which row it is of.
 *
 * @example
 * const rows = [{ text: 'Rain at', prompt: weather }, { text: 'Once', temperature: 0.8, stop: ['.'] }]
 * for await (const event of generate({ backbone, rows })) {
 *   if (event.type === 'done') console.log(rows[event.row].text + event.text)
 * }
 *
 * @throws TypeError for options of another type, RangeError for options out of range and for a text without
 *   room to continue it;
 *   LoptError `ERR_PROMPT_FILE` for a prompt of another backbone, `ERR_NON_FINITE_LOSS` for logits that are not finite
 *   (of several texts an event `failed`), `ERR_ABORTED` between two tokens once the signal is aborted.
 */
export function generate(options: GenerateOptions): AsyncGenerator<GenerateEvent>
export function generate(options: GenerateManyOptions): AsyncGenerator<GenerateManyEvent>
export async function* generate(
  options: GenerateOptions | GenerateManyOptions,
): AsyncGenerator<GenerateEvent | GenerateManyEvent> {
  checkMade({ backbone: options.backbone })
  if (options.rows !== undefined) yield* generateMany(options)
  else yield* generateOne(options)
}

async function* generateOne(options: GenerateOptions): AsyncGenerator<GenerateEvent> {
  const { backbone, prompt = null, signal, rows: _, template, ...given } = options
  const rest = await withIds(backbone, { ...given, prompt, template })
  const { numBeams, lengthPenalty, cache, graphs, ...own } = checkOptions(oneFields, rest)
  if (numBeams > 1 && own.temperature > 0) {
    throw new RangeError(
      'Beam search looks for the likeliest text and does not sample: give numBeams or temperature',
    )
  }
  if (numBeams > 1 && own.logProbabilities !== undefined) {
    throw new RangeError(
      'Beam search tells no log-probabilities: give numBeams or logProbabilities',
    )
  }
  const continuation = continuationOf(backbone, prompt, own)
  if (numBeams > 1) {
    const beams = { ...continuation.options, numBeams, lengthPenalty }
    const how = { cache, graphs, signal }
    yield* told(continuation, beamTokens(backbone, continuation, beams, how))
  } else if (cache) {
    const how = { batchSize: 1, graphs, signal }
    for await (const event of decoded(backbone, [continuation], how)) {
      const { row: _, ...own } = event
      if (own.type === 'failed') throw own.error
      yield own
    }
  } else {
    yield* told(continuation, readAgain(backbone, continuation, signal))
  }
}

async function* generateMany(
  options: GenerateManyOptions,
): AsyncGenerator<GenerateManyEvent> {
  const { backbone, rows, batchSize, graphs, signal, text: _, ...all } = options
  const { template, ...shared } = all
  const how = { ...checkOptions(manyFields, { batchSize, graphs }), signal }
  const filled: GenerateRow[] = []
  for (const [i, row] of Array.isArray(rows) ? rows.entries() : []) {
    checkObject(row, `rows[${i}]`)
    const own = { ...row, template: row.template ?? template }
    const of = async () => ({
      ...(await withIds(backbone, own, shared)),
      ...('prompt' in row && { prompt: row.prompt }),
    })
    filled.push((await about(`rows[${i}]`, of)) as GenerateRow)
  }
  const known = Array.isArray(rows) ? filled : rows
  const continuations = continuationsOf(backbone, known, shared)
  yield* decoded(backbone, continuations, how)
}

/** Options of a text, with ids in the place of fields, and neither prompt nor template. */
async function withIds<T extends Partial<GenerateRow>>(
  backbone: Backbone,
  { prompt, template, ...own }: T,
  shared: GenerationOptions = {},
): Promise<Omit<T, 'prompt' | 'template'>> {
  if (!isFields(own.text)) return own
  const of = prompt ?? (prompt === undefined ? (shared.prompt ?? null) : null)
  if (of !== null) checkPrompt(of, backbone)
  const { maxNewTokens = shared.maxNewTokens ?? NEW_TOKENS } = own
  const text = await filledIds(backbone, of, own.text, { template, maxNewTokens })
  return { ...own, text }
}

/**
 * Texts that are to be continued: strings or ids.
 *
 * @param shared what they have where it is not their own
 * @throws as `generate`, naming the row
 */
export function continuationsOf(
  backbone: Backbone,
  rows: readonly GenerateRow[],
  shared: GenerationOptions = {},
): Continuation[] {
  if (!Array.isArray(rows)) {
    throw new TypeError(`Expected rows to be a list but received ${typeof rows}`)
  }
  return rows.map((row: GenerateRow, i) => {
    checkObject(row, `rows[${i}]`)
    const given = Object.entries(row).filter(([, value]) => value !== undefined)
    const { prompt = null, ...own } = { ...shared, ...Object.fromEntries(given) }
    return about(`rows[${i}]`, () =>
      continuationOf(backbone, prompt, checkOptions(rowFields, own)),
    )
  })
}

type Checked = z.infer<typeof rowFields>

function continuationOf(
  backbone: Backbone,
  prompt: Prompt | null,
  { text, maxNewTokens, ...rest }: Checked,
): Continuation {
  if (prompt !== null) checkPrompt(prompt, backbone)
  const given = givenIds(backbone, prompt, text)
  const P = prompt?.config.length ?? 0
  // What a causal model reads counts; an encoder-decoder's positions are relative.
  const left = backbone.maxPositions - P - given.length + 1
  return new Continuation({
    ...rest,
    tokenizer: backbone.tokenizer,
    prompt,
    given,
    before: backbone.kind === 'causal' ? given : [backbone.config.decoderStartTokenId],
    ends: backbone.endTokenIds,
    maxNewTokens: Math.min(maxNewTokens, left),
    atEnd: left < maxNewTokens ? 'positions' : 'length',
    logProbabilities: rest.logProbabilities,
  })
}

/** Ids of the text. A causal model that was given nothing starts where its texts do. */
function givenIds(
  backbone: Backbone,
  prompt: Prompt | null,
  text: string | readonly number[],
): number[] {
  const { tokenizer, kind, maxPositions } = backbone
  const given =
    typeof text === 'string'
      ? [...firstToken(tokenizer), ...tokenizer.encode(text)]
      : [...text]
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

/** Room for texts to their ends, `rows` of them at once. */
function sizeFor(
  backbone: Backbone,
  options: readonly ContinuationOptions[],
  rows: number,
  graphs?: boolean,
): DecodingSize {
  const rooms = options.map((one) => roomFor(backbone, one))
  return {
    slots: rows,
    capacity: Math.max(...rooms.map(({ capacity }) => capacity)),
    textCapacity: Math.max(...rooms.map(({ textCapacity }) => textCapacity)),
    graphs,
  }
}

interface How {
  graphs?: boolean | undefined
  signal: AbortSignal | undefined
}

/** Texts that are continued together, in their order as long as there are slots. */
async function* decoded(
  backbone: Backbone,
  continuations: readonly Continuation[],
  { batchSize, graphs, signal }: How & { batchSize: number },
): AsyncGenerator<GenerateManyEvent> {
  if (continuations.length === 0) return
  checkAborted(signal)
  const rows = Math.min(batchSize, continuations.length)
  const size = sizeFor(
    backbone,
    continuations.map(({ options }) => options),
    rows,
    graphs,
  )
  const spares = spareDecodingsOf(backbone)
  const decoding = await spares.take(size)
  const batch = new ContinuousBatch(backbone, size, decoding)
  const places = new Map(continuations.map((one, row) => [one, row]))
  const waiting = [...continuations]
  try {
    while (waiting.length > 0 || batch.running.length > 0) {
      checkAborted(signal)
      const joining = waiting.splice(0, batch.free)
      const grown = joining.length > 0 ? await batch.prefill(joining) : await batch.step()
      for (const { continuation, events, error } of grown) {
        const row = places.get(continuation) as number
        for (const event of events) yield { row, ...event }
        if (error !== undefined) yield { row, type: 'failed', error }
      }
    }
  } finally {
    batch.end()
    await spares.give(decoding)
  }
}

/** What a continuation says of tokens that are chosen elsewhere. */
async function* told(
  continuation: Continuation,
  choices: AsyncGenerator<Choice>,
): AsyncGenerator<GenerateEvent> {
  for await (const choice of choices) {
    yield* takeAll([continuation], [choice])[0] ?? []
    if (continuation.isDone) return
  }
}

/** The likeliest token each time, or one that is drawn, everything being read again for it. */
async function* readAgain(
  backbone: Backbone,
  continuation: Continuation,
  signal: AbortSignal | undefined,
): AsyncGenerator<Choice> {
  const { made } = continuation
  const next = nextReadAgain(backbone, continuation, 1)
  for (;;) {
    checkAborted(signal)
    yield await tidy(async () => {
      const logits = await next([{ tokens: made, parent: 0 }])
      const [choice] = await chooseAll(logits, [continuation.wish])
      if (choice === undefined || choice instanceof LoptError) throw choice
      return choice
    })
  }
}

/** The best beam's tokens, once it is known. */
async function* beamTokens(
  backbone: Backbone,
  continuation: Continuation,
  beams: Omit<BeamSearchOptions, 'check'>,
  { cache, graphs, signal }: How & { cache: boolean },
): AsyncGenerator<Choice> {
  const options = { ...beams, check: () => checkAborted(signal) }
  const { numBeams } = beams
  if (!cache) {
    const next = nextReadAgain(backbone, continuation, numBeams)
    for (const token of await beamSearch(next, options)) yield { token }
    return
  }
  const { given: ids, prompt } = continuation.options
  const size = sizeFor(backbone, [continuation.options], numBeams, graphs)
  const spares = spareDecodingsOf(backbone)
  const decoding = await spares.take(size)
  try {
    const next: NextLogits = async (running) => {
      if (decoding.rows === 0) return await decoding.prefill([{ ids, prompt, made: [] }])
      await decoding.branch(running.map(({ parent }) => parent))
      return await decoding.step(running.map(({ tokens }) => tokens.at(-1) as number))
    }
    for (const token of await beamSearch(next, options)) yield { token }
  } finally {
    await spares.give(decoding)
  }
}

/** Keys and values are kept of nothing. */
function nextReadAgain(
  backbone: Backbone,
  { options }: Continuation,
  rows: number,
): NextLogits {
  const { given: ids, prompt } = options
  const size = sizeFor(backbone, [options], rows)
  return async (running) => {
    const decoding = new Decoding(backbone, size)
    try {
      return await decoding.prefill(
        running.map(({ tokens: made }) => ({ ids, prompt, made })),
      )
    } finally {
      await decoding.dispose()
    }
  }
}
