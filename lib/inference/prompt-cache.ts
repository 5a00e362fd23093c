// What prompts give to their rows, kept from one call to the next as long as they hold the same. Knows no row.

import { createHash } from 'node:crypto'
import type { Backbone } from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import { itemSize, keep, type Tensor } from '../torch/index.js'
import {
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
}

/**
 * Prompts are known by what they hold, never by a name: one that was trained on is another one. Only for a backbone whose
 * weights stay.
 */
export class PromptCache {
  readonly #backbone: Backbone
  /** By their content, the one that was used last at the end. */
  readonly #kept = new Map<string, Kept>()
  /** Contents of prompts that do not change. */
  readonly #known: WeakMap<Prompt, Promise<string>> | undefined

  /** @param options.constant no prompt changes: what each holds is looked at once */
  constructor(backbone: Backbone, { constant = false }: { constant?: boolean } = {}) {
    this.#backbone = backbone
    this.#known = constant ? new WeakMap() : undefined
  }

  /** A set whose prompts are prepared once; it lasts until the next call. */
  async set(prompts: readonly (Prompt | null)[]): Promise<PromptSet> {
    const keys = await Promise.all(prompts.map((prompt) => this.#contentOf(prompt)))
    const missing = [...keys.keys()].filter(
      (i) => !this.#kept.has(keys[i] as string) && keys.indexOf(keys[i] as string) === i,
    )
    if (missing.length > 0) {
      const own = missing.map((i) => prompts[i] ?? null)
      const layouts = promptLayouts(this.#backbone, own)
      const made = await preparePrompts(this.#backbone, own, layouts)
      for (const [n, i] of missing.entries()) {
        const layout = layouts[n] as PromptLayout
        const prepared = ownOf(made[n] as PreparedPrompt)
        this.#kept.set(keys[i] as string, { layout, prepared })
      }
    }
    const found = keys.map((key) => {
      const kept = this.#kept.get(key) as Kept
      this.#kept.delete(key)
      this.#kept.set(key, kept)
      return kept
    })
    this.#shrink(new Set(keys))
    const prepared = Promise.resolve(found.map((kept) => kept.prepared))
    return pendingPromptSet(
      found.map(({ layout }) => layout),
      prepared,
      {},
    )
  }

  #contentOf(prompt: Prompt | null): Promise<string> {
    if (prompt === null || this.#known === undefined) return contentOf(prompt)
    const known = this.#known.get(prompt) ?? contentOf(prompt)
    this.#known.set(prompt, known)
    return known
  }

  /** Forgets what was not used for longest. */
  #shrink(used: ReadonlySet<string>): void {
    let bytes = [...this.#kept.values()].reduce(
      (sum, { prepared }) => sum + bytesOf(prepared),
      0,
    )
    for (const [key, { prepared }] of this.#kept) {
      if (bytes <= BUDGET_BYTES) return
      if (used.has(key)) continue
      bytes -= bytesOf(prepared)
      this.#kept.delete(key)
      for (const tensor of tensorsOf(prepared)) tensor.dispose()
    }
  }

  dispose(): void {
    for (const { prepared } of this.#kept.values()) {
      for (const tensor of tensorsOf(prepared)) tensor.dispose()
    }
    this.#kept.clear()
  }
}

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

/** Copies: what a prompt gives may be its own factor, which training changes. */
function ownOf({ inputs, prefix, embeddingDelta, past }: PreparedPrompt): PreparedPrompt {
  const own = (tensor: Tensor | null) => tensor && keep(tensor.detach().clone())
  return {
    inputs: own(inputs),
    prefix: own(prefix),
    embeddingDelta: own(embeddingDelta),
    past: own(past),
  }
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
