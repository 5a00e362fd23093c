// What rows become on a device before anything is computed with them: whole numbers, and a signature of all that the shapes
// of a computation depend on. Knows no row.

import { type Tensor, tensor } from '../torch/index.js'

type Whole = readonly number[] | readonly (readonly number[])[]

export class Inputs {
  readonly device: string
  readonly #tensors: Tensor[] = []
  readonly #signature: string[] = []

  constructor(device: string) {
    this.device = device
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
