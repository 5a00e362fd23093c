// How an encoder-decoder reads texts that are continued: the encoder reads prompt and text once, the decoder what was
// made behind its start token. Knows no logit.

import type { EncoderDecoderBackbone } from '../backbone/index.js'
import { cat, type Tensor, tensor } from '../torch/index.js'
import { assemble, pastOf } from './assemble.js'
import { makeEncoderDecoderBatch, placesOf } from './batch.js'
import { startAndEnd } from './encode.js'
import { Inputs } from './inputs.js'
import { checkRoom, filledTo, KeyValueCache, readOf } from './key-value-cache.js'
import { batchOptions } from './label-hidden.js'
import type { PreparedPrompt } from './prompt-set.js'
import type {
  DecodingSize,
  DecodingText,
  PartialPrefill,
  Prefilled,
  PrepareSet,
  Reader,
  SlotLengths,
} from './reader.js'

/** What the decoder reads of texts, row by row. */
interface Encoded {
  readonly cross: readonly Tensor[]
  readonly mask: Tensor | null
  readonly prepared: readonly PreparedPrompt[]
  /** Of each row: what was made, and the place of its prompt. */
  readonly rows: readonly { made: readonly number[]; prompt: number }[]
}

export class EncoderDecoderReader implements Reader {
  readonly #backbone: EncoderDecoderBackbone
  readonly #prompts: PrepareSet
  /** Of the decoder's own positions. */
  readonly #cache: KeyValueCache
  /** Of the texts. */
  readonly #cross: KeyValueCache

  constructor(
    backbone: EncoderDecoderBackbone,
    { slots, capacity, textCapacity }: DecodingSize,
    prompts: PrepareSet,
  ) {
    const { decoderLayers: layers, heads, headSize } = backbone.config
    const shape = { layers, heads, headSize, slots }
    this.#backbone = backbone
    this.#prompts = prompts
    this.#cache = new KeyValueCache({ ...shape, capacity }, backbone)
    this.#cross = new KeyValueCache({ ...shape, capacity: textCapacity }, backbone)
  }

  async prefill(
    texts: readonly DecodingText[],
    slotsOf: readonly (readonly number[])[],
  ): Promise<Prefilled> {
    const backbone = this.#backbone
    const ends = startAndEnd(backbone)
    const prompts = [...new Set(texts.map(({ prompt }) => prompt))]
    const set = await this.#prompts(prompts)
    const all = texts.map(({ ids, made, prompt }) => {
      return { text: ids, labels: [[ends.end]], made, prompt: prompts.indexOf(prompt) }
    })
    const batch = makeEncoderDecoderBatch(
      all,
      batchOptions(set.layouts, new Inputs(backbone.device)),
      ends,
    )
    const { encoder, given } = batch
    const rows = given.map((i) => all[i] as (typeof all)[number])
    const prepared = await set.prepared
    const lengths = rows.map(({ text, made, prompt }): SlotLengths => {
      const past = prepared[prompt]?.past?.shape[2] ?? 0
      const P = set.layouts[prompt]?.place.P ?? 0
      return { own: past + 1 + made.length, cross: P + text.length + 1 }
    })
    checkRoom(
      lengths.map(({ own }) => own),
      this.#cache.capacity,
    )
    checkRoom(
      lengths.map(({ cross }) => cross),
      this.#cross.capacity,
    )
    const mask = encoder.mask
    const x = await assemble(backbone, prepared, encoder)
    const encoded = await backbone.encode({ x, mask: mask ?? undefined })
    const cross = await backbone.crossKeyValues(encoded)
    const slots = given.map((i) => slotsOf[i] as readonly number[])
    const filled = 1 + Math.max(...slots.flat())
    await this.#cache.reserve(filled, longestOf(lengths))
    await this.#cross.reserve(filled, longestTextOf(lengths))
    for (const [b, some] of slots.entries()) {
      const S = lengths[b]?.cross as number
      const own = cross.map((one) => one.select(0, b).slice(1, 0, S))
      for (const slot of some) await this.#cross.write(slot, 0, own)
    }
    const hidden = await this.#begin({ cross, mask, prepared, rows }, slots, ends.start)
    const back = placesOf(given)
    const index = tensor(back, { dtype: 'int64', device: backbone.device })
    return {
      hidden: hidden.indexSelect(0, index),
      lengths: back.map((b) => lengths[b] as SlotLengths),
    }
  }

