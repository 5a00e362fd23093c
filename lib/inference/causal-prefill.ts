// A causal model's text that is read a piece at a time, so that others go on between two pieces. Knows no slot.

import type { CausalBackbone } from '../backbone/index.js'
import { keep, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import type { PartialPrefill, Prefilled, SlotLengths } from './decoding.js'

/** A row of its own. */
interface Whole {
  /** Prompt and text in their order, [1, Q, H]. */
  readonly x: Tensor
  /** int64 [1, Q] */
  readonly positions: Tensor
  /** Keys and values of a prompt before them, k and v of each layer, [1, heads, P, D]; may be none. */
  readonly past: readonly Tensor[]
}

export class CausalPrefill implements PartialPrefill {
  readonly #backbone: CausalBackbone
  readonly #x: Tensor
  readonly #positions: Tensor
  readonly #write: (
    past: readonly Tensor[],
    slots: readonly number[],
  ) => Promise<SlotLengths>
  /** Of all that was read. */
  #past: readonly Tensor[]
  #read = 0
  /** [1, H], of the last position. */
  #hidden: Tensor | undefined

  /** @param write puts keys and values into slots, and says how many each has then */
  constructor(
    backbone: CausalBackbone,
    { x, positions, past }: Whole,
    write: (past: readonly Tensor[], slots: readonly number[]) => Promise<SlotLengths>,
  ) {
    this.#backbone = backbone
    this.#x = keep(x)
    this.#positions = keep(positions)
    this.#past = past.map((one) => keep(one.detach()))
    this.#write = write
  }

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

  async join(slots: readonly number[]): Promise<Prefilled> {
    const lengths = [await this.#write(this.#past, slots)]
    return { hidden: this.#hidden as Tensor, lengths }
  }

  dispose(): void {
    for (const one of [this.#x, this.#positions, ...this.#past]) one.dispose()
    this.#hidden?.dispose()
  }
}
