// Answers requests over one backbone: checks each, lets it wait or refuses it, makes rows of it, and gathers what they
// give. Knows no HTTP.

import { basename } from 'node:path'
import type { Backbone } from '../backbone/index.js'
import { about, checkMade, LoptError } from '../errors.js'
import type { GenerateManyEvent, ReadToken } from '../inference/index.js'
import type { Prompt } from '../prompt/index.js'
import { ActiveRequest, checkRequest, type Ending } from './active-request.js'
import { Admission } from './admission.js'
import { type ClassifyRow, classifyRows, LabelCache } from './classify-rows.js'
import { continueRows } from './continue-rows.js'
import { EventStream } from './event-stream.js'
import { encodeGiven } from './given-texts.js'
import { type CheckedLimits, checkLimits, type EngineLimits } from './limits.js'
import { type Held, PromptTable } from './prompt-table.js'
import { checkClassify, checkRead, checkRows } from './request-fields.js'
import type {
  Classification,
  ClassifyRequest,
  Engine,
  EngineEvent,
  EngineStats,
  GenerateRequest,
  Generation,
  PromptName,
  ReadRequest,
  RequestOptions,
  ServedPrompt,
} from './requests.js'
import { Scheduler } from './scheduler.js'
import { maxCacheBytes, type SlotRoom, slotRoom } from './slot-room.js'
import {
  type AnyWork,
  type ContinueWork,
  type ReadWork,
  type ScoreWork,
  workOf,
} from './work.js'

/** What `createEngine` takes. */
export interface EngineOptions {
  backbone: Backbone
  /** By name; the engine owns them (`Engine.addPrompt`). */
  prompts?: Readonly<Record<string, Prompt>>
  /** What requests may call the backbone; default: the last part of its source. */
  name?: string
  limits?: EngineLimits
  /** Launches a token more of all texts as one, and a batch of texts that are classified, as `generate` and `score` have it. */
  graphs?: boolean
}

/**
 * Makes an engine: requests of any prompts are answered together, each by its own prompt.
 *
 * @example
 * const engine = createEngine({ backbone, prompts: { reviews, topics } })
 * const [answer] = await engine.classify({ prompt: 'reviews', inputs: ['A delight.'] })
 *
 * @throws TypeError or RangeError for options that do not fit, LoptError `ERR_PROMPT_FILE` for a prompt of another
 *   backbone
 */
export function createEngine(options: EngineOptions): Engine {
  return new BackboneEngine(options)
}

/** What a request is while it is answered. */
interface Admitted {
  readonly active: ActiveRequest
  /** By the names that were given. */
  readonly held: readonly Held[]
}

