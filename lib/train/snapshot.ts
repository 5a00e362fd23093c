// A copy of what was learned, to go back to. Knows no training.

import { keep, noGrad, type Tensor } from '../torch/index.js'

export class Snapshot {
  readonly #copies: [current: Tensor, copy: Tensor][]

  constructor(parameters: Readonly<Record<string, Tensor>>) {
    this.#copies = Object.values(parameters).map((tensor) => [
      tensor,
      noGrad(() => keep(tensor.clone())),
    ])
  }

  /** Takes the tensors as they are now. */
  async take(): Promise<void> {
    for (const [current, copy] of this.#copies) await copy.copy_(current)
  }

  /** Puts them back to what was taken last. */
  async restore(): Promise<void> {
    for (const [current, copy] of this.#copies) await current.copy_(copy)
  }

  dispose(): void {
    for (const [, copy] of this.#copies) copy.dispose()
  }
}
