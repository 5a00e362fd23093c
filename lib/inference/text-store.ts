// Keys and values of texts that stand before the prompt: they do not depend on it, so that they are
// computed without a graph, and kept within a budget of memory. Knows ids, no prompt and no label.

import type { CausalBackbone } from '../backbone/index.js'
import { binding } from '../torch/context.js'
import { itemSize, keep, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { handleOf, handlesOf, wrap } from '../torch/tensor.js'

/** How texts before a suffix prompt are kept over the epochs. */
export interface ReuseOptions {
  /** Bytes that kept keys and values may take, default 1 GiB; 0: nothing is kept. */
  budgetBytes?: number | undefined
  /** Keep them in float16: half the memory, and no longer the exact numbers. Default false. */
  halfPrecision?: boolean | undefined
}

export const REUSE_BUDGET_BYTES = 2 ** 30

/** Padded tokens that are computed together: enough to keep matrix products at their peak. */
const GROUP_TOKENS = 512

type Text = readonly number[]

/** A batch's texts and their keys and values. */
interface Past {
  readonly texts: readonly Text[]
  readonly T: number
  readonly past: readonly Tensor[]
}

const NONE: Past = { texts: [], T: 0, past: [] }

/**
 * Keeps the texts that `plan` chose, computes the others whenever they are asked for. A kept text is
 * always computed with the same others, so that its bits do not depend on which batch came first:
 * a run that goes on from a checkpoint gives the same numbers. Texts are known by their array.
 */
export class TextStore {
  readonly #backbone: CausalBackbone
  readonly #budgetBytes: number
  readonly #dtype: 'float16' | CausalBackbone['dtype']
  /** The texts that are computed together with a text that is to be kept. */
  readonly #groups = new Map<Text, readonly Text[]>()
  /** [2L, heads, T, D]: k and v of each layer. */
  readonly #kept = new Map<Text, Tensor>()
  #plannedBytes = 0
  /** What was asked for last. */
  #latest = NONE

  constructor(
    backbone: CausalBackbone,
    { budgetBytes = REUSE_BUDGET_BYTES, halfPrecision = false }: ReuseOptions = {},
  ) {
    this.#backbone = backbone
    this.#budgetBytes = budgetBytes
    this.#dtype = halfPrecision ? 'float16' : backbone.dtype
  }

  /** Bytes that all planned texts take once they are computed. */
  get plannedBytes(): number {
    return this.#plannedBytes
  }

  /**
   * Chooses the texts to keep: first come, as long as they fit the budget.
   *
   * @returns how many of `texts` are kept
   */
  plan(texts: readonly Text[]): number {
    const chosen = texts.filter((text) => {
      const bytes = this.#bytesOf(text)
      if (this.#plannedBytes + bytes > this.#budgetBytes) return false
      this.#plannedBytes += bytes
      return true
    })
    for (const group of groupsOf(chosen)) {
      for (const text of group) this.#groups.set(text, group)
    }
    return chosen.length
  }

  /**
   * Keys and values of a batch's texts, right-padded: k and v of each layer, [M, heads, T, D], without a graph, for M
   * texts that come over and over in this order, else [B, ..]. They last until other texts are asked for: the passes of
   * a step share them.
   *
   * @param T what they are padded to, that of the longest at least
   */
  async past(texts: readonly Text[], T = longest(texts)): Promise<readonly Tensor[]> {
    const distinct = [...new Set(texts)]
    if (T !== this.#latest.T || !isSame(distinct, this.#latest.texts)) {
      this.#forget()
      const past = (await this.#pastOf(distinct, T)).map(keep)
      this.#latest = { texts: distinct, T, past }
    }
    const { past } = this.#latest
    const M = distinct.length
    const isInOrder = texts.every((text, i) => text === distinct[i % M])
    if (isInOrder && texts.length % M === 0) return past
    const place = new Map(distinct.map((text, i) => [text, i]))
    const rows = texts.map((text) => place.get(text) as number)
    const index = tensor(rows, { dtype: 'int64', device: this.#backbone.device })
    const { jobs } = binding()
    const chosen = past.map((one) => jobs.indexSelect(handleOf(one), 0, handleOf(index)))
    return (await Promise.all(chosen)).map(wrap)
  }

  #forget(): void {
    for (const tensor of this.#latest.past) tensor.dispose()
    this.#latest = NONE
  }

  async #pastOf(texts: readonly Text[], T: number): Promise<Tensor[]> {
    return await noGrad(() =>
      tidy(async () => {
        const missing = texts.filter((text) => !this.#kept.has(text))
        const groups = new Set(
          missing.flatMap((text) => {
            const group = this.#groups.get(text)
            return group === undefined ? [] : [group]
          }),
        )
        for (const group of groups) await this.#keepGroup(group)
        const others = missing.filter((text) => !this.#groups.has(text))
        if (others.length === texts.length) return await this.#compute(others, T)
        const own = await this.#each(others)
        const valuesOf = (text: Text) => own.get(text) ?? this.#keptOf(text)
        return await this.#together(texts, T, valuesOf)
      }),
    )
  }

  dispose(): void {
    this.#forget()
    for (const tensor of this.#kept.values()) tensor.dispose()
    this.#kept.clear()
  }

  #keptOf(text: Text): Tensor {
    return this.#kept.get(text) as Tensor
  }

  #bytesOf(text: Text): number {
    const { layers, hiddenSize } = this.#backbone.config
    return 2 * layers * hiddenSize * text.length * itemSize(this.#dtype)
  }

  async #keepGroup(group: readonly Text[]): Promise<void> {
    await tidy(async () => {
      for (const [text, values] of await this.#each(group)) {
        const { jobs } = binding()
        const stored = wrap(await jobs.to(handleOf(values), this.#dtype, null, false))
        // A storage of its own: the group's is freed.
        this.#kept.set(text, keep(wrap(await jobs.contiguous(handleOf(stored)))))
      }
    })
  }

  /** Views [2L, heads, T, D] of texts that are computed together. */
  async #each(texts: readonly Text[]): Promise<Map<Text, Tensor>> {
    if (texts.length === 0) return new Map()
    const computed = handlesOf(await this.#compute(texts), 'computed')
    const all = wrap(await binding().jobs.stack(computed, 0)) // [2L, M, heads, T, D]
    return new Map(
      texts.map((text, i) => [text, all.select(1, i).slice(2, 0, text.length)]),
    )
  }

  /** k and v of each layer, [M, heads, T, D]. Right-padded causal rows need no mask. */
  async #compute(texts: readonly Text[], T = longest(texts)): Promise<Tensor[]> {
    const backbone = this.#backbone
    const int64 = (values: number[][]) =>
      tensor(values, { dtype: 'int64', device: backbone.device })
    const { present } = await backbone.run({
      x: await backbone.embed(
        int64(texts.map((text) => Array.from({ length: T }, (_, i) => text[i] ?? 0))),
      ),
      positions: int64(texts.map(() => Array.from({ length: T }, (_, i) => i))),
      // Only keys and values are wanted: one query is the least.
      queries: int64(texts.map(() => [0])),
    })
    return present
  }

  /** Texts of several lengths as one batch, zeros where one is shorter. */
  async #together(
    texts: readonly Text[],
    T: number,
    valuesOf: (text: Text) => Tensor,
  ): Promise<Tensor[]> {
    const { layers, heads, hiddenSize } = this.#backbone.config
    const { dtype, device } = this.#backbone
    const shape = [2 * layers, texts.length, heads, T, hiddenSize / heads]
    const batch = wrap(await binding().jobs.zeros(shape, dtype, device))
    await Promise.all(
      texts.map((text, i) =>
        batch.select(1, i).slice(2, 0, text.length).copy_(valuesOf(text)),
      ),
    )
    return Array.from({ length: 2 * layers }, (_, i) => batch.select(0, i))
  }
}

function isSame(texts: readonly Text[], others: readonly Text[]): boolean {
  return texts.length === others.length && texts.every((text, i) => text === others[i])
}

function longest(texts: readonly Text[]): number {
  return Math.max(...texts.map(({ length }) => length))
}

/** Texts of like length, few enough to be computed at once. */
function groupsOf(texts: readonly Text[]): Text[][] {
  const groups: Text[][] = []
  let group: Text[] = []
  for (const text of [...texts].sort((a, b) => a.length - b.length)) {
    if (group.length > 0 && (group.length + 1) * text.length > GROUP_TOKENS) {
      groups.push(group)
      group = []
    }
    group.push(text)
  }
  if (group.length > 0) groups.push(group)
  return groups
}
