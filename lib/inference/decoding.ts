// Rows that are being continued together: each text is read once, then a token more of every row at a time. Knows how
// many keys and values each row has, no rule of choosing.

import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { capturesGraphs, cat, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { CausalReader } from './causal-reader.js'
import { EncoderDecoderReader } from './encoder-decoder-reader.js'
import { Inputs } from './inputs.js'
import { logitsOf } from './label-logits.js'
import { passTokens } from './pass-size.js'
import type { PromptCache } from './prompt-cache.js'
import { createPromptSet } from './prompt-set.js'
import type {
  DecodingSize,
  DecodingText,
  PartialPrefill,
  PrepareSet,
  Reader,
  SlotLengths,
} from './reader.js'
import type { LogitsChange, LogitsKind } from './sample.js'
import { StepGraphs, withRoom } from './step-graphs.js'

/** What is made of a step's logits [R, N] where they are; it is captured with the step. */
export type PlaceChange = (R: number, inputs: Inputs) => Promise<LogitsChange>

/** Whether steps of a Decoding are captured. */
export function capturesSteps(
  { device, decodesInPlace }: Backbone,
  graphs?: boolean,
): boolean {
  return decodesInPlace && (graphs ?? capturesGraphs(device))
}

export class Decoding {
  readonly size: DecodingSize
  readonly #backbone: Backbone
  readonly #reader: Reader
  readonly #graphs: StepGraphs | null
  /** `moves` of the reader with which the graphs were captured. */
  #moves = 0
  #lengths: readonly SlotLengths[] = []
  #isSound = true

  /**
   * Keys and values take memory as rows need it.
   *
   * @param kept prompts that are prepared once for all texts; without, once a call. The caller's
   */
  constructor(backbone: Backbone, size: DecodingSize, kept?: PromptCache) {
    const prompts: PrepareSet = (given) =>
      kept ? kept.set(given) : createPromptSet(backbone, given)
    this.#backbone = backbone
    this.size = size
    this.#reader =
      backbone.kind === 'causal'
        ? new CausalReader(backbone, size, prompts)
        : new EncoderDecoderReader(backbone, size, prompts)
    const isCaptured = capturesSteps(backbone, size.graphs)
    const { device, tokenEmbedding: weight } = backbone
    this.#graphs = isCaptured ? new StepGraphs(device, { weight }) : null
  }

  /** Whether steps are captured: what follows their logits is better captured with them then. */
  get isCaptured(): boolean {
    return this.#graphs !== null
  }

  get logitsKind(): LogitsKind {
    const { config, dtype } = this.#backbone
    const { vocabSize } = config
    return { vocabSize, dtype: dtype === 'float64' ? 'float64' : 'float32' }
  }

  /** Steps that are captured. */
  get graphs(): number {
    return this.#graphs?.count ?? 0
  }

  /** false: something failed, and may have been done in part. */
  get isSound(): boolean {
    return this.#isSound
  }

  /** Bytes that keys and values hold. */
  get bytes(): number {
    return this.#reader.bytes
  }

  /** Bytes that they take where every row is as long as it may get. */
  get mostBytes(): number {
    return this.#reader.mostBytes
  }

  /** Rows that have a slot: row i's is slot i. */
  get rows(): number {
    return this.#lengths.length
  }

  /**
   * Takes a slot for each of some texts, behind the rows that are there. Those next to each other are read together: texts of
   * like length should be. One that is there several times, with one prompt, is read once, and what was read of it copied.
   *
   * @returns logits [n, N] of the token after each
   * @throws RangeError where there are fewer slots free, or a text does not fit one
   */
  async prefill(texts: readonly DecodingText[]): Promise<Tensor> {
    const free = this.size.slots - this.rows
    if (texts.length > free) {
      throw new RangeError(
        `Expected ${free} texts at most, for which there are slots, but received ${texts.length}`,
      )
    }
    return await this.#change(async () => {
      const hidden: Tensor[] = []
      const lengths = new Array<SlotLengths>(texts.length)
      const distinct = distinctOf(texts)
      for (const some of this.#passes(distinct)) {
        const slots = some.map(({ rows }) => rows.map((row) => this.rows + row))
        const own = some.map(({ text }) => text)
        const read = await withRoom(this.#backbone.device, () =>
          tidy(() => this.#reader.prefill(own, slots)),
        )
        hidden.push(read.hidden)
        for (const [i, { rows }] of some.entries()) {
          for (const row of rows) lengths[row] = read.lengths[i] as SlotLengths
        }
      }
      const all = hidden.length === 1 ? (hidden[0] as Tensor) : cat(hidden, 0)
      const logits = await logitsOf(this.#backbone, all)
      this.#lengths = [...this.#lengths, ...lengths]
      if (distinct.length === texts.length) return logits
      const places = texts.map((_, row) =>
        distinct.findIndex(({ rows }) => rows.includes(row)),
      )
      const { device } = this.#backbone
      return logits.indexSelect(0, tensor(places, { dtype: 'int64', device }))
    })
  }

  /** Begins a text that is read a piece at a time. Nothing of it is in a slot until it joins. */
  async begin(text: DecodingText): Promise<PartialPrefill> {
    return await noGrad(() => tidy(() => this.#reader.begin(text)))
  }

  /**
   * Gives a text that was read some slots, behind the rows that are there.
   *
   * @returns logits [rows, N] of the token after it, the same for each
   */
  async join(read: PartialPrefill, rows: number): Promise<Tensor> {
    return await this.#change(async () => {
      const slots = Array.from({ length: rows }, (_, i) => this.rows + i)
      const { hidden, lengths } = await read.join(slots)
      const logits = await logitsOf(this.#backbone, hidden)
      const [own] = lengths as readonly [SlotLengths]
      this.#lengths = [...this.#lengths, ...slots.map(() => own)]
      return logits.expand([rows, logits.shape[1] as number])
    })
  }

  #passes(texts: readonly Distinct[]): Distinct[][] {
    const most = this.size.tokensAtOnce ?? passTokens(this.#backbone)
    const passes: Distinct[][] = []
    let longest = 0
    for (const one of texts) {
      const { text } = one
      const length =
        (text.prompt?.config.length ?? 0) + text.ids.length + text.made.length
      const pass = passes.at(-1)
      longest = Math.max(longest, length)
      if (pass !== undefined && longest * (pass.length + 1) <= most) {
        pass.push(one)
      } else {
        passes.push([one])
        longest = length
      }
    }
    return passes
  }

  /**
   * Reads a token of each row.
   *
   * @param change what follows the logits
   * @returns logits [rows, N] of the token after each, or what `change` makes of them; it lasts until the next step
   */
  async step(tokens: readonly number[], change?: PlaceChange): Promise<Tensor> {
    const full = this.#lengths.findIndex(({ own }) => own >= this.size.capacity)
    if (full !== -1) {
      throw new RangeError(
        `Expected row ${full} to have fewer than ${this.size.capacity} keys and values, which its slot has room for`,
      )
    }
    const found = await this.#change(() => this.#run(tokens, change))
    this.#lengths = this.#lengths.map(({ own, cross }) => ({ own: own + 1, cross }))
    return found
  }

  async #run(tokens: readonly number[], change?: PlaceChange): Promise<Tensor> {
    const backbone = this.#backbone
    const graphs = this.#graphs
    const inputs = new Inputs(backbone.device, { bucketed: graphs !== null })
    const rows = tokens.length
    const R = inputs.countOf(rows, this.size.slots)
    const changed = await change?.(R, inputs)
    inputs.note(`${R} rows`)
    // Kernels are the same whatever is read.
    const kind = inputs.signature
    const hidden = await this.#reader.placeStep(tokens, this.#lengths, R, inputs)
    const work = async () => {
      const logits = await logitsOf(backbone, await hidden())
      return [changed === undefined ? logits : await changed(logits)]
    }
    if (this.#reader.moves !== this.#moves) await graphs?.dispose()
    this.#moves = this.#reader.moves
    const [found] =
      graphs === null ? await work() : await graphs.run(inputs, work, { kind })
    return R === rows ? (found as Tensor) : (found as Tensor).slice(0, 0, rows)
  }

  /** Frees a row's slot, which the last row takes. */
  async remove(row: number): Promise<void> {
    const last = this.rows - 1
    await this.#change(() => this.#reader.remove(row, this.#lengths))
    const moved = [...this.#lengths]
    moved[row] = moved[last] as SlotLengths
    this.#lengths = moved.slice(0, last)
  }

  /** Row i goes on from row `parents[i]`, all of them continuations of one text. */
  async branch(parents: readonly number[]): Promise<void> {
    await this.#change(() => this.#reader.branch(parents, this.#lengths))
    this.#lengths = parents.map((parent) => this.#lengths[parent] as SlotLengths)
  }

  /** Takes the memory of all rows at once, so that captured steps stay; where there is none, it is taken as rows need it. */
  async reserveAll(): Promise<void> {
    try {
      await this.#reader.reserveAll()
    } catch (error) {
      this.#reader.dispose()
      if (!(error instanceof LoptError) || error.code !== 'ERR_OUT_OF_MEMORY') throw error
    }
  }

  /** Forgets all rows. What was captured stays, and the memory that it reads. */
  async clear(): Promise<void> {
    await this.#change(() => this.#reader.clear())
    this.#lengths = []
  }

  async #change<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await noGrad(() => tidy(work))
    } catch (error) {
      this.#isSound = false
      throw error
    }
  }

  async dispose(): Promise<void> {
    this.#reader.dispose()
    await this.#graphs?.dispose()
  }
}

/** A text, and the rows that are continuations of it. */
interface Distinct {
  readonly text: DecodingText
  readonly rows: number[]
}

function distinctOf(texts: readonly DecodingText[]): Distinct[] {
  const distinct: Distinct[] = []
  for (const [row, text] of texts.entries()) {
    const known = distinct.find((one) => isSame(one.text, text))
    if (known) known.rows.push(row)
    else distinct.push({ text, rows: [row] })
  }
  return distinct
}

function isSame(a: DecodingText, b: DecodingText): boolean {
  return a.prompt === b.prompt && areEqual(a.ids, b.ids) && areEqual(a.made, b.made)
}

function areEqual(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((id, i) => id === b[i]))
}
