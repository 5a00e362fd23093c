// How a causal model reads texts that are continued: prompt, text and what was made are one sequence of keys and values.
// Knows no logit.

import type { CausalBackbone } from '../backbone/index.js'
import { type Tensor, tensor } from '../torch/index.js'
import { assemble, layersOf, pastOf } from './assemble.js'
import { makeCausalBatch, placesOf } from './batch.js'
import type {
  DecodingSize,
  DecodingText,
  PrepareSet,
  Reader,
  SlotLengths,
} from './decoding.js'
import { bucketOf, checkRoom, KeyValueCache } from './key-value-cache.js'
import { batchOptions } from './label-hidden.js'
import type { PromptLayout } from './prompt-set.js'

export class CausalReader implements Reader {
  readonly #backbone: CausalBackbone
  readonly #prompts: PrepareSet
  readonly #cache: KeyValueCache

  private constructor(
    backbone: CausalBackbone,
    cache: KeyValueCache,
    prompts: PrepareSet,
  ) {
    this.#backbone = backbone
    this.#prompts = prompts
    this.#cache = cache
  }

  static async create(
    backbone: CausalBackbone,
    { slots, capacity }: DecodingSize,
    prompts: PrepareSet,
  ): Promise<CausalReader> {
    const { layers, heads, hiddenSize } = backbone.config
    const shape = { layers, heads, headSize: hiddenSize / heads, slots, capacity }
    return new CausalReader(
      backbone,
      await KeyValueCache.create(shape, backbone),
      prompts,
    )
  }

  async prefill(
    texts: readonly DecodingText[],
    first: number,
  ): Promise<{ hidden: Tensor; lengths: SlotLengths[] }> {
    const backbone = this.#backbone
    const prompts = [...new Set(texts.map(({ prompt }) => prompt))]
    const set = await this.#prompts(prompts)
    const layoutOf = ({ prompt }: DecodingText) =>
      set.layouts[prompts.indexOf(prompt)] as PromptLayout
    const lengths = texts.map((text): SlotLengths => {
      const own = layoutOf(text).place.P + text.ids.length + text.made.length
      return { own, cross: 0 }
    })
    checkRoom(
      lengths.map(({ own }) => own),
      this.#cache.capacity,
    )
    // What was made stands where a label does: behind a suffix.
    const rows = texts.map(({ ids, made, prompt }) => {
      return { text: ids, labels: [[...made, 0]], prompt: prompts.indexOf(prompt) }
    })
    const batch = makeCausalBatch(rows, batchOptions(backbone, set))
    const prepared = await set.prepared
    const past = pastOf(prepared, batch.groups)
    const { positions, mask, queries, given } = batch
    const K = queries.shape[1] as number
    const { hidden, present } = await backbone.run({
      x: await assemble(backbone, prepared, batch),
      positions,
      mask: mask ?? undefined,
      past,
      queries: queries.slice(1, K - 1, K),
    })
    const before = past[0]?.shape[2] ?? 0
    for (const [b, i] of given.entries()) {
      const shared = prepared[rows[i]?.prompt as number]?.past ?? null // [2L, heads, P, D]
      const P = shared?.shape[2] ?? 0
      const own = (lengths[i]?.own as number) - P
      const slot = first + i
      if (shared !== null) await this.#cache.write(slot, 0, layersOf(shared))
      const made = present.map((one) => one.select(0, b).slice(1, before, before + own))
      await this.#cache.write(slot, P, made)
    }
    const { device } = backbone
    const back = tensor(placesOf(given), { dtype: 'int64', device })
    return { hidden: hidden.select(1, 0).indexSelect(0, back), lengths }
  }

  async step(ids: Tensor, lengths: readonly SlotLengths[]): Promise<Tensor> {
    const own = lengths.map((length) => length.own)
    return await this.#backbone.decodeStep({
      x: await this.#backbone.embed(ids),
      cache: this.#cache.tensors,
      lengths: tensor(own, { dtype: 'int64', device: this.#backbone.device }),
      read: bucketOf(Math.max(...own) + 1, this.#cache.capacity),
    })
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
    await this.#cache.reorder(parents, Math.max(...lengths.map(({ own }) => own)))
  }

  dispose(): void {
    this.#cache.dispose()
  }
}
