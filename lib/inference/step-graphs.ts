// Steps that are captured, one for each signature of their inputs, and go when their memory is needed. Knows no prompt, no
// loss and no token.

import { LoptError } from '../errors.js'
import { betweenCaptures } from '../torch/graph.js'
import {
  type CapturedGraph,
  captureGraph,
  emptyCache,
  itemSize,
  keep,
  releaseMemory,
  synchronize,
  type Tensor,
  tidy,
} from '../torch/index.js'
import type { Inputs } from './inputs.js'

/** Graphs that are kept: those that were used last. Each holds the memory that its results take. */
const MOST_GRAPHS = 64
/** Bytes of inputs that graphs keep: what kept texts and prompts give is among them. */
const MOST_BYTES = 2 ** 30

interface Captured {
  readonly graph: CapturedGraph
  /** What it reads. */
  readonly inputs: readonly Tensor[]
}

type Work = () => Promise<readonly Tensor[]>

export interface StepOptions {
  /** The inputs' signature unless given: a batch's shape that comes once is not worth a capture. */
  readonly kind?: string
  /**
   * Takes back what work that failed has left behind, before it is done again; false where it cannot. Without it, there is
   * nothing to be taken back.
   *
   * @param wasComputed a capture that failed has changed no tensor's elements
   */
  readonly restart?: (wasComputed: boolean) => Promise<boolean>
}

interface StepGraphsOptions {
  most?: number | undefined
  mostBytes?: number | undefined
  /** One of those that all steps read: once it is gone nothing is replayed. */
  weight?: Tensor | undefined
}

/** Kinds of steps that are remembered as not captured yet, where several signatures are of one kind. */
const MOST_KINDS = 2 ** 14

/** Those that have graphs. */
const keepers = new Set<WeakRef<StepGraphs>>()

export class StepGraphs {
  readonly #device: string
  readonly #most: number
  readonly #mostBytes: number
  readonly #weight: Tensor | undefined
  /** How others know it, without keeping it alive. */
  readonly #self = new WeakRef(this)
  /** By signature, the one that was used last at the end. */
  readonly #captured = new Map<string, Captured>()
  /** What was done once and is captured the next time. */
  readonly #seen = new Set<string>()
  #last: Promise<unknown> = Promise.resolve()
  /** While a graph is replayed. */
  #replaying: Promise<unknown> | undefined
  /** What the last replay gave. */
  #given: readonly Tensor[] = []
  /** The same, where its graph went since. */
  #orphaned: readonly Tensor[] = []

  constructor(
    device: string,
    { most = MOST_GRAPHS, mostBytes = MOST_BYTES, weight }: StepGraphsOptions = {},
  ) {
    this.#device = device
    this.#most = most
    this.#mostBytes = mostBytes
    this.#weight = weight
  }

  /** Graphs that are there. */
  get count(): number {
    return this.#captured.size
  }

  /**
   * What `work` gives for these inputs. The first time that its kind comes, it is done as it stands: libraries make
   * their plans then. The next time it is captured, and from then on replayed with other inputs in the place of its own.
   * Where there is no memory for it beside graphs that are kept, it is done once more without them (`withRoom`).
   *
   * @returns tensors that last until the next call
   * @throws as `work`; LoptError `ERR_OUT_OF_MEMORY` where a graph finds no memory
   */
  async run(
    inputs: Inputs,
    work: Work,
    { kind = inputs.signature, restart }: StepOptions = {},
  ): Promise<readonly Tensor[]> {
    this.#dropOrphaned()
    const { signature } = inputs
    // A replay takes no memory.
    const captured = this.#captured.get(signature)
    if (captured !== undefined) return await this.#replay(captured, inputs)
    let isCapture = false
    let wasComputed = false
    const attempt = async () => {
      isCapture = this.#seen.has(kind)
      wasComputed = !isCapture
      if (!isCapture) {
        const results = await tidy(work)
        this.#see(kind, kind === signature)
        return results
      }
      const graph = await this.#capture(work)
      wasComputed = true
      return await this.#keep(graph, inputs)
    }
    try {
      const again = restart && (() => restart(wasComputed))
      return await withRoom(this.#device, attempt, again)
    } catch (error) {
      throw isCapture ? withAdvice(error) : error
    }
  }

  #see(kind: string, isSignature: boolean): void {
    // A signature that comes again after so many others would be captured, and freed before it comes once more.
    const most = isSignature ? this.#most : MOST_KINDS
    const [oldest] = this.#seen
    if (oldest !== undefined && this.#seen.size >= most) this.#seen.delete(oldest)
    this.#seen.add(kind)
  }

  async #capture(work: Work): Promise<CapturedGraph> {
    await this.#shrinkTo(this.#most - 1)
    return await captureGraph(this.#device, work)
  }

  /** Replays a new graph, and keeps it with the inputs that it was captured with. */
  async #keep(graph: CapturedGraph, inputs: Inputs): Promise<readonly Tensor[]> {
    try {
      this.#given = await graph.replay()
      this.#checkWeight() // or nobody would free it
      this.#use(inputs.signature, { graph, inputs: inputs.tensors.map(keep) })
      await this.#shrinkToBytes()
      return this.#given
    } catch (error) {
      await graph.dispose()
      throw error
    }
  }

