// What prompts give to their rows, kept from one call to the next as long as they hold the same. Knows no row.

import { createHash } from 'node:crypto'
import type { Backbone } from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import { itemSize, keep, noGrad, type Tensor, tidy } from '../torch/index.js'
import { versionOf } from '../torch/tensor.js'
import { keptOf } from './kept.js'
import {
  eachOf,
  type PreparedPrompt,
  type PromptLayout,
  type PromptSet,
  pendingPromptSet,
  preparePrompts,
  promptLayouts,
} from './prompt-set.js'

/** Bytes that are kept at most, beside those of the call at hand. */
const BUDGET_BYTES = 2 ** 28

/** A prompt that is kept. */
interface Kept {
  readonly layout: PromptLayout
  readonly prepared: PreparedPrompt
  /** false: it was trained on while it was prepared. */
  readonly isWhatKeySays: boolean
}

type Prepared = Pick<Kept, 'layout' | 'prepared'>

interface Entry {
  readonly kept: Promise<Kept>
  /** 0 until it is there. */
  bytes: number
}

/**
 * Prompts are known by what they hold, never by a name: one that was trained on is another one. All are forgotten when
 * the backbone's weights change. Calls may overlap.
 */
export class PromptCache {
  readonly #backbone: Backbone
  /** By their content, the one that was used last at the end. */
  readonly #entries = new Map<string, Entry>()
  /** Contents of prompts that do not change. */
  readonly #known: WeakMap<Prompt, Promise<string>> | undefined
  /** Of the weights that all were computed with. */
  #version: number | undefined

  /** @param options.constant no prompt changes: what each holds is looked at once */
  constructor(backbone: Backbone, { constant = false }: { constant?: boolean } = {}) {
    this.#backbone = backbone
    this.#known = constant ? new WeakMap() : undefined
  }

