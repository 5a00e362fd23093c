// A copy of what was learned, to go back to. Knows no training.

import { keep, noGrad, type Tensor } from '../torch/index.js'

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

  /** Takes the tensors as they are now. */
  async take(): Promise<void> {
    await Promise.all(
      Object.entries(this.copies).map(([name, copy]) =>
        copy.copy_(this.#current[name] as Tensor),
      ),
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
