// The random number generator that every draw takes. Knows nothing of what is drawn.

import { type GeneratorHandle, native } from '../native.js'
import { checkInteger, kindOf } from './check.js'

let read: (value: unknown) => GeneratorHandle

/**
 * A stream of random numbers with a state of its own. It is always on the CPU: the same seed gives
 * the same draws whatever device they end up on.
 */
export class Generator {
  readonly #handle: GeneratorHandle

  static {
    read = (value) => {
      if (typeof value === 'object' && value !== null && #handle in value)
        return value.#handle
      throw new TypeError(
        `Expected a Generator for generator but received ${kindOf(value)}`,
      )
    }
  }

  /**
   * @param options.seed an integer from 0 to 2^53 - 1
   * @throws TypeError for a seed that is no integer; RangeError for a negative one.
   */
  constructor({ seed }: { seed: number }) {
    if (checkInteger(seed, 'seed') < 0) {
      throw new RangeError(`Expected seed to be 0 or more but received ${seed}`)
    }
    this.#handle = native().generatorCreate(seed)
  }

  /** A copy of the state, to be given to `setState`. */
  state(): Uint8Array {
    return native().generatorState(this.#handle)
  }

  /**
   * Continues from `state`, which came from a generator's `state()`.
   *
   * @throws TypeError for something else than bytes; RangeError for bytes that are no state.
   */
  setState(state: Uint8Array): void {
    if (!(state instanceof Uint8Array)) {
      throw new TypeError(
        `Expected state to be a Uint8Array but received ${kindOf(state)}`,
      )
    }
    native().generatorSetState(this.#handle, state)
  }
}

/** @throws TypeError for anything but a Generator. */
export function generatorHandleOf(generator: unknown): GeneratorHandle {
  return read(generator)
}