  /** A set whose prompts are prepared once. Its tensors belong to the caller's scope. */
  async set(prompts: readonly (Prompt | null)[]): Promise<PromptSet> {
    const keys = await Promise.all(prompts.map((prompt) => this.#contentOf(prompt)))
    const version = weightsVersion(this.#backbone)
    if (version !== this.#version) this.dispose()
    this.#version = version
    const begun = this.#prepare(new Map(keys.map((key, i) => [key, prompts[i] ?? null])))
    const used = await Promise.allSettled(keys.map((key) => this.#use(key)))
    const found: Prepared[] = []
    for (const [i, one] of used.entries()) {
      if (one.status === 'fulfilled') found.push(one.value)
      else if (begun.has(keys[i] as string)) throw one.reason
      // Another call failed, maybe over a prompt of its own: this one prepares for itself.
      else return await this.set(prompts)
    }
    this.#shrink(new Set(keys))
    return pendingPromptSet(
      found.map(({ layout }) => layout),
      Promise.resolve(found.map(({ prepared }) => prepared)),
      {},
    )
  }

  /**
   * Begins to prepare, together, those that are not there.
   *
   * @returns their keys
   */
  #prepare(prompts: ReadonlyMap<string, Prompt | null>): ReadonlySet<string> {
    const missing = [...prompts].filter(([key]) => !this.#entries.has(key))
    const begun = new Set(missing.map(([key]) => key))
    if (missing.length === 0) return begun
    const prepared = this.#preparedAs(missing)
    missing.forEach(([key], i) => {
      const entry: Entry = { kept: prepared.then((all) => all[i] as Kept), bytes: 0 }
      this.#entries.set(key, entry)
      const forget = () => {
        if (this.#entries.get(key) === entry) this.#forget(key)
      }
      entry.kept.then((kept) => {
        entry.bytes = bytesOf(kept.prepared)
        if (!kept.isWhatKeySays) forget()
      }, forget)
    })
    return begun
  }

  async #preparedAs(
    given: readonly (readonly [string, Prompt | null])[],
  ): Promise<Kept[]> {
    const prompts = given.map(([, prompt]) => prompt)
    const all = await preparedToKeep(this.#backbone, prompts)
    try {
      const contents = await Promise.all(prompts.map((prompt) => this.#contentOf(prompt)))
      return all.map((kept, i) => {
        return { ...kept, isWhatKeySays: contents[i] === given[i]?.[0] }
      })
    } catch (error) {
      for (const { prepared } of all) dispose(prepared)
      throw error
    }
  }

  /** What is kept, in tensors of the caller's own: it may be forgotten while they are used. */
  #use(key: string): Promise<Prepared> {
    const entry = this.#entries.get(key) as Entry
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.kept.then(({ layout, prepared }) => {
      return { layout, prepared: eachOf(prepared, (tensor) => tensor.detach()) }
    })
  }

  #contentOf(prompt: Prompt | null): Promise<string> {
    if (prompt === null || this.#known === undefined) return contentOf(prompt)
    const known = this.#known.get(prompt) ?? contentOf(prompt)
    this.#known.set(prompt, known)
    known.catch(() => this.#known?.delete(prompt))
    return known
  }

  /** Forgets what was not used for longest. */
  #shrink(used: ReadonlySet<string>): void {
    let bytes = [...this.#entries.values()].reduce((sum, entry) => sum + entry.bytes, 0)
    for (const [key, entry] of this.#entries) {
      if (bytes <= BUDGET_BYTES) return
      if (used.has(key) || entry.bytes === 0) continue
      bytes -= entry.bytes
      this.#forget(key)
    }
  }

  #forget(key: string): void {
    this.#entries.get(key)?.kept.then(
      ({ prepared }) => dispose(prepared),
      () => {},
    )
    this.#entries.delete(key)
  }

  dispose(): void {
    for (const key of this.#entries.keys()) this.#forget(key)
  }
}

/** What `score` and `generate` keep of prompts, until the backbone is disposed of or memory is asked for. */
export const promptCacheOf = keptOf((backbone) => new PromptCache(backbone), {
  release: (cache) => cache.dispose(),
  close: (cache) => cache.dispose(),
})

async function contentOf(prompt: Prompt | null): Promise<string> {
  const hash = createHash('sha256')
  if (prompt === null) return hash.digest('hex')
  hash.update(JSON.stringify(prompt.config))
  const tensors = { ...prompt.parameters, ...prompt.buffers }
  for (const [name, tensor] of Object.entries(tensors)) {
    const values = await tensor.read()
    hash.update(`${name} ${tensor.shape.join()} ${tensor.dtype}`)
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  }
  return hash.digest('hex')
}

/** Counts what was written to a backbone's weights. */
function weightsVersion(backbone: Backbone): number {
  return [...backbone.parameters().values()].reduce((sum, one) => sum + versionOf(one), 0)
}

/** Copies: what a prompt gives may be its own factor, which training changes. */
async function preparedToKeep(
  backbone: Backbone,
  prompts: readonly (Prompt | null)[],
): Promise<Prepared[]> {
  return await noGrad(() =>
    tidy(async () => {
      const layouts = promptLayouts(backbone, prompts)
      const prepared = await preparePrompts(backbone, prompts, layouts)
      const own = (tensor: Tensor) => keep(tensor.detach().clone())
      return layouts.map((layout, i) => {
        return { layout, prepared: eachOf(prepared[i] as PreparedPrompt, own) }
      })
    }),
  )
}

function dispose(prepared: PreparedPrompt): void {
  for (const tensor of tensorsOf(prepared)) tensor.dispose()
}

function tensorsOf({ inputs, prefix, embeddingDelta, past }: PreparedPrompt): Tensor[] {
  return [inputs, prefix, embeddingDelta, past].filter((tensor) => tensor !== null)
}

function bytesOf(prepared: PreparedPrompt): number {
  return tensorsOf(prepared).reduce(
    (sum, { numel, dtype }) => sum + numel * itemSize(dtype),
    0,
  )
}
