// Which work runs next on the backbone. A round reads some texts that are to be continued, scores some, and makes a token of
// every text that is being continued; what arrives meanwhile is in the next round. Knows no name and no HTTP.

import { setImmediate as turn } from 'node:timers/promises'
import type { Backbone, CausalBackbone } from '../backbone/index.js'
import {
  type Continuation,
  ContinuousBatch,
  Decoding,
  type DecodingSize,
  type Grown,
  PartialScores,
  PromptCache,
  readTokens,
  StepGraphs,
} from '../inference/index.js'
import { capturesGraphs, noGrad, tidy } from '../torch/index.js'
import { FairQueue } from './fair-queue.js'
import type { CheckedLimits } from './limits.js'
import type { EngineEvent } from './requests.js'
import { passesOf, scoreWorks } from './score-pass.js'
import type { AnyWork, ContinueWork, ReadWork, ScoreWork } from './work.js'

type PassEvent = Extract<EngineEvent, { type: 'pass' }>

export class Scheduler {
  readonly #backbone: Backbone
  readonly #limits: CheckedLimits
  readonly #tell: (event: PassEvent) => void
  readonly #prompts: PromptCache
  readonly #batch: ContinuousBatch
  /** Where passes of scores are captured. */
  readonly #graphs: StepGraphs | null
  readonly #scoring = new FairQueue<ScoreWork | ReadWork>()
  readonly #joining = new FairQueue<ContinueWork>()
  readonly #running = new Map<Continuation, ContinueWork>()
  /** Continuations of a text of which a part is read. */
  #partial: readonly ContinueWork[] = []
  /** A text of which a part is read for its scores. */
  #scored: { readonly work: ScoreWork; readonly scores: PartialScores } | undefined
  #afterRound: (() => void)[] = []
  #loop: Promise<void> | undefined

  constructor(
    backbone: Backbone,
    limits: CheckedLimits,
    slot: Omit<DecodingSize, 'slots' | 'tokensAtOnce'>,
    tell: (event: PassEvent) => void,
  ) {
    this.#backbone = backbone
    this.#limits = limits
    this.#tell = tell
    this.#prompts = new PromptCache(backbone, { constant: true })
    const size = { slots: limits.maxRunning, ...slot }
    const decoding = new Decoding(backbone, size, this.#prompts)
    this.#batch = new ContinuousBatch(backbone, size, decoding)
    const isCaptured = slot.graphs ?? capturesGraphs(backbone.device)
    const weight = backbone.tokenEmbedding
    this.#graphs = isCaptured ? new StepGraphs(backbone.device, { weight }) : null
  }

  /** Texts that are being continued. */
  get running(): number {
    return this.#running.size + this.#partial.length
  }

  /** Positions that they have filled. */
  get positions(): number {
    let sum = 0
    for (const { options, made } of this.#running.keys()) {
      sum += (options.prompt?.config.length ?? 0) + options.given.length + made.length
    }
    return sum
  }

  /** Bytes that keys and values hold. */
  get bytes(): number {
    return this.#batch.bytes
  }

  push(works: readonly AnyWork[]): void {
    for (const work of works) {
      if (work.type === 'continue') this.#joining.push(work)
      else this.#scoring.push(work)
    }
    this.#loop ??= this.#run()
  }

  /** Calls back when no pass can need any more what is gone now. */
  afterRound(callback: () => void): void {
    if (this.#loop === undefined) callback()
    else this.#afterRound.push(callback)
  }

  /** Once nothing is left to do. */
  async close(): Promise<void> {
    await this.#loop
    await this.#batch.dispose()
    await this.#graphs?.dispose()
    this.#prompts.dispose()
  }

  get #hasWork(): boolean {
    const waits = !this.#scoring.isEmpty || !this.#joining.isEmpty
    return waits || this.running > 0 || this.#scored !== undefined
  }

  async #run(): Promise<void> {
    // What arrives in the same turn runs together.
    await turn()
    while (this.#hasWork) {
      try {
        await this.#round()
      } catch (error) {
        // Who is left would wait for ever.
        for (const { request } of this.#running.values()) request.fail(error as Error)
      }
      this.#endRound()
    }
    this.#loop = undefined
    this.#endRound()
  }

  async #round(): Promise<void> {
    await this.#dropOver()
    // Texts that are being continued do not wait for long.
    const { pieceTokens, maxBatchTokens } = this.#limits
    const tokens = this.#running.size > 0 ? pieceTokens : maxBatchTokens
    await this.#join(tokens)
    await this.#score(tokens)
    await this.#step()
  }

