// How a causal model reads texts that are continued: prompt, text and what was made are one sequence of keys and values.
// Knows no logit.

import type { CausalBackbone } from '../backbone/index.js'
import { type Tensor, tensor } from '../torch/index.js'
import { layersOf } from './assemble.js'
import { makeCausalBatch, placesOf } from './batch.js'
import { CausalPrefill } from './causal-prefill.js'
import { Inputs } from './inputs.js'
import { checkRoom, filledTo, KeyValueCache, readOf } from './key-value-cache.js'
import { batchOptions } from './label-hidden.js'
import type { PromptLayout } from './prompt-set.js'
import type {
  DecodingSize,
  DecodingText,
  PartialPrefill,
  Prefilled,
  PrepareSet,
  Reader,
  SlotLengths,
} from './reader.js'
import { runBatch } from './run-batch.js'

export class CausalReader implements Reader {
  readonly #backbone: CausalBackbone
  readonly #prompts: PrepareSet
  readonly #cache: KeyValueCache

  constructor(
    backbone: CausalBackbone,
    { slots, capacity }: DecodingSize,
    prompts: PrepareSet,
  ) {
    const { layers, heads, hiddenSize } = backbone.config
    const shape = { layers, heads, headSize: hiddenSize / heads, slots, capacity }
    this.#backbone = backbone
    this.#prompts = prompts
    this.#cache = new KeyValueCache(shape, backbone)
  }

  async prefill(
    texts: readonly DecodingText[],
    slots: readonly (readonly number[])[],
  ): Promise<Prefilled> {
    const { rows, batch, prepared, lengths } = await this.#rowsOf(texts)
    const { queries, given } = batch
    const K = queries.shape[1] as number
    const { hidden, present } = await runBatch(this.#backbone, prepared, batch, {
      queries: queries.slice(1, K - 1, K),
      present: true,
    })
    await this.#cache.reserve(1 + Math.max(...slots.flat()), longestOf(lengths))
    for (const [b, i] of given.entries()) {
      const shared = prepared[rows[i]?.prompt as number]?.past ?? null // [2L, heads, P, D]
      const P = shared?.shape[2] ?? 0
      const own = (lengths[i]?.own as number) - P
      const made = present.map((one) => one.select(0, b).slice(1, 0, own))
      for (const slot of slots[i] as readonly number[]) {
        if (shared !== null) await this.#cache.write(slot, 0, layersOf(shared))
        await this.#cache.write(slot, P, made)
      }
    }
    const back = this.#int64(placesOf(given))
    return { hidden: hidden.select(1, 0).indexSelect(0, back), lengths }
  }

  async begin(text: DecodingText): Promise<PartialPrefill> {
    const { batch, prepared, lengths } = await this.#rowsOf([text])
    const [{ own }] = lengths as [SlotLengths]
    const prefill = await CausalPrefill.of(this.#backbone, prepared, batch)
    return {
      read: (positions) => prefill.read(positions),
      join: async (slots) => {
        await this.#cache.reserve(1 + Math.max(...slots), own)
        const made = prefill.past.map((one) => one.select(0, 0))
        for (const slot of slots) await this.#cache.write(slot, 0, made)
        return { hidden: prefill.hidden, lengths }
      },
      dispose: () => prefill.dispose(),
    }
  }

  /** What is run of texts, and how long they get. */
  async #rowsOf(texts: readonly DecodingText[]) {
    const backbone = this.#backbone
    const prompts = [...new Set(texts.map(({ prompt }) => prompt))]
    const set = await this.#prompts(prompts)
    // What was made stands where a label does: behind a suffix.
    const rows = texts.map(({ ids, made, prompt }) => {
      return { text: ids, labels: [[...made, 0]], prompt: prompts.indexOf(prompt) }
    })
    const lengths = rows.map(({ text, prompt }, i): SlotLengths => {
      const { place } = set.layouts[prompt] as PromptLayout
      const made = texts[i]?.made.length as number
      return { own: place.P + text.length + made, cross: 0 }
    })
    checkRoom(
      lengths.map(({ own }) => own),
      this.#cache.capacity,
    )
    const batch = makeCausalBatch(
      rows,
      batchOptions(set.layouts, new Inputs(backbone.device)),
    )
    return { rows, batch, prepared: await set.prepared, lengths }
  }

  async placeStep(
    tokens: readonly number[],
    lengths: readonly SlotLengths[],
    R: number,
    inputs: Inputs,
  ): Promise<() => Promise<Tensor>> {
    const backbone = this.#backbone
    const read = readOf(longestOf(lengths) + 1, this.#cache, inputs)
    await this.#cache.reserve(R, read)
    const cache = this.#cache.tensors
    const ids = inputs.int64(filledTo(R, tokens, 0).map((token) => [token]))
    const own = lengths.map((length) => length.own)
    const before = inputs.int64(filledTo(R, own, 0))
    return async () => {
      const x = await backbone.embed(ids)
      return await backbone.decodeStep({ x, cache, lengths: before, read })
    }
  }

  get moves(): number {
    return this.#cache.moves
  }

  async remove(slot: number, lengths: readonly SlotLengths[]): Promise<void> {
    await this.#cache.remove(
      slot,
      lengths.map(({ own }) => own),
    )
  }

  async branch(
    parents: readonly number[],
    lengths: readonly SlotLengths[],
  ): Promise<void> {
    const longest = longestOf(lengths)
    await this.#cache.reserve(parents.length, longest)
    await this.#cache.reorder(parents, longest)
  }

  get bytes(): number {
    return this.#cache.bytes
  }

  get mostBytes(): number {
    return this.#cache.mostBytes
  }

  async reserveAll(): Promise<void> {
    await this.#cache.reserveAll()
  }

  async clear(): Promise<void> {
    await this.#cache.clear()
  }

  dispose(): void {
    this.#cache.dispose()
  }

  #int64(values: number[]): Tensor {
    return tensor(values, { dtype: 'int64', device: this.#backbone.device })
  }
}

function longestOf(lengths: readonly SlotLengths[]): number {
  return Math.max(...lengths.map(({ own }) => own))
}
