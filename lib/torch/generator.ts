// The random number generators that draws take: a caller's, or the process's own. Knows nothing of what
// is drawn.

import { randomInt } from 'node:crypto'
import { type GeneratorHandle, type NativeBinding, native } from '../native.js'
import { checkInteger, checkObject, kindOf } from './check.js'

/** The seed of PyTorch's `torch.Generator()` (c10/core/GeneratorImpl.h). */
const DEFAULT_SEED = 67280421310721

let read: (value: unknown, name: string) => GeneratorHandle

/**
 * A stream of random numbers with a state of its own. It is always on the CPU: the same seed gives
 * the same draws whatever device they end up on.
 *
 * @example
 * const noise = randn([2, 3], { generator: new Generator({ seed: 0 }) })
 */
export class Generator {
  readonly #handle: GeneratorHandle

  static {
    read = (value, name) => {
      if (typeof value === 'object' && value !== null && #handle in value)
        return value.#handle
      throw new TypeError(
        `Expected a Generator for ${name} but received ${kindOf(value)}`,
      )
    }
  }

  /**
   * @param options.seed an integer from 0 to 2^53 - 1, default 67280421310721: always the same, as
   *   that of PyTorch's `torch.Generator()`
   * @throws TypeError for a seed that is no integer; RangeError for a negative one.
   */
  constructor(options: { seed?: number } = {}) {
    const { seed = DEFAULT_SEED } = checkObject(options)
    this.#handle = seeded(seed)
  }

  /** A copy of the state, to be given to `setState`. */
  state(): Uint8Array {
    return native().generatorState(read(this, 'this'))
  }

  /**
   * Continues from `state`, which came from a generator's `state()`.
   *
   * @throws TypeError for something else than bytes; RangeError for bytes that are no state.
   */
  setState(state: Uint8Array): void {
    const handle = read(this, 'this')
    if (!(state instanceof Uint8Array)) {
      throw new TypeError(
        `Expected state to be a Uint8Array but received ${kindOf(state)}`,
      )
    }
    native().generatorSetState(handle, state)
  }
}

/**
 * Seeds the process's own generator, which draws take that are given none: `torch.manual_seed`. They are then
 * those of `new Generator({ seed })`. Without this call its seed comes from the system's randomness. Each
 * worker has one of its own. This library's models, prompts and training never draw from it.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * @throws TypeError for a seed that is no integer; RangeError for a negative one.
 */
export function manualSeed(seed: number): void {
  shared()[OWN] = seeded(seed)
}

/** The process's own for undefined. @throws TypeError for anything else but a Generator. */
export function generatorHandleOf(generator: unknown): GeneratorHandle {
  if (generator !== undefined) return read(generator, 'generator')
  const place = shared()
  place[OWN] ??= seeded(randomInt(2 ** 48 - 1))
  return place[OWN]
}

// On the addon, as the grad mode (context.ts): a process may load this package twice, as ESM and as
// CommonJS, but the addon once.
const OWN = Symbol.for('lopt.generator')

function shared(): NativeBinding & { [OWN]?: GeneratorHandle } {
  return native()
}

function seeded(seed: number): GeneratorHandle {
  if (checkInteger(seed, 'seed') < 0) {
    throw new RangeError(`Expected seed to be 0 or more but received ${seed}`)
  }
  return native().generatorCreate(seed)
}
