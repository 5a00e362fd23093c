// What a page shows of a run: its losses, its figure on dev, and how far it is. Takes lines of its log, and knows no file.

import { z } from 'zod'
import type { Figures, LogLines } from '../../run/index.js'
import { Curve, type Point } from './curve.js'

const number = z.number()
const eventSchema = z.looseObject({
  type: z.string(),
  step: z.int().min(0).optional(),
  steps: z.int().min(0).optional(),
  seconds: number.optional(),
  message: z.string().optional(),
})

type Event = z.infer<typeof eventSchema>

export type RunState = 'waiting' | 'running' | 'done' | 'failed'

export class RunCurves implements LogLines {
  readonly #figure: keyof Figures
  #loss = new Curve()
  #dev = new Curve()
  #state: RunState = 'waiting'
  #failure: string | null = null
  #step = 0
  #steps: number | null = null
  #seconds = 0
  #best: Point | null = null
  #broken = 0

  /** @param figure what the run is judged by */
  constructor(figure: keyof Figures) {
    this.#figure = figure
  }

  restart(): void {
    this.#loss = new Curve()
    this.#dev = new Curve()
    this.#state = 'waiting'
    this.#failure = null
    this.#step = 0
    this.#steps = null
    this.#seconds = 0
    this.#best = null
    this.#broken = 0
  }

  take(line: string): void {
    const event = eventOf(line)
    if (event === undefined) this.#broken += 1
    else this.#event(event)
  }

  get answer() {
    return {
      state: this.#state,
      failure: this.#failure,
      step: this.#step,
      steps: this.#steps,
      seconds: this.#seconds,
      best: this.#best,
      loss: this.#loss.points,
      dev: this.#dev.points,
      broken: this.#broken,
    }
  }

  #event(event: Event): void {
    const { type, step } = event
    if (type === 'start') this.#steps = event.steps ?? null
    if (type === 'failed') this.#failure = event.message?.slice(0, 1000) ?? ''
    this.#state = type === 'done' ? 'done' : type === 'failed' ? 'failed' : 'running'
    if (step === undefined) return
    this.#step = step
    if (type === 'step') {
      add(this.#loss, step, event.loss)
      this.#seconds = event.seconds ?? this.#seconds
    }
    if (type === 'eval') {
      const value = event[this.#figure]
      add(this.#dev, step, value)
      if (event.best === true && typeof value === 'number') this.#best = [step, value]
    }
  }
}

/** A value that is not finite is null in the log. */
function add(curve: Curve, step: number, value: unknown): void {
  if (typeof value === 'number') curve.add(step, value)
}

function eventOf(line: string): Event | undefined {
  try {
    return eventSchema.parse(JSON.parse(line))
  } catch {
    return undefined
  }
}
