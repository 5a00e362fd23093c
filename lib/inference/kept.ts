// Things that are kept for a backbone from one call to the next. Knows none of them.

import type { Backbone } from '../backbone/index.js'
import { onReleaseMemory } from '../torch/scope.js'

/** How a thing goes. */
interface Ends<T> {
  /** Memory is asked for; it may be used again. */
  readonly release: (kept: T) => void
  /** Its backbone was disposed of. */
  readonly close: (kept: T) => void
}

/** What gives the one thing of each backbone, made when it is first asked for. */
export function keptOf<T extends object>(
  make: (backbone: Backbone) => T,
  { release, close }: Ends<T>,
): (backbone: Backbone) => T {
  const known = new WeakMap<Backbone, T>()
  /** The same, without keeping a backbone alive that nobody has. */
  const all = new Set<WeakRef<T>>()
  onReleaseMemory(() => {
    for (const ref of all) {
      const kept = ref.deref()
      if (kept === undefined) all.delete(ref)
      else release(kept)
    }
  })
  return (backbone) => {
    const found = known.get(backbone)
    if (found !== undefined) return found
    const kept = make(backbone)
    const ref = new WeakRef(kept)
    known.set(backbone, kept)
    all.add(ref)
    backbone.onDispose(() => {
      close(kept)
      all.delete(ref)
    })
    return kept
  }
}
