// Who frees what: `tidy` frees what a function made and did not return. Knows no op.

import { native } from '../native.js'
import { checkFunction } from './check.js'
import { currentScope, inContext, Scope } from './context.js'
import { handleOf, isOwnedBy, isTensor, moveToScope, type Tensor } from './tensor.js'

/**
 * Runs `fn` and disposes of every tensor made in it that it does not return. Returned tensors, in
 * any nesting of arrays, plain objects, Maps and Sets, then belong to the scope around. When `fn`
 * throws, all are disposed of. For an async `fn` the end is when its promise settles; scopes that
 * run at the same time do not meet. Results of jobs still unawaited at the end go to the scope
 * around.
 *
 * @example
 * const norm = tidy(() => x.square().sum().sqrt())
 */
export function tidy<R>(fn: () => R): R {
  checkFunction(fn)
  const scope = new Scope(currentScope())
  let result: R
  try {
    result = inContext({ scope }, fn)
  } catch (error) {
    scope.close()
    throw error
  }
  if (!isPromiseLike(result)) return release(scope, result)
  return Promise.resolve(result).then(
    (value) => release(scope, value),
    (error: unknown) => {
      scope.close()
      throw error
    },
  ) as R
}

/** Takes a tensor out of every scope: it lives until it is disposed of. */
export function keep<T extends Tensor>(tensor: T): T {
  handleOf(tensor, 'tensor')
  moveToScope(tensor, null)
  return tensor
}

/** Live tensors, and the bytes in memory that they own; elements of mapped files are not owned. */
export function memory(): { tensors: number; bytes: number } {
  return native().memory()
}

const kept = new Set<() => void>()

/**
 * Calls `free` whenever memory is to be given back that is kept for later.
 *
 * @internal
 */
export function onReleaseMemory(free: () => void): void {
  kept.add(free)
}

/**
 * Gives memory back that is kept for later: to the system that of a CPU's large tensors which were disposed of, never more than
 * were in use at once; and what `score` and `generate` keep from one call to the next, which on a GPU
 * `emptyCache` gives back after `synchronize`. The end of a training run and of a backbone does so too.
 */
export function releaseMemory(): void {
  for (const free of kept) free()
  native().releaseMemory()
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  )
}

function release<R>(scope: Scope, result: R): R {
  for (const tensor of tensorsIn(result)) {
    if (isOwnedBy(tensor, scope)) moveToScope(tensor, scope.parent)
  }
  scope.close()
  return result
}

function* tensorsIn(root: unknown): Generator<Tensor> {
  const seen = new Set<unknown>()
  const open = [root]
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    if (isTensor(value)) yield value
    else if (value instanceof Map) for (const [key, item] of value) open.push(key, item)
    else if (Array.isArray(value) || value instanceof Set)
      for (const item of value) open.push(item)
    else if (isPlain(value)) for (const item of Object.values(value)) open.push(item)
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