  #endRound(): void {
    const callbacks = this.#afterRound
    this.#afterRound = []
    for (const callback of callbacks) callback()
  }

  async #dropOver(): Promise<void> {
    const partial = this.#partial
    this.#partial = partial.filter(({ request }) => !request.isOver)
    for (const { continuation, request } of partial) {
      if (request.isOver) await this.#batch.drop(continuation)
    }
    if (this.#scored?.work.request.isOver) this.#endScored()
    for (const [continuation, { request }] of this.#running) {
      if (!request.isOver) continue
      this.#running.delete(continuation)
      await this.#batch.drop(continuation)
    }
  }

  /** Reads texts that fit, or a piece of one that is longer. */
  async #join(tokens: number): Promise<void> {
    if (this.#partial.length > 0) return await this.#readPiece(tokens)
    const { free } = this.#batch
    let sum = 0
    const works = this.#joining.take((work, taken) => {
      const isRead = taken.at(-1)?.group === work.group
      if (!isRead) sum += work.tokens
      return taken.length < free && (taken.length === 0 || isRead || sum <= tokens)
    })
    for (const { request, tokens } of works) request.place.begin(tokens)
    const [first] = works
    if (first === undefined) return
    if (first.tokens > tokens && this.#backbone.kind === 'causal') {
      this.#partial = works
      await this.#readPiece(tokens)
    } else await this.#read(works)
  }

  async #read(works: readonly ContinueWork[]): Promise<void> {
    for (const work of works) this.#running.set(work.continuation, work)
    const read = () => this.#batch.prefill(works.map(({ continuation }) => continuation))
    try {
      this.#give(await this.#timed('read', textsOf(works), read))
    } catch (error) {
      // They may have been read before it failed.
      for (const { continuation } of works) {
        this.#running.delete(continuation)
        await this.#batch.drop(continuation)
      }
      await apart(works, error, (some) => this.#read(some))
    }
  }

  async #readPiece(tokens: number): Promise<void> {
    const works = this.#partial
    const continuations = works.map(({ continuation }) => continuation)
    try {
      const read = () => this.#batch.prefillPiece(continuations, tokens)
      const grown = await this.#timed('read', [{ tokens }], read)
      if (grown.length === 0) return
      for (const work of works) this.#running.set(work.continuation, work)
      this.#give(grown)
    } catch (error) {
      for (const { continuation, request } of works) {
        request.fail(error as Error)
        await this.#batch.drop(continuation)
      }
    }
    this.#partial = []
  }

  async #score(tokens: number): Promise<void> {
    if (this.#scored !== undefined) return await this.#scorePiece(this.#scored, tokens)
    let sum = 0
    const works = this.#scoring.take((work, taken) => {
      sum += work.tokens
      return taken.length === 0 || sum <= tokens
    })
    for (const { request, tokens } of works) request.place.begin(tokens)
    const [first] = works
    if (first?.type === 'score' && first.tokens > tokens && this.#running.size > 0) {
      if (this.#backbone.kind === 'causal') {
        return await this.#beginScored(this.#backbone, first, tokens)
      }
    }
    const scored = works.filter((work) => work.type === 'score')
    for (const pass of passesOf(scored)) await this.#scorePass(pass)
    for (const work of works) if (work.type === 'read') await this.#readText(work)
  }

  async #beginScored(
    backbone: CausalBackbone,
    work: ScoreWork,
    tokens: number,
  ): Promise<void> {
    const { row, held, request } = work
    try {
      const begin = async () => {
        const set = await this.#prompts.set([held.prompt])
        return await PartialScores.begin(backbone, set, { ...row, prompt: 0 })
      }
      const scores = await noGrad(() => tidy(begin))
      this.#scored = { work, scores }
    } catch (error) {
      request.fail(error as Error)
      return
    }
    await this.#scorePiece(this.#scored, tokens)
  }

  async #scorePiece(
    { work, scores }: { work: ScoreWork; scores: PartialScores },
    tokens: number,
  ): Promise<void> {
    try {
      const found = await this.#timed('score', [{ tokens }], () => scores.read(tokens))
      if (found === undefined) return
      work.give(found)
    } catch (error) {
      work.request.fail(error as Error)
    }
    this.#endScored()
  }

  #endScored(): void {
    this.#scored?.scores.dispose()
    this.#scored = undefined
  }

  async #scorePass(works: readonly ScoreWork[]): Promise<void> {
    try {
      const run = () => scoreWorks(this.#backbone, this.#prompts, works, this.#graphs)
      const scores = await this.#timed('score', works, run)
      works.forEach(({ give }, i) => {
        give(scores[i] as number[])
      })
    } catch (error) {
      await apart(works, error, (some) => this.#scorePass(some))
    }
  }

  async #readText(work: ReadWork): Promise<void> {
    const { held, ids, likeliest, request, give } = work
    const backbone = this.#backbone as CausalBackbone
    const run = () =>
      noGrad(() =>
        tidy(async () => {
          const set = await this.#prompts.set([held.prompt])
          return await readTokens(backbone, set, ids, likeliest)
        }),
      )
    try {
      give(await this.#timed('score', [work], run))
    } catch (error) {
      request.fail(error as Error)
    }
  }

  async #step(): Promise<void> {
    const works = [...this.#running.values()]
    if (works.length === 0) return
    try {
      const each = works.map(() => ({ tokens: 1 }))
      this.#give(await this.#timed('decode', each, () => this.#batch.step()))
    } catch (error) {
      // Nobody knows what each has read then.
      for (const { request } of works) request.fail(error as Error)
    }
  }

  #give(grown: readonly Grown[]): void {
    for (const { continuation, events, error } of grown) {
      const work = this.#running.get(continuation)
      if (continuation.isDone || error) this.#running.delete(continuation)
      if (!work?.request.isOver) work?.give(events, error)
    }
  }

  async #timed<T>(
    work: PassEvent['work'],
    works: readonly Pick<AnyWork, 'tokens'>[],
    run: () => Promise<T>,
  ): Promise<T> {
    const begin = performance.now()
    const result = await run()
    const seconds = (performance.now() - begin) / 1000
    const tokens = works.reduce((sum, one) => sum + one.tokens, 0)
    this.#tell({ type: 'pass', work, rows: works.length, tokens, seconds })
    return result
  }
}

/** One of the continuations of each text: what is read. */
function textsOf(works: readonly ContinueWork[]): ContinueWork[] {
  return [...new Map(works.map((work) => [work.group, work])).values()]
}

/** What failed together runs one by one: only what is wrong itself fails. */
async function apart<W extends AnyWork>(
  works: readonly W[],
  error: unknown,
  run: (works: readonly W[]) => Promise<void>,
): Promise<void> {
  if (works.length === 1) works[0]?.request.fail(error as Error)
  else for (const work of works) if (!work.request.isOver) await run([work])
}