  async #replay(captured: Captured, inputs: Inputs): Promise<readonly Tensor[]> {
    this.#checkWeight()
    this.#use(inputs.signature, captured)
    const replay = async () => {
      await Promise.all(
        captured.inputs.map((own, i) => own.copy_(inputs.tensors[i] as Tensor)),
      )
      return await captured.graph.replay()
    }
    const replayed = replay()
    this.#replaying = replayed
    try {
      this.#given = await replayed
      return this.#given
    } finally {
      this.#replaying = undefined
    }
  }

  /** A replay would read whatever is there now. */
  #checkWeight(): void {
    if (this.#weight?.isDisposed) {
      throw new LoptError('ERR_DISPOSED', 'The backbone was disposed of before')
    }
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
    keepers.add(this.#self)
  }

  async #shrinkToBytes(): Promise<void> {
    let bytes = 0
    let count = 0 // that fit, those that were used last first
    for (const { inputs } of [...this.#captured.values()].reverse()) {
      bytes += inputs.reduce((sum, one) => sum + one.numel * itemSize(one.dtype), 0)
      if (count > 0 && bytes > this.#mostBytes) break
      count += 1
    }
    await this.#shrinkTo(count)
  }

  async #shrinkTo(count: number): Promise<void> {
    const gone = [...this.#captured].slice(0, Math.max(0, this.#captured.size - count))
    for (const [signature] of gone) this.#captured.delete(signature)
    if (this.#captured.size === 0) keepers.delete(this.#self)
    // All of them are asked for at once: nobody may wait.
    await Promise.all(gone.map(([, captured]) => this.#free(captured)))
  }

  async #free({ graph, inputs }: Captured): Promise<void> {
    const results = await graph.release()
    if (results === this.#given) this.#orphaned = results
    else for (const one of results) one.dispose()
    for (const one of inputs) one.dispose()
  }

  #dropOrphaned(): void {
    for (const one of this.#orphaned) one.dispose()
    this.#orphaned = []
  }

  /** Whether there are graphs on a device. */
  keepsOn(device: string): boolean {
    return this.#device === device && this.#captured.size > 0
  }

  /** Frees the graphs, but not what the last replay gave; others may come. */
  async clear(): Promise<void> {
    while (this.#replaying !== undefined) await this.#replaying.catch(() => {})
    await this.#shrinkTo(0)
  }

  /** Frees the graphs, and what the last replay gave; others may come. */
  async dispose(): Promise<void> {
    await this.clear()
    this.#dropOrphaned()
  }
}

/**
 * What `work` gives. Where it finds no memory beside graphs that are kept on its device, of whatever steps, they are freed,
 * what was used last at the end, and it is done once more. All of them: what graphs use on their way is memory that all of a
 * device share, and that is given back when the last of them goes.
 *
 * @param restart takes back what work that failed has left behind; false where it cannot. Without it there is nothing
 */
export async function withRoom<T>(
  device: string,
  work: () => Promise<T>,
  restart?: () => Promise<boolean>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const kept = isOutOfMemory(error) ? [...keepers].map((one) => one.deref()) : []
    const there = kept.filter((one) => one?.keepsOn(device))
    if (there.length === 0 || (await restart?.()) === false) throw error
    for (const one of there) await one?.clear()
    await betweenCaptures(() => giveBack(device))
    return await work()
  }
}

/** What calls keep for later, and what no tensor uses any more, once the device is done with it. */
async function giveBack(device: string): Promise<void> {
  releaseMemory()
  await synchronize(device)
  if (device !== 'cpu') emptyCache(device)
}

function isOutOfMemory(error: unknown): error is LoptError {
  return error instanceof LoptError && error.code === 'ERR_OUT_OF_MEMORY'
}

function withAdvice(error: unknown): unknown {
  if (!isOutOfMemory(error)) return error
  const advice =
    'what is captured has memory of its own: without graphs a step takes less'
  return new LoptError(error.code, `${error.message} (${advice})`, { cause: error })
}
