// Steps that are captured, one for each signature of their inputs. Knows no prompt, no loss and no token.

import { LoptError } from '../errors.js'
import { type CapturedGraph, captureGraph, keep, type Tensor } from '../torch/index.js'
import type { Inputs } from './inputs.js'

/** Graphs that are kept: those that were used last. Each holds the memory that its results take. */
const MOST_GRAPHS = 64

interface Captured {
  readonly graph: CapturedGraph
  /** What it reads. */
  readonly inputs: readonly Tensor[]
}

type Work = () => Promise<readonly Tensor[]>

/** Kinds of steps that are remembered as not captured yet, where several signatures are of one kind. */
const MOST_KINDS = 2 ** 14

export class StepGraphs {
  readonly #device: string
  readonly #most: number
  /** By signature, the one that was used last at the end. */
  readonly #captured = new Map<string, Captured>()
  /** What was done once and is captured the next time. */
  readonly #seen = new Set<string>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(device: string, { most = MOST_GRAPHS }: { most?: number } = {}) {
    this.#device = device
    this.#most = most
  }

  /** Graphs that are there. */
  get count(): number {
    return this.#captured.size
  }

  /**
   * What `work` gives for these inputs. The first time that its kind comes, it is done as it stands: libraries make
   * their plans then. The next time it is captured, and from then on replayed with other inputs in the place of its own.
   *
   * @param kind the signature unless given: a batch's shape that comes once is not worth a capture
   * @returns tensors that last until the next call
   * @throws as `work`; LoptError `ERR_OUT_OF_MEMORY` where a graph finds no memory beside what other steps keep
   */
  async run(
    inputs: Inputs,
    work: Work,
    kind = inputs.signature,
  ): Promise<readonly Tensor[]> {
    const { signature } = inputs
    const captured = this.#captured.get(signature)
    if (captured !== undefined) {
      this.#use(signature, captured)
      await Promise.all(
        captured.inputs.map((own, i) => own.copy_(inputs.tensors[i] as Tensor)),
      )
      return await captured.graph.replay()
    }
    if (!this.#seen.has(kind)) {
      // A signature that comes again after so many others would be captured, and freed before it comes once more.
      const most = kind === signature ? this.#most : MOST_KINDS
      const [oldest] = this.#seen
      if (oldest !== undefined && this.#seen.size >= most) this.#seen.delete(oldest)
      this.#seen.add(kind)
      return await work()
    }
    await this.#shrinkTo(this.#most - 1)
    const graph = await captureGraph(this.#device, work).catch((error) => {
      throw withAdvice(error)
    })
    const made = { graph, inputs: inputs.tensors.map(keep) }
    this.#use(signature, made)
    return await made.graph.replay()
  }

  /** `run` for calls that overlap: one is done with its tensors before the next gets any. */
  async runInTurn<T>(
    inputs: Inputs,
    work: Work,
    use: (results: readonly Tensor[]) => Promise<T>,
  ): Promise<T> {
    const turn = this.#last.then(async () => await use(await this.run(inputs, work)))
    this.#last = turn.catch(() => {})
    return await turn
  }

  #use(signature: string, captured: Captured): void {
    this.#captured.delete(signature)
    this.#captured.set(signature, captured)
  }

  async #shrinkTo(count: number): Promise<void> {
    for (const [signature, captured] of this.#captured) {
      if (this.#captured.size <= count) return
      this.#captured.delete(signature)
      await free(captured)
    }
  }

  /** Frees the graphs; others may come. */
  async dispose(): Promise<void> {
    await this.#shrinkTo(0)
  }
}

function withAdvice(error: unknown): unknown {
  if (!(error instanceof LoptError) || error.code !== 'ERR_OUT_OF_MEMORY') return error
  const advice =
    'what is captured has memory of its own: without graphs a step takes less'
  return new LoptError(error.code, `${error.message} (${advice})`, { cause: error })
}

async function free({ graph, inputs }: Captured): Promise<void> {
  await graph.dispose()
  for (const one of inputs) one.dispose()
}
