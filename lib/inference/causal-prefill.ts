// A causal model's text that is read a piece at a time, so that others go on between two pieces. Knows no slot and no label.

import type { CausalBackbone } from '../backbone/index.js'
import { keep, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { assemble, pastOf } from './assemble.js'
import type { CausalBatch } from './batch.js'
import type { PreparedPrompt } from './prompt-set.js'

/** A row of its own. */
interface Whole {
  /** Prompt and text in their order, [1, Q, H]. */
  readonly x: Tensor
  /** int64 [1, Q] */
  readonly positions: Tensor
  /** Keys and values of a prompt before them, k and v of each layer, [1, heads, P, D]; may be none. */
  readonly past: readonly Tensor[]
}

export class CausalPrefill {
  readonly #backbone: CausalBackbone
  readonly #x: Tensor
  readonly #positions: Tensor
  #past: readonly Tensor[]
  #read = 0
  #hidden: Tensor | undefined

  constructor(backbone: CausalBackbone, { x, positions, past }: Whole) {
    this.#backbone = backbone
    this.#x = keep(x)
    this.#positions = keep(positions)
    this.#past = past.map((one) => keep(one.detach()))
  }

  /** @param batch of one text */
  static async of(
    backbone: CausalBackbone,
    prepared: readonly PreparedPrompt[],
    batch: CausalBatch,
  ): Promise<CausalPrefill> {
    const x = await assemble(backbone, prepared, batch)
    const past = pastOf(prepared, batch.groups)
    return new CausalPrefill(backbone, { x, positions: batch.positions, past })
  }

  /** Keys and values of all that was read, k and v of each layer, [1, heads, S, D]. */
  get past(): readonly Tensor[] {
    return this.#past
  }

  /** [1, H], of the last position, once all was read. */
  get hidden(): Tensor {
    return this.#hidden as Tensor
  }

  /**
   * Reads so many positions more, at most.
   *
   * @returns whether it has read all
   */
  async read(positions: number): Promise<boolean> {
    const Q = this.#x.shape[1] as number
    const [begin, end] = [this.#read, Math.min(Q, this.#read + positions)]
    await noGrad(() =>
      tidy(async () => {
        const { hidden, present } = await this.#backbone.run({
          x: this.#x.slice(1, begin, end),
          positions: this.#positions.slice(1, begin, end),
          past: this.#past,
          queries: tensor([[end - begin - 1]], {
            dtype: 'int64',
            device: this.#backbone.device,
          }),
        })
        for (const one of this.#past) one.dispose()
        this.#past = present.map(keep)
        if (end === Q) this.#hidden = keep(hidden.select(1, 0))
      }),
    )
    this.#read = end
    return end === Q
  }

  dispose(): void {
    for (const one of [this.#x, this.#positions, ...this.#past]) one.dispose()
    this.#hidden?.dispose()
  }
}
