// Texts that are continued together, and join and leave between two tokens (continuous batching: Yu et al. 2022, Orca). Knows
// no queue: whoever drives it says which text comes next.

import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { tidy } from '../torch/index.js'
import {
  type Choice,
  chooseAll,
  drawAhead,
  type PlacedChoices,
  placeChoices,
  readRows,
  type Wish,
} from './choose.js'
import {
  type Continuation,
  type DoneEvent,
  type TokenEvent,
  takeAll,
} from './continuation.js'
import { Decoding } from './decoding.js'
import type { DecodingSize, DecodingText, PartialPrefill } from './reader.js'

/** What a token more of a text says. */
export interface Grown<C extends Continuation = Continuation> {
  readonly continuation: C
  readonly events: readonly (TokenEvent | DoneEvent)[]
  /** `ERR_NON_FINITE_LOSS`: the text has no next token, and has left. The others do not notice. */
  readonly error?: LoptError
}

/** Keys and values that a text takes in a slot to its end, and its text in an encoder-decoder model. */
export function roomFor(
  { kind }: Backbone,
  { given, prompt, maxNewTokens }: Continuation['options'],
): Pick<DecodingSize, 'capacity' | 'textCapacity'> {
  const P = prompt?.config.length ?? 0
  const isCausal = kind === 'causal'
  const before = isCausal || prompt?.config.method === 'prefix' ? P : 0
  const text = isCausal ? given.length : 1 // a decoder begins with its start token
  return {
    capacity: before + text + maxNewTokens - 1, // the last token is not read
    textCapacity: isCausal ? 1 : P + given.length + 1,
  }
}

/** A text of which a part is read, and the continuations of it that are left. */
interface Reading<C> {
  readonly prefill: PartialPrefill
  readonly waiting: Set<C>
}

export class ContinuousBatch<C extends Continuation = Continuation> {
  readonly #backbone: Backbone
  readonly #decoding: Decoding
  readonly #size: DecodingSize
  /** What is done now: one thing after the other, whoever asks. */
  #turn: Promise<unknown> = Promise.resolve()
  /** By slot. */
  #running: C[] = []
  /** Continuations of texts of which a part is read: their slots are kept for them. */
  readonly #partial = new Map<C, Reading<C>>()
  /** By slot: what was chosen, and not read yet. */
  #newest: number[] = []

  /** @param decoding without rows, and with room for so many: those of the batch are its only ones */
  constructor(
    backbone: Backbone,
    size: DecodingSize,
    decoding = new Decoding(backbone, size),
  ) {
    this.#backbone = backbone
    this.#decoding = decoding
    this.#size = size
  }

  /** The texts that are being continued. */
  get running(): readonly C[] {
    return this.#running
  }

  /** Slots that no text has or waits for. */
  get free(): number {
    return this.#size.slots - this.#running.length - this.#partial.size
  }

  /** Bytes that keys and values hold. */
  get bytes(): number {
    return this.#decoding.bytes
  }

