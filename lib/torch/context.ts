// What surrounds a call: the scope that owns new tensors, grad mode, and whose work it is. All live in one
// AsyncLocalStorage, so that interleaved async functions do not meet. Knows no tensor.

import { AsyncLocalStorage } from 'node:async_hooks'
import { type NativeBinding, native } from '../native.js'

interface Owned {
  dispose(): void
}

/** The tensors made inside one `tidy`. */
export class Scope {
  readonly parent: Scope | null
  readonly #owned = new Set<Owned>()
  #open = true

  constructor(parent: Scope | null) {
    this.parent = parent
  }

  get isOpen(): boolean {
    return this.#open
  }

  add(tensor: Owned): void {
    this.#owned.add(tensor)
  }

  delete(tensor: Owned): void {
    this.#owned.delete(tensor)
  }

  /** Disposes of what it still owns; later tensors go to an ancestor. */
  close(): void {
    this.#open = false
    for (const tensor of this.#owned) tensor.dispose()
    this.#owned.clear()
  }
}

interface Context {
  readonly scope: Scope | null
  readonly gradEnabled: boolean
  /** Which capture of a graph it belongs to; 0: none. */
  readonly owner: number
}

const storage = new AsyncLocalStorage<Context>()
const outermost: Context = { scope: null, gradEnabled: true, owner: 0 }

function context(): Context {
  return storage.getStore() ?? outermost
}

/** Runs `fn`, and what it awaits, in a context that differs from the present one by `change`. */
export function inContext<R>(change: Partial<Context>, fn: () => R): R {
  return storage.run({ ...context(), ...change }, fn)
}

/** `scope` or its nearest ancestor that is still open. */
export function nearestOpen(scope: Scope | null): Scope | null {
  let nearest = scope
  while (nearest !== null && !nearest.isOpen) nearest = nearest.parent
  return nearest
}

/** The scope that owns tensors made now. */
export function currentScope(): Scope | null {
  return nearestOpen(context().scope)
}

/**
 * Whether ops build a graph here.
 *
 * Source: `torch.is_grad_enabled`.
 */
export function isGradEnabled(): boolean {
  return context().gradEnabled
}

/** Which capture of a graph calls belong to here; 0: none. */
export function currentOwner(): number {
  return context().owner
}

// Beside the modes themselves, on the addon: a process may load this package twice, as ESM and
// as CommonJS, but the addon once.
const APPLIED = Symbol.for('lopt.applied')

type Applied = Omit<Context, 'scope'>

/**
 * The addon, set to this context's grad mode and owner: libtorch keeps the one by thread, the executor the other, and a
 * job takes over both when it is submitted. Every call that computes goes through here.
 */
export function binding(): NativeBinding {
  const bound = native() as NativeBinding & { [APPLIED]?: Applied }
  const { gradEnabled, owner } = context()
  const applied = bound[APPLIED]
  if (gradEnabled === applied?.gradEnabled && owner === applied.owner) return bound
  bound.setGradEnabled(gradEnabled)
  bound.setOwner(owner)
  bound[APPLIED] = { gradEnabled, owner }
  return bound
}

/** The next call sets both anew: what they mean has changed. */
export function forgetApplied(): void {
  delete (native() as { [APPLIED]?: Applied })[APPLIED]
}
