// What prompts give to their rows, kept from one call to the next as long as they hold the same. Knows no row.

import { createHash } from 'node:crypto'
import type { Backbone } from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import { itemSize, keep, type Tensor } from '../torch/index.js'
import {
  type PreparedPrompt,
  type PromptSet,
  pendingPromptSet,
  preparePrompts,
  promptLayouts,
} from './prompt-set.js'

/** Bytes that are kept at most, beside those of the call at hand. */
const BUDGET_BYTES = 2 ** 28

/**
 * Prompts are known by what they hold, never by a name: one that was trained on is another one. Only for a backbone whose
 * weights stay.
 */
export class PromptCache {
  readonly #backbone: Backbone
  /** By their content, the one that was used last at the end. */
  readonly #kept = new Map<string, PreparedPrompt>()

  constructor(backbone: Backbone) {
    this.#backbone = backbone
  }

  /** A set whose prompts are prepared once; it lasts until the next call. */
  async set(prompts: readonly (Prompt | null)[]): Promise<PromptSet> {
    const layouts = promptLayouts(this.#backbone, prompts)
    const keys = await Promise.all(prompts.map(contentOf))
    const missing = [...keys.keys()].filter(
      (i) => !this.#kept.has(keys[i] as string) && keys.indexOf(keys[i] as string) === i,
    )
    const made = await preparePrompts(
      this.#backbone,
      missing.map((i) => prompts[i] ?? null),
      missing.map((i) => layouts[i] as (typeof layouts)[number]),
    )
    for (const [n, i] of missing.entries()) {
      this.#kept.set(keys[i] as string, ownOf(made[n] as PreparedPrompt))
    }
    const prepared = keys.map((key) => {
      const found = this.#kept.get(key) as PreparedPrompt
      this.#kept.delete(key)
      this.#kept.set(key, found)
      return found
    })
    this.#shrink(new Set(keys))
    return pendingPromptSet(layouts, Promise.resolve(prepared), {})
  }

  /** Forgets what was not used for longest. */
  #shrink(used: ReadonlySet<string>): void {
    let bytes = [...this.#kept.values()].reduce((sum, one) => sum + bytesOf(one), 0)
    for (const [key, prepared] of this.#kept) {
      if (bytes <= BUDGET_BYTES) return
      if (used.has(key)) continue
      bytes -= bytesOf(prepared)
      this.#kept.delete(key)
      for (const tensor of tensorsOf(prepared)) tensor.dispose()
    }
  }

  dispose(): void {
    for (const prepared of this.#kept.values()) {
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