  /**
   * Reads texts, and chooses the first token of each.
   *
   * @throws RangeError where there are fewer slots free, or a text does not fit one: nothing has changed then
   */
  async prefill(continuations: readonly C[]): Promise<Grown<C>[]> {
    if (continuations.length === 0) return []
    // Little padding is read.
    const joining = [...continuations].sort(
      (a, b) => a.options.given.length - b.options.given.length,
    )
    return await this.#inTurn(async () => {
      this.#checkFit(joining)
      const logits = await this.#decoding.prefill(joining.map(textOf))
      this.#running.push(...joining)
      return await this.#grow(await chooseAll(logits, joining.map(wishOf)), joining)
    })
  }

  /**
   * Reads a piece of a text, so that the others can go on before the next one; of the last piece the first token of each of its
   * continuations is chosen. An encoder-decoder reads a text whole.
   *
   * @param continuations of one text with one prompt, one at least; in later calls those of the first one are read on
   * @param positions that are read, at most
   * @returns nothing until the text was read
   * @throws RangeError as `prefill`
   */
  async prefillPiece(
    continuations: readonly C[],
    positions: number,
  ): Promise<Grown<C>[]> {
    return await this.#inTurn(async () => {
      const known = this.#partial.get(continuations[0] as C)
      const reading = known ?? (await this.#begin(continuations))
      const joining = [...reading.waiting]
      try {
        if (!(await reading.prefill.read(positions))) return []
        const logits = await this.#decoding.join(reading.prefill, joining.length)
        this.#running.push(...joining)
        for (const one of joining) this.#end(one)
        return await this.#grow(await chooseAll(logits, joining.map(wishOf)), joining)
      } catch (error) {
        for (const one of joining) this.#end(one)
        throw error
      }
    })
  }

  async #begin(continuations: readonly C[]): Promise<Reading<C>> {
    this.#checkFit(continuations)
    const prefill = await this.#decoding.begin(textOf(continuations[0] as C))
    const reading = { prefill, waiting: new Set(continuations) }
    for (const one of continuations) this.#partial.set(one, reading)
    return reading
  }

  #end(continuation: C): void {
    const reading = this.#partial.get(continuation)
    this.#partial.delete(continuation)
    if (reading?.waiting.delete(continuation) && reading.waiting.size === 0) {
      reading.prefill.dispose()
    }
  }

  #checkFit(continuations: readonly C[]): void {
    const { free } = this
    if (continuations.length > free) {
      throw new RangeError(
        `Expected ${free} texts at most, for which there are slots, but received ${continuations.length}`,
      )
    }
    const { capacity, textCapacity } = this.#size
    for (const { options } of continuations) {
      const room = roomFor(this.#backbone, options)
      if (room.capacity <= capacity && room.textCapacity <= textCapacity) continue
      throw new RangeError(
        `Expected a text that takes ${capacity} positions at most with its prompt and all that may follow, which a ` +
          `slot has (${textCapacity} at the encoder), but it takes ${room.capacity} (${room.textCapacity})`,
      )
    }
  }

  /** A token more of each text. */
  async step(): Promise<Grown<C>[]> {
    return await this.#inTurn(async () => {
      if (this.#running.length === 0) return []
      const choices = await this.#chooseNext()
      return await this.#grow(choices, [...this.#running])
    })
  }

  /** Ends a text early. */
  async drop(continuation: C): Promise<void> {
    await this.#inTurn(() => this.#drop(continuation))
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => tidy(work))
    this.#turn = result.catch(() => {})
    return result
  }

  async #drop(continuation: C): Promise<void> {
    continuation.dispose()
    this.#end(continuation)
    const slot = this.#running.indexOf(continuation)
    if (slot !== -1) await this.#remove(slot)
  }

  /** Frees what texts have that are left; the decoding, with their rows, stays. */
  end(): void {
    for (const continuation of [...this.#partial.keys()]) this.#end(continuation)
    for (const continuation of this.#running) continuation.dispose()
  }

  /** Frees the decoding too. */
  async dispose(): Promise<void> {
    this.end()
    await this.#decoding.dispose()
  }

  /** What follows the newest tokens. */
  async #chooseNext(): Promise<(Choice | LoptError)[]> {
    const decoding = this.#decoding
    const wishes = this.#running.map(wishOf)
    if (!decoding.isCaptured) {
      return await chooseAll(await decoding.step(this.#newest), wishes)
    }
    let placed: PlacedChoices | undefined
    const figures = await decoding.step(this.#newest, async (R, inputs) => {
      placed = await placeChoices(wishes, R, decoding.logitsKind, inputs)
      return placed.joined
    })
    drawAhead(wishes, decoding.logitsKind)
    return (placed as PlacedChoices).choicesOf(await readRows([figures]))
  }

  /** @param grown the last of the running ones, by slot */
  async #grow(
    choices: readonly (Choice | LoptError)[],
    grown: readonly C[],
  ): Promise<Grown<C>[]> {
    const first = this.#running.length - grown.length
    const isChosen = (i: number) => !(choices[i] instanceof LoptError)
    const going = [...grown.keys()].filter(isChosen)
    const events = takeAll(
      going.map((i) => grown[i] as C),
      going.map((i) => choices[i] as Choice),
    )
    const told = grown.map((continuation, i): Grown<C> => {
      const choice = choices[i] as Choice | LoptError
      if (choice instanceof LoptError) return { continuation, events: [], error: choice }
      this.#newest[first + i] = choice.token
      return { continuation, events: events[going.indexOf(i)] ?? [] }
    })
    for (const { continuation, error } of told) {
      if (continuation.isDone || error) await this.#drop(continuation)
    }
    return told
  }

  async #remove(slot: number): Promise<void> {
    await this.#decoding.remove(slot)
    const last = this.#running.length - 1
    this.#running[slot] = this.#running[last] as C
    this.#newest[slot] = this.#newest[last] as number
    this.#running = this.#running.slice(0, last)
    this.#newest = this.#newest.slice(0, last)
  }
}

function textOf({ options: { given, prompt }, made }: Continuation): DecodingText {
  return { ids: given, prompt, made }
}

function wishOf({ wish }: Continuation): Wish {
  return wish
}
