// What all benches share: how often they repeat, where models and the peers' Python lie.

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Tiny shapes and one repetition: shows that a bench works, and no figure. */
export const isQuick = process.env.LOPT_BENCH_QUICK === '1'

/** Interleaved runs of each side; the median counts. */
export const RUNS = isQuick ? 1 : 7

/** Checkpoints and the peers' environment: outside the repository, they take gigabytes. */
export const cacheFolder = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'lopt',
  'bench',
)

export const llamaFolder = join(cacheFolder, 'llama')
export const onnxFolder = join(cacheFolder, 'onnx')
export const peerFolder = join(cacheFolder, 'peer')

/** A Python with the peers' packages, or undefined. */
export function peerPython() {
  if (process.env.PEER_PYTHON) return process.env.PEER_PYTHON
  const python = join(peerFolder, 'bin', 'python')
  return existsSync(python) ? python : undefined
}

export const HOW_TO_MAKE_PEER =
  'no peer: `node bench/peer/setup.mjs` makes its environment, or set PEER_PYTHON'

export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
}