class BackboneEngine implements Engine {
  readonly backbone: Backbone
  readonly backboneName: string
  readonly #limits: CheckedLimits
  /** Of a slot. */
  readonly #room: SlotRoom
  readonly #table: PromptTable
  readonly #labels: LabelCache
  readonly #queue: Admission
  readonly #scheduler: Scheduler
  readonly #active = new Set<ActiveRequest>()
  readonly #listeners = new Set<(event: EngineEvent) => void>()
  readonly #totals = {
    requests: 0,
    rejected: 0,
    failed: 0,
    aborted: 0,
    tokensRead: 0,
    tokensMade: 0,
  }
  #closing: Promise<void> | undefined

  constructor({ backbone, prompts = {}, name, limits, graphs }: EngineOptions) {
    checkMade({ backbone })
    this.backbone = backbone
    this.#limits = checkLimits(backbone, limits)
    this.backboneName = name ?? basename(backbone.source).replace(/^builtin:/, '')
    this.#room = slotRoom(backbone, this.#limits)
    this.#table = new PromptTable(backbone)
    this.#labels = new LabelCache(backbone)
    this.#queue = new Admission(this.#limits)
    const slot = { ...this.#room, graphs }
    this.#scheduler = new Scheduler(backbone, this.#limits, slot, (event) => {
      if (event.work !== 'decode') this.#totals.tokensRead += event.tokens
      this.#hear(event)
    })
    for (const [name, prompt] of Object.entries(prompts)) this.addPrompt(name, prompt)
  }

  get prompts(): ReadonlyMap<string, ServedPrompt> {
    return this.#table.served
  }

  addPrompt(name: string, prompt: Prompt): void {
    this.#checkOpen()
    if (name === this.backboneName) {
      throw new RangeError(`Expected another name than ${name}, which is the backbone's`)
    }
    // What is wrong with its labels is told now, and not to each who asks.
    if (prompt.task) about(`The prompt ${name}`, () => this.#labels.add(prompt))
    this.#table.add(name, prompt)
  }

  removePrompt(name: string): boolean {
    const isRemoved = this.#table.remove(name)
    if (isRemoved) this.#hear({ type: 'removed', prompt: name })
    return isRemoved
  }

  async classify(request: ClassifyRequest): Promise<Classification[]> {
    const { signal, timeoutMs, ...rest } = request
    const { prompt, ...asked } = checkClassify(rest, this.#limits)
    const { inputs, candidates = [] } = asked
    const words = sumOf(candidates, (own) => sumOf(own, ({ length }) => 1 + length / 4))
    const tokens = Math.ceil(sumOf(inputs, (input) => this.#tokensOf(input)) + words)
    return await this.#admit(
      { signal, timeoutMs },
      [prompt],
      tokens,
      async ({ active, held: [held] }) => {
        const own = { active, held: held as Held }
        const rows = await classifyRows(
          this.backbone,
          own.held.prompt,
          asked,
          this.#labels,
        )
        const most = this.#limits.maxBatchTokens
        return await this.#gather<Classification>(active, rows, (give) =>
          rows.flatMap((row, i) =>
            scoreWorksOf(row, own, most, (answer) => give(i, answer)),
          ),
        )
      },
    )
  }

  async generate(request: GenerateRequest): Promise<Generation> {
    const { signal, timeoutMs, rows } = request
    checkRows(rows, this.#limits.maxRows)
    const names = rows.map(({ prompt = null }) => prompt)
    const tokens = sumOf(rows, ({ text }) => this.#tokensOf(text))
    return await this.#admit(
      { signal, timeoutMs },
      names,
      tokens,
      async ({ active, held }) => {
        const continued = await continueRows(this.backbone, rows, held, this.#limits)
        const stream = new EventStream<GenerateManyEvent>(() =>
          active.fail(new LoptError('ERR_ABORTED', 'Nobody reads the answer any more')),
        )
        active.ended.then(() => stream.end(active.error))
        let left = continued.length
        const works = continued.map((one, row): ContinueWork => {
          const { continuation, group } = one
          return Object.assign(workOf(active, one.held, one), {
            ...{ type: 'continue' as const, continuation, group },
            give: ((events, error) => {
              for (const event of events) {
                stream.push({ row, ...event })
                if (event.type === 'token') this.#totals.tokensMade += 1
              }
              if (error instanceof LoptError) stream.push({ row, type: 'failed', error })
              if (!continuation.isDone && error === undefined) return
              left -= 1
              if (left === 0) active.answer()
            }) satisfies ContinueWork['give'],
          })
        })
        this.#begin(active, works)
        const given = continued.map(({ continuation }) => continuation.options.given)
        return { given, [Symbol.asyncIterator]: () => stream[Symbol.asyncIterator]() }
      },
    )
  }

  async read(request: ReadRequest): Promise<ReadToken[][]> {
    const { signal, timeoutMs, ...rest } = request
    const { prompt, texts, logProbabilities } = checkRead(rest, this.#limits.maxRows)
    if (this.backbone.kind !== 'causal') {
      throw new LoptError(
        'ERR_UNSUPPORTED',
        `${this.backboneName} reads a text at its encoder, which says no probabilities of it`,
      )
    }
    return await this.#admit(
      { signal, timeoutMs },
      [prompt],
      sumOf(texts, (text) => this.#tokensOf(text)),
      async ({ active, held: [one] }) => {
        const held = one as Held
        const given = texts.map((text) => ({ text, prompt: held.prompt }))
        const limits = { field: 'texts', most: this.#limits.maxTextTokens, after: 0 }
        const rows = await encodeGiven(this.backbone, given, limits)
        return await this.#gather<ReadToken[]>(active, rows, (give) =>
          rows.map((ids, i): ReadWork => {
            return Object.assign(workOf(active, held, { tokens: ids.length }), {
              ...{ type: 'read' as const, ids, likeliest: logProbabilities },
              give: (tokens: ReadToken[]) => give(i, tokens),
            })
          }),
        )
      },
    )
  }

  stats(): EngineStats {
    const { requests, tokens } = this.#queue
    const { maxRunning } = this.#limits
    const positions = maxRunning * this.#room.capacity
    return {
      ...{ queuedRequests: requests, queuedTokens: tokens },
      ...{ running: this.#scheduler.running, slots: maxRunning },
      cacheBytes: this.#scheduler.bytes,
      maxCacheBytes: maxCacheBytes(this.backbone, this.#limits),
      cacheUse: this.#scheduler.positions / positions,
      totals: { ...this.#totals },
    }
  }

  observe(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async close({ graceMs = 30_000 }: { graceMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close()
    // Who asks again may have less patience.
    const timer = setTimeout(() => {
      for (const active of this.#active) active.fail(closedError())
    }, graceMs)
    await this.#closing.finally(() => clearTimeout(timer))
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#active].map(({ ended }) => ended))
    await this.#scheduler.close()
    this.#table.dispose()
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closedError()
  }

  /** Lets a request in, or refuses it; `answer` ends with it, or leaves it to its works. */
  async #admit<T>(
    options: RequestOptions,
    names: readonly PromptName[],
    tokens: number,
    answer: (admitted: Admitted) => Promise<T>,
  ): Promise<T> {
    this.#checkOpen()
    const timeoutMs = checkRequest(options, this.#limits.timeoutMs)
    const held = this.#hold(names)
    let active: ActiveRequest
    try {
      const place = this.#queue.enter(tokens)
      active = new ActiveRequest(
        { signal: options.signal, timeoutMs },
        place,
        held,
        (request, how) => this.#ended(request, how),
      )
    } catch (error) {
      for (const one of held) this.#table.release(one)
      this.#countRejected(error, names)
      throw error
    }
    this.#totals.requests += 1
    this.#active.add(active)
    try {
      const result = await answer({ active, held })
      active.check()
      return result
    } catch (error) {
      // Its texts may have turned out to be more than may wait.
      this.#countRejected(error, names)
      active.refuse(error as Error)
      throw active.error ?? error
    }
  }

  #countRejected(error: unknown, names: readonly PromptName[]): void {
    if (!(error instanceof LoptError) || error.code !== 'ERR_OVERLOADED') return
    this.#totals.rejected += 1
    this.#hear({ type: 'rejected', prompt: names[0] ?? null })
  }

  #hold(names: readonly PromptName[]): Held[] {
    const held: Held[] = []
    try {
      for (const name of names) {
        held.push(this.#table.hold(name === this.backboneName ? null : name))
      }
      return held
    } catch (error) {
      for (const one of held) this.#table.release(one)
      throw error
    }
  }

  #ended(request: ActiveRequest, how: Ending): void {
    this.#active.delete(request)
    if (how !== 'answered') this.#totals[how] += 1
    this.#scheduler.afterRound(() => {
      for (const one of request.held) this.#table.release(one)
    })
  }

  /** Its works wait for their turn. */
  #begin(active: ActiveRequest, works: readonly AnyWork[]): void {
    active.check()
    this.#queue.admit(
      active.place,
      sumOf(works, ({ tokens }) => tokens),
    )
    this.#scheduler.push(works)
  }

  /** Runs works that give a result for each of `rows`, and ends the request. */
  async #gather<Result>(
    active: ActiveRequest,
    rows: readonly unknown[],
    worksOf: (give: (i: number, result: Result) => void) => AnyWork[],
  ): Promise<Result[]> {
    const results = new Array<Result>(rows.length)
    let left = rows.length
    const works = worksOf((i, result) => {
      results[i] = result
      left -= 1
      if (left === 0) active.answer()
    })
    this.#begin(active, works)
    await active.ended
    active.check()
    return results
  }

  /** Tokens of a text, about: it waits before it is encoded. Most tokenizers make one of four characters. */
  #tokensOf(text: ClassifyRequest['inputs'][number]): number {
    if (Array.isArray(text)) return text.length
    const characters =
      typeof text === 'string'
        ? text.length
        : sumOf(Object.values(text), ({ length }) => length)
    return Math.min(1 + Math.ceil(characters / 4), this.#limits.maxTextTokens)
  }

  #hear(event: EngineEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}

function closedError(): LoptError {
  return new LoptError('ERR_CLOSED', 'The engine takes no more requests')
}

/** Works for a row's candidates: one for as many as fit into a pass. */
function scoreWorksOf(
  { row, answer }: ClassifyRow,
  { active, held }: { active: ActiveRequest; held: Held },
  most: number,
  give: (answer: Classification) => void,
): ScoreWork[] {
  const { candidates, text } = row
  const count = Math.max(1, Math.floor(most / text.length))
  const scores = new Array<number>(candidates.length)
  let left = Math.ceil(candidates.length / count)
  return Array.from({ length: left }, (_, i) => {
    const begin = i * count
    const own = candidates.slice(begin, begin + count)
    // One token is read off where the text ends, a longer one is a row of its own.
    const rows = Math.max(1, own.filter(({ length }) => length > 1).length)
    return Object.assign(workOf(active, held, { tokens: text.length * rows }), {
      ...{ type: 'score' as const, row: { ...row, candidates: own } },
      give(some: readonly number[]) {
        scores.splice(begin, some.length, ...some)
        left -= 1
        if (left > 0) return
        try {
          give(answer(scores))
        } catch (error) {
          active.fail(error as Error)
        }
      },
    })
  })
}

function sumOf<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((sum, value) => sum + of(value), 0)
}
