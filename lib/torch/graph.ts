// Work that is done over and over on tensors that stay: captured once and launched as one on a GPU, run again
// everywhere else. Knows no model.

import { LoptError } from '../errors.js'
import { type GraphHandle, type NativeBinding, native } from '../native.js'
import { noGrad } from './autograd.js'
import { checkFunction, checkReceiver, kindOf } from './check.js'
import {
  binding,
  currentOwner,
  forgetApplied,
  inContext,
  isGradEnabled,
} from './context.js'
import { zeros } from './creation.js'
import { parseDevice } from './device.js'
import { keep, tidy } from './scope.js'
import { isTensor, type Tensor } from './tensor.js'

type Results = readonly Tensor[]
type Work<R extends Results> = () => R | Promise<R>

/** What was captured. */
interface Captured<R extends Results> {
  readonly handle: GraphHandle
  /** Where its kernels leave the results: memory that other graphs use on their way. */
  readonly inside: R
  /** Where they are copied to. */
  readonly outside: R
}

/** What `captureGraph` gives. */
export class CapturedGraph<R extends Results = Results> {
  /** null where its work was captured: what it holds on to may go. */
  readonly #run: Work<R> | null
  /** null where nothing is captured. */
  readonly #captured: Captured<R> | null
  #results: R | undefined
  #isDisposed = false

  /** @internal */
  constructor(run: Work<R>, captured: Captured<R> | null) {
    this.#run = captured === null ? run : null
    this.#captured = captured
    this.#results = captured?.outside
  }

  /**
   * Does the work again, with what its tensors hold now.
   *
   * @returns the results: the same tensors each time, which the next replay overwrites. They belong to the graph.
   * @throws what the work throws, where it is run again; LoptError `ERR_DISPOSED`.
   */
  async replay(): Promise<R> {
    checkReceiver(this, (object) => #run in object, 'a captured graph')
    if (this.#isDisposed) {
      throw new LoptError('ERR_DISPOSED', 'The graph was disposed of before')
    }
    if (this.#captured !== null) {
      const { handle, inside, outside } = this.#captured
      // Asked for at once: nothing is computed between the replay and the copies.
      await Promise.all([
        binding().graphReplay(handle),
        ...outside.map((one, i) => noGrad(() => one.copy_(inside[i] as Tensor))),
      ])
      return outside
    }
    await tidy(async () => {
      const run = this.#run as Work<R>
      const made = (await run()).map((one) => one.detach())
      const results = this.#results
      if (results === undefined) {
        this.#results = made.map((one) => keep(one.clone())) as Results as R
      } else {
        await Promise.all(made.map((one, i) => (results[i] as Tensor).copy_(one)))
      }
    })
    return this.#results as R
  }

  /** Frees what was captured, and the results. */
  async dispose(): Promise<void> {
    for (const one of await this.release()) one.dispose()
  }

  /** @internal Frees what was captured, and gives the results away: the memory that they take is theirs. */
  async release(): Promise<Results> {
    if (this.#isDisposed) return []
    this.#isDisposed = true
    for (const one of this.#captured?.inside ?? []) one.dispose()
    if (this.#captured !== null) await binding().graphDispose(this.#captured.handle)
    return this.#results ?? []
  }
}

/** Whether `captureGraph` captures on a device such as `cuda:0`, and does not run its work again. */
export function capturesGraphs(device: string): boolean {
  return native().graphCaptures(parseDevice(device))
}

/**
 * Captures what `work` asks of a device, to do all of it again in one launch. On a device that captures nothing, which is any
 * but CUDA, or in an addon that was built without CUDA's headers, `replay` runs `work` again: the same results, and
 * no gain.
 *
 * What is captured reads and writes the same memory each time: give it new values by `copy_` into the tensors that it
 * reads. While it is captured nothing is computed: it must not read values back, and must have run once before, so
 * that libraries have made their plans. Nor may it wait for what was asked for outside: the jobs of others wait until the capture ends.
 * Tensors that it makes are freed, but for the results. The grad mode is that of the call.
 *
 * @param device such as `cuda:0`
 * @returns a graph, whose results are there after its first `replay`
 * @throws TypeError; RangeError inside another capture; what `work` throws
 * @example
 * const x = zeros([8, 16], { device })
 * const graph = await captureGraph(device, () => [x.mul(2)])
 * await x.copy_(batch)
 * const [doubled] = await graph.replay()
 *
 * Source: `torch.cuda.graph`.
 */
export async function captureGraph<R extends Results>(
  device: string,
  work: Work<R>,
): Promise<CapturedGraph<R>> {
  checkFunction(work)
  if (currentOwner() !== 0) {
    throw new RangeError('A graph is being captured here already')
  }
  const gradEnabled = isGradEnabled()
  const run = () => inContext({ gradEnabled }, async () => checkResults(await work()))
  if (!capturesGraphs(device)) return new CapturedGraph(run, null)
  return await inTurn(async (owner) => {
    const handle = native().graphCreate(device)
    try {
      const inside = await inContext({ owner, gradEnabled }, () => capture(handle, run))
      return new CapturedGraph(run, { handle, inside, outside: emptyLike(inside) })
    } catch (error) {
      await native().graphDispose(handle)
      throw error
    }
  })
}

/**
 * Tensors of the same shapes.
 *
 * @throws LoptError where there is no memory for them; those given are freed then
 */
function emptyLike<R extends Results>(given: R): R {
  const made: Tensor[] = []
  try {
    for (const { shape, dtype, device } of given) {
      made.push(keep(zeros(shape, { dtype, device })))
    }
    return made as Results as R
  } catch (error) {
    for (const one of [...given, ...made]) one.dispose()
    throw error
  }
}

/** Between the two ends of a capture: the work's own jobs alone are run. */
async function capture<R extends Results>(
  handle: GraphHandle,
  run: () => Promise<R>,
): Promise<R> {
  await binding().claimExecutor()
  try {
    await binding().graphBegin(handle)
    return await tidy(async () => {
      const results = await run().catch(async (error) => {
        // A capture that its work broke cannot be ended well: the work says why.
        await binding()
          .graphEnd(handle)
          .catch(() => {})
        throw error
      })
      const detached = results.map((one) => one.detach())
      await binding().graphEnd(handle)
      return detached.map(keep) as Results as R
    })
  } finally {
    native().releaseExecutor()
    forgetApplied()
  }
}

const LAST = Symbol.for('lopt.lastCapture')
const OWNERS = Symbol.for('lopt.captures')

type Capturing = NativeBinding & { [LAST]?: Promise<unknown>; [OWNERS]?: number }

/** One capture after the other, no two with one number: on the addon, which a process has once. */
async function inTurn<T>(work: (owner: number) => Promise<T>): Promise<T> {
  const bound = native() as Capturing
  const before = bound[LAST] ?? Promise.resolve()
  const own = (bound[OWNERS] ?? 0) + 1
  bound[OWNERS] = own
  const result = before.then(() => work(own))
  bound[LAST] = result.catch(() => {})
  return await result
}

/** Runs `work` while nothing is captured here. Not from within a capture. */
export async function betweenCaptures<T>(work: () => T | Promise<T>): Promise<T> {
  return await inTurn(async () => await work())
}

function checkResults<R extends Results>(results: R): R {
  if (Array.isArray(results) && results.every(isTensor)) return results
  throw new TypeError(
    `Expected the work to give an array of Tensors but received ${kindOf(results)}`,
  )
}
