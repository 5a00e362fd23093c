// Runs whose steps are captured, and the same where none is. On a CPU a captured step is run again from inputs that stay.

import { afterAll, afterEach, beforeAll, expect, vi } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { StepGraphs } from '../../lib/inference/index.js'
import type { TrainEvent } from '../../lib/run/index.js'
import type { Tensor } from '../../lib/torch/index.js'
import { type TrainOptions, train } from '../../lib/train/index.js'
import { loadSmall, loadSmallT5, task } from './small-runs.js'

interface Backbones {
  /** To the bit in float32, whose products are oneDNN's. */
  gpt2: Backbone
  t5: Backbone
  /** In float64, whose products are MKL's: they may change in their last bit with where their factors lie in memory. */
  exact: { gpt2: Backbone; t5: Backbone }
}

/** Of the tests of a file, there when they run. */
export function capturedBackbones(): Backbones {
  const made = { exact: {} } as Backbones
  beforeAll(async () => {
    made.gpt2 = await loadSmall()
    made.t5 = await loadSmallT5()
    made.exact = { gpt2: await loadSmall('float64'), t5: await loadSmallT5('float64') }
  })
  afterAll(() => {
    for (const one of [made.gpt2, made.t5, made.exact.gpt2, made.exact.t5]) one.dispose()
  })
  afterEach(() => vi.restoreAllMocks())
  return made
}

/** The same steps with the same buckets, none of which is captured. */
export function captureNothing() {
  vi.spyOn(StepGraphs.prototype, 'run').mockImplementation((_, work) => work())
}

export async function eventsOf(options: Partial<TrainOptions>): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  const settings = { task, steps: 12, batchSize: 4, evalEvery: 5, ...options }
  for await (const event of train(settings as TrainOptions)) events.push(event)
  return events
}

/** What no clock and no memory is in. */
export function figuresOf(events: readonly TrainEvent[]) {
  return events.map((event) => {
    const { seconds, peakMemoryBytes, ...own } = event as TrainEvent &
      Record<string, unknown>
    return own
  })
}

export const lossesOf = (events: readonly TrainEvent[]) =>
  events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))

export const numbersOf = (one: Tensor) => Array.from(one.data(), Number)

export function expectNear(found: readonly number[], expected: readonly number[]) {
  found.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] as number))).toBeLessThan(1e-9)
  })
}
