// What rows become on a device before anything is computed with them: numbers, and a signature of all that the shapes
// of a computation depend on. Knows no row.

import { isTf32Allowed } from '../torch/device.js'
import { type FloatDType, stack, type Tensor, tensor } from '../torch/index.js'
import type { TextStore } from './text-store.js'

type Whole = readonly number[] | readonly (readonly number[])[]

/** The share of a bucket's tokens that may be padding, where it is not one of a few tokens. */
const MOST_PADDING = 0.12
const LEAST_STEP = 4

/** Tokens of a label, which is the same for many rows: not more are run of it than it has. */
const LABEL_TOKENS = 4
/** Tokens of a text that answers, and of all such texts, that take little beside a step's launches. */
const SHORT_ANSWER = 32
const FEW_PREDICTED = 64

/** Tensors of one shape that come of kept texts, when it is the rows' turn. */
type OfTexts = (texts: TextStore) => Promise<readonly Tensor[]>

interface InputOptions {
  bucketed?: boolean
  anyPrompts?: boolean
}

/** Up to so many rows take a GPU about as long as one. */
const FEW_ROWS = 16

export class Inputs {
  readonly device: string
  readonly #tensors: Tensor[] = []
  readonly #signature: string[] = []
  readonly #later = new Map<OfTexts, Tensor | undefined>()

  /** Whether few signatures are to come. */
  readonly isBucketed: boolean

  /** Whether it is an input, too, which prompt a row has, where that changes nothing else. */
  readonly takesAnyPrompts: boolean

  /**
   * @param options.bucketed lengths go up in steps, so that few signatures come
   * @param options.anyPrompts rows of one signature may have any of their prompts
   */
  constructor(
    device: string,
    { bucketed = false, anyPrompts = false }: InputOptions = {},
  ) {
    this.device = device
    this.isBucketed = bucketed
    this.takesAnyPrompts = anyPrompts
    if (isTf32Allowed()) this.note('factors rounded')
  }

  /** How many tokens rows are padded to of which the longest has so many. */
  lengthOf(tokens: number): number {
    if (!this.isBucketed) return tokens
    const step = 2 ** Math.floor(Math.log2(Math.max(LEAST_STEP, tokens * MOST_PADDING)))
    return Math.ceil(tokens / step) * step
  }

  /** How many of something are computed of which so many are asked for, `most` at most. */
  countOf(count: number, most = Number.POSITIVE_INFINITY): number {
    if (!this.isBucketed || count === 0) return count
    return Math.min(most, 2 ** Math.ceil(Math.log2(count)))
  }

  /** How many rows are computed of which there are so many. */
  rowsOf(count: number): number {
    return count > FEW_ROWS ? this.lengthOf(count) : this.countOf(count)
  }

  /** How many tokens are run of what answers each row, of which the longest has so many. */
  answerOf(tokens: number): number {
    if (!this.isBucketed || tokens <= LABEL_TOKENS) return tokens
    return tokens > SHORT_ANSWER ? this.lengthOf(tokens) : this.countOf(tokens)
  }

  /** How many tokens are predicted of which so many are asked for, `most` at most. */
  predictedOf(count: number, most: number): number {
    const isMany = count > FEW_PREDICTED
    return Math.min(most, isMany ? this.lengthOf(count) : this.countOf(count))
  }

  int64(values: Whole): Tensor<'int64'> {
    return this.#add(tensor(values as number[], { dtype: 'int64', device: this.device }))
  }

  /** @param values 0 and 1 */
  bool(values: Whole, shape?: readonly number[]): Tensor<'bool'> {
    const options = { dtype: 'bool', device: this.device, shape } as const
    return this.#add(tensor(values as number[], options))
  }

  /** A figure of each row, [rows, 1]. */
  float(values: readonly number[], dtype: FloatDType): Tensor {
    const rows = values.map((value) => [value])
    return this.#add(tensor(rows, { dtype, device: this.device }))
  }

  /** What was made on the CPU. */
  moved(made: Tensor): Tensor {
    if (this.device === 'cpu') return this.#add(made)
    const isPinned = this.device.startsWith('cuda')
    const from = isPinned ? made.pinMemory() : made
    return this.#add(from.to({ device: this.device, nonBlocking: isPinned }))
  }

  /** A copy of what is on the device already. */
  copied(given: Tensor): Tensor {
    return this.#add(given.clone())
  }

  /** What `bring` computes before anything is captured; without it, it is computed where it is asked for. */
  later(make: OfTexts): OfTexts {
    this.#later.set(make, undefined)
    return async (texts) => {
      const all = this.#later.get(make)
      if (all === undefined) return await make(texts)
      return Array.from({ length: all.shape[0] as number }, (_, i) => all.select(0, i))
    }
  }

  /** Computes what was left for later: it is an input from then on. */
  async bring(texts: TextStore | null | undefined): Promise<void> {
    for (const [make, made] of this.#later) {
      if (made !== undefined) continue // before memory ran out
      this.#later.set(make, this.#add(stack([...(await make(texts as TextStore))])))
    }
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
