// What rows become on a device before anything is computed with them: whole numbers, and a signature of all that the shapes
// of a computation depend on. Knows no row.

import { type Tensor, tensor } from '../torch/index.js'

type Whole = readonly number[] | readonly (readonly number[])[]

/** The share of a bucket's tokens that may be padding. */
const MOST_PADDING = 0.12

export class Inputs {
  readonly device: string
  readonly #tensors: Tensor[] = []
  readonly #signature: string[] = []

  readonly #isBucketed: boolean

  /** @param options.bucketed lengths go up in steps, so that few signatures come */
  constructor(device: string, { bucketed = false }: { bucketed?: boolean } = {}) {
    this.device = device
    this.#isBucketed = bucketed
  }

  /** How many tokens rows are padded to of which the longest has so many. */
  lengthOf(tokens: number): number {
    if (!this.#isBucketed) return tokens
    const step = 2 ** Math.max(0, Math.floor(Math.log2(tokens * MOST_PADDING)))
    return Math.ceil(tokens / step) * step
  }

  int64(values: Whole): Tensor<'int64'> {
    return this.#add(tensor(values as number[], { dtype: 'int64', device: this.device }))
  }

  /** @param values 0 and 1 */
  bool(values: Whole, shape?: readonly number[]): Tensor<'bool'> {
    const options = { dtype: 'bool', device: this.device, shape } as const
    return this.#add(tensor(values as number[], options))
  }

  /** Something else that the computation depends on. */
  note(what: string): void {
    this.#signature.push(what)
  }

  /** In the order in which they were made. */
  get tensors(): readonly Tensor[] {
    return this.#tensors
  }

  /** Inputs of one signature can take each other's place. */
  get signature(): string {
    return this.#signature.join(' ')
  }

  #add<T extends Tensor>(made: T): T {
    this.#tensors.push(made)
    this.note(`${made.dtype}[${made.shape.join()}]`)
    return made
  }
}
