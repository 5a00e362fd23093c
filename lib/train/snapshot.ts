// A copy of what a prompt has learned, to go back to. Knows no training.

import type { Prompt } from '../prompt/index.js'
import { keep, noGrad, type Tensor } from '../torch/index.js'

export class Snapshot {
  readonly #prompt: Prompt
  readonly #copies: [current: Tensor, copy: Tensor][]

  constructor(prompt: Prompt) {
    this.#prompt = prompt
    this.#copies = Object.values(prompt.parameters).map((tensor) => [
      tensor,
      noGrad(() => keep(tensor.clone())),
    ])
  }

  /** Takes the prompt as it is now. */
  async take(): Promise<void> {
    for (const [current, copy] of this.#copies) await copy.copy_(current)
  }

  /** Puts the prompt back to what was taken last. */
  async restore(): Promise<Prompt> {
    for (const [current, copy] of this.#copies) await current.copy_(copy)
    return this.#prompt
  }

  dispose(): void {
    for (const [, copy] of this.#copies) copy.dispose()
  }
}
