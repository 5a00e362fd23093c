// What the tokens of a text are drawn by, from a generator of its own. Knows no probability.

import { currentScope, inContext } from '../torch/context.js'
import { generatorHandleOf } from '../torch/generator.js'
import { Generator, type Tensor } from '../torch/index.js'
import { moveToScope, wrap } from '../torch/tensor.js'
import { type LogitsKind, opsFor } from './sample.js'

/** One draw a token: which one it is depends on how many came before, and not on when it is made. */
export class Draws {
  readonly #generator: Generator
  #ahead: Promise<Tensor> | undefined

  constructor(seed: number) {
    this.#generator = new Generator({ seed })
  }

  /**
   * The next token's, exponential ones [1, N] on the CPU, in the caller's scope.
   *
   * @param rows that are drawn for together: many are not drawn on the spot
   */
  async next(kind: LogitsKind, rows = 1): Promise<Tensor> {
    const ahead = this.#ahead
    if (ahead === undefined) return await this.#draw(kind, rows)
    this.#ahead = undefined
    const made = await ahead
    moveToScope(made, currentScope())
    return made
  }

  /** Makes the next token's before it is asked for. It is nobody's until then. */
  makeAhead(kind: LogitsKind, rows = 1): void {
    this.#ahead ??= inContext({ scope: null }, () => this.#draw(kind, rows))
    this.#ahead.catch(() => {}) // whoever asks for it is told
  }

  async #draw({ vocabSize, dtype }: LogitsKind, rows: number): Promise<Tensor> {
    const ops = opsFor({ numel: rows * vocabSize })
    const handle = generatorHandleOf(this.#generator)
    return wrap(await ops.exponential([1, vocabSize], handle, dtype))
  }

  /** Frees what was made ahead: no token comes any more. */
  dispose(): void {
    this.#ahead?.then(
      (made) => made.dispose(),
      () => {},
    )
    this.#ahead = undefined
  }
}