  /** The decoder reads its start token and what was made, of rows that have as much before the next one together: [n, H]. */
  async #begin(
    { cross, mask, prepared, rows }: Encoded,
    slots: readonly (readonly number[])[],
    start: number,
  ): Promise<Tensor> {
    const backbone = this.#backbone
    const { device } = backbone
    const int64 = (values: number[] | number[][]) =>
      tensor(values, { dtype: 'int64', device })
    const pastOfRow = ({ prompt }: (typeof rows)[number]) =>
      prepared[prompt]?.past?.shape[2] ?? 0
    const keys = rows.map((row) => `${pastOfRow(row)} ${row.made.length}`)
    const hidden: Tensor[] = []
    const order: number[] = []
    for (const key of new Set(keys)) {
      const chosen = [...rows.keys()].filter((b) => keys[b] === key)
      const index = int64(chosen)
      const own = (one: Tensor) =>
        chosen.length === rows.length ? one : one.indexSelect(0, index)
      const some = chosen.map((b) => rows[b] as (typeof rows)[number])
      const groups = some.map(({ prompt }, begin) => {
        return { prompt, owners: null, begin, size: 1, order: null, shifts: null }
      })
      const found = await backbone.decode({
        x: await backbone.embed(int64(some.map(({ made }) => [start, ...made]))),
        past: pastOf(prepared, groups),
        cross: cross.map(own),
        crossMask: mask ? own(mask) : undefined,
      })
      for (const [n, b] of chosen.entries()) {
        const made = found.present.map((one) => one.select(0, n))
        for (const slot of slots[b] as readonly number[]) {
          await this.#cache.write(slot, 0, made)
        }
      }
      const Q = found.hidden.shape[1] as number
      hidden.push(found.hidden.select(1, Q - 1))
      order.push(...chosen)
    }
    return cat(hidden, 0).indexSelect(0, int64(placesOf(order)))
  }

  /** The encoder reads a text whole. */
  async begin(text: DecodingText): Promise<PartialPrefill> {
    return {
      read: async () => true,
      join: (slots) => this.prefill([text], [slots]),
      dispose() {},
    }
  }

  async placeStep(
    tokens: readonly number[],
    lengths: readonly SlotLengths[],
    R: number,
    inputs: Inputs,
  ): Promise<() => Promise<Tensor>> {
    const backbone = this.#backbone
    const read = readOf(longestOf(lengths) + 1, this.#cache, inputs)
    const crossRead = readOf(longestTextOf(lengths), this.#cross, inputs)
    await this.#cache.reserve(R, read)
    await this.#cross.reserve(R, crossRead)
    const [cache, cross] = [this.#cache.tensors, this.#cross.tensors]
    const ids = inputs.int64(filledTo(R, tokens, 0).map((token) => [token]))
    const own = lengths.map((length) => length.own)
    const before = inputs.int64(filledTo(R, own, 0))
    // A row that may look at nothing is NaN, and would leave that in its slot: padding looks at one key of zeros.
    const text = lengths.map((length) => length.cross)
    const crossLengths = inputs.int64(filledTo(R, text, 1))
    return async () => {
      const x = await backbone.embed(ids)
      const kept = { cache, lengths: before, read }
      return await backbone.decodeStep({ x, ...kept, cross, crossLengths, crossRead })
    }
  }

  get moves(): number {
    return this.#cache.moves + this.#cross.moves
  }

  async remove(slot: number, lengths: readonly SlotLengths[]): Promise<void> {
    await this.#cache.remove(
      slot,
      lengths.map(({ own }) => own),
    )
    await this.#cross.remove(
      slot,
      lengths.map(({ cross }) => cross),
    )
  }

  async branch(
    parents: readonly number[],
    lengths: readonly SlotLengths[],
  ): Promise<void> {
    const [rows, longest, text] = [
      parents.length,
      longestOf(lengths),
      longestTextOf(lengths),
    ]
    await this.#cache.reserve(rows, longest)
    await this.#cache.reorder(parents, longest)
    // Rows that were there have the same text: only new ones need it.
    if (rows <= lengths.length) return
    await this.#cross.reserve(rows, text)
    await this.#cross.reorder(parents, text)
  }

  get bytes(): number {
    return this.#cache.bytes + this.#cross.bytes
  }

  get mostBytes(): number {
    return this.#cache.mostBytes + this.#cross.mostBytes
  }

  async reserveAll(): Promise<void> {
    await this.#cache.reserveAll()
    await this.#cross.reserveAll()
  }

  async clear(): Promise<void> {
    await this.#cache.clear()
    await this.#cross.clear()
  }

  dispose(): void {
    this.#cache.dispose()
    this.#cross.dispose()
  }
}

function longestOf(lengths: readonly SlotLengths[]): number {
  return Math.max(...lengths.map(({ own }) => own))
}

function longestTextOf(lengths: readonly SlotLengths[]): number {
  return Math.max(...lengths.map(({ cross }) => cross))
}
