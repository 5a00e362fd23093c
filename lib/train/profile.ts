// Records some steps of a training run and writes a trace of them. Knows no loss and no optimizer: the
// loop says which phase it is in.

import { dirname } from 'node:path'
import { makeFolder, writeFileAtomic } from '../atomic-file.js'
import type { Backbone } from '../backbone/index.js'
import { type RecordedStep, type Span, traceChunks } from '../run/index.js'
import { recordOps } from '../torch/index.js'

/** Which steps are profiled, and where the trace goes. */
export interface ProfileOptions {
  /** Of the trace, a JSON file; its folder is made. */
  path: string
  /** Steps that are recorded, 1..100, default 3. */
  steps?: number
  /**
   * Steps before them, which allocate memory that later steps use again, default 3; fewer where the run
   * would end before all are recorded.
   */
  warmupSteps?: number
}

/** What the loop does in a step, and what it calls of the backbone. */
export type Phase = 'prompt' | 'loss' | 'backward' | 'optimizer' | BackboneCall

const BACKBONE_CALLS = [
  'embed',
  'run',
  'runBehind',
  'runWithPrefixes',
  'head',
  'encode',
  'crossKeyValues',
  'decode',
  'decodeEncoded',
] as const

type BackboneCall = (typeof BACKBONE_CALLS)[number]

/** Does nothing without settings, and nothing in steps that are not recorded. */
export class Profiler {
  readonly #settings: Required<ProfileOptions> | undefined
  readonly #lastStep: number
  #first: number | undefined
  /** The phases of the step that is being recorded. */
  #spans: Span[] | undefined
  #recorded: RecordedStep[] = []

  /** @param lastStep of the run */
  constructor(settings: Required<ProfileOptions> | undefined, lastStep: number) {
    this.#settings = settings
    this.#lastStep = lastStep
  }

  /** The backbone, its calls being phases. */
  watch<B extends Backbone>(backbone: B): B {
    if (this.#settings === undefined) return backbone
    const phase = this.phase.bind(this)
    // A proxy and not a copy: a backbone has private state and getters.
    return new Proxy(backbone, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        const call = BACKBONE_CALLS.find((one) => one === name)
        return (...given: unknown[]) =>
          call === undefined
            ? value.apply(target, given)
            : phase(call, () => value.apply(target, given))
      },
    })
  }

  async phase<T>(name: Phase, fn: () => Promise<T>): Promise<T> {
    return await this.#span(name, fn)
  }

  /**
   * Runs a step.
   *
   * @param step from 1; the first call says where the run begins
   * @throws RangeError while another recording of ops goes on in the process.
   */
  async step<T>(step: number, fn: () => Promise<T>): Promise<T> {
    if (!this.#isRecorded(step)) return await fn()
    const spans: Span[] = []
    this.#spans = spans
    try {
      const whole = () => this.#span(`step ${step}`, fn)
      const { value, startMs, ops } = await recordOps(whole, { inputs: true })
      this.#recorded.push({ startMs, spans, ops })
      return value
    } finally {
      this.#spans = undefined
    }
  }

  /**
   * Writes the trace if `step` is the last one of it.
   *
   * @returns its path, or undefined where nothing was written
   * @throws LoptError `ERR_IO`.
   */
  async save(step: number): Promise<string | undefined> {
    if (!this.#isRecorded(step) || this.#isRecorded(step + 1)) return undefined
    const { path } = this.#settings as Required<ProfileOptions>
    await makeFolder(dirname(path))
    await writeFileAtomic(path, traceChunks(this.#recorded))
    this.#recorded = []
    return path
  }

  #isRecorded(step: number): boolean {
    if (this.#settings === undefined || step > this.#lastStep) return false
    const { steps, warmupSteps } = this.#settings
    const left = this.#lastStep - step + 1
    this.#first ??= step + Math.max(0, Math.min(warmupSteps, left - steps))
    return step >= this.#first && step < this.#first + steps
  }

  async #span<T>(name: string, fn: () => Promise<T>): Promise<T> {
    const spans = this.#spans
    if (spans === undefined) return await fn()
    const startMs = performance.now()
    try {
      return await fn()
    } finally {
      spans.push({ name, startMs, endMs: performance.now() })
    }
  }
}
