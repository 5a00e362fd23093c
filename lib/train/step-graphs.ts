// Steps of training that are captured, one for each signature of their inputs. Knows no prompt and no loss.

import { LoptError } from '../errors.js'
import type { Inputs } from '../inference/index.js'
import { type CapturedGraph, captureGraph, keep, type Tensor } from '../torch/index.js'

/** Graphs that are kept: those that were used last. Each holds the memory that its results take. */
const MOST_GRAPHS = 64

interface Captured {
  readonly graph: CapturedGraph
  /** What it reads. */
  readonly inputs: readonly Tensor[]
}

type Work = () => Promise<readonly Tensor[]>

export class StepGraphs {
  readonly #device: string
  readonly #most: number
  /** By signature, the one that was used last at the end; undefined: seen once, and not captured. */
  readonly #known = new Map<string, Captured | undefined>()

  constructor(device: string, { most = MOST_GRAPHS }: { most?: number } = {}) {
    this.#device = device
    this.#most = most
  }

  /** Graphs that are there. */
  get count(): number {
    return [...this.#known.values()].filter((one) => one !== undefined).length
  }

  /**
   * What `work` gives for these inputs. The first time that a signature comes, it is done as it stands: libraries make
   * their plans then, and a batch's shape that comes once is not worth a capture. The next time it is captured, and from
   * then on replayed with other inputs in the place of its own.
   *
   * @returns tensors that last until the next call
   * @throws as `work`; LoptError `ERR_OUT_OF_MEMORY` where a graph finds no memory beside what other steps keep
   */
  async run(inputs: Inputs, work: Work): Promise<readonly Tensor[]> {
    const { signature } = inputs
    const captured = this.#known.get(signature)
    if (captured !== undefined) {
      this.#use(signature, captured)
      await Promise.all(
        captured.inputs.map((own, i) => own.copy_(inputs.tensors[i] as Tensor)),
      )
      return await captured.graph.replay()
    }
    if (!this.#known.has(signature)) {
      this.#use(signature, undefined)
      await this.#shrink()
      return await work()
    }
    const graph = await captureGraph(this.#device, work).catch((error) => {
      throw withAdvice(error)
    })
    const made = { graph, inputs: inputs.tensors.map(keep) }
    this.#use(signature, made)
    return await made.graph.replay()
  }

  #use(signature: string, captured: Captured | undefined): void {
    this.#known.delete(signature)
    this.#known.set(signature, captured)
  }

  async #shrink(): Promise<void> {
    for (const [signature, captured] of this.#known) {
      if (this.#known.size <= this.#most) return
      this.#known.delete(signature)
      if (captured !== undefined) await free(captured)
    }
  }

  async dispose(): Promise<void> {
    const all = [...this.#known.values()]
    this.#known.clear()
    for (const captured of all) if (captured !== undefined) await free(captured)
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
