// A copy of what was learned, to go back to. Knows no training.

import { keep, noGrad, type Tensor, where } from '../torch/index.js'

type Named = Readonly<Record<string, Tensor>>

export class Snapshot {
  readonly #current: Named
  /** What was taken last, by name. */
  readonly copies: Named

  constructor(parameters: Named) {
    this.#current = parameters
    this.copies = Object.fromEntries(
      Object.entries(parameters).map(([name, tensor]) => [
        name,
        noGrad(() => keep(tensor.clone())),
      ]),
    )
  }

  /**
   * Takes the tensors as they are now.
   *
   * @param condition bool []: only where it holds, which is not read back
   */
  async take(condition?: Tensor<'bool'>): Promise<void> {
    await Promise.all(
      Object.entries(this.copies).map(([name, copy]) => {
        const current = this.#current[name] as Tensor
        const taken = condition ? noGrad(() => where(condition, current, copy)) : current
        return copy.copy_(taken)
      }),
    )
  }

  /** Puts them back to what was taken last. */
  async restore(): Promise<void> {
    for (const [name, copy] of Object.entries(this.copies)) {
      await (this.#current[name] as Tensor).copy_(copy)
    }
  }

  dispose(): void {
    for (const copy of Object.values(this.copies)) copy.dispose()
  }
}
