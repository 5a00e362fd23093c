// What lives in this process, for tests that count tensors. The collector frees what earlier tests left
// at a time of its own; a count that others are compared with must come after that.

import { setImmediate as turn } from 'node:timers/promises'
import { memory } from '../lib/torch/index.js'

/** `memory()` once nothing more is left for the collector; needs `--expose-gc` (vitest.config.ts). */
export async function settledMemory(): Promise<{ tensors: number; bytes: number }> {
  const collect = globalThis.gc
  if (collect === undefined) throw new Error('Tests run with --expose-gc')
  for (let last = Number.NaN; last !== memory().tensors; ) {
    last = memory().tensors
    // finalizers run in turns of their own
    for (let i = 0; i < 2; i++) {
      collect()
      await turn()
    }
  }
  return memory()
}
