// Tries an addon in a child process, so that one that crashes takes nothing with it.

import { spawnSync } from 'node:child_process'
import type { Candidate } from './candidates.js'

/** What an addon says of itself. */
export interface AddonFacts {
  /** Of the libtorch that it loads. */
  torchVersion: string
  /** Of the one that it was compiled for. */
  torchVersionBuilt: string
  /** What libtorch is built for; null: the CPU alone. */
  cudaVersion: string | null
  /** Whether it captures CUDA graphs. */
  graphs: boolean
  /** What computes a CPU's float32 matrix products. */
  products: 'onednn' | 'libtorch'
  /** What the CPU has, in libtorch's words. */
  cpuFeatures: string[]
  devices: string[]
}

export type Trial = { ok: true; facts: AddonFacts } | { ok: false; reason: string }

// What `open` in load.ts does. Devices are asked for, since that is where a driver is first called.
const PROGRAM = `
const { opener, libraries, addon } = JSON.parse(process.argv[1])
if (opener) require(opener).open(libraries)
const binding = require(addon)
const { torchVersion, torchVersionBuilt, cudaVersion, graphs, products, cpuFeatures } = binding
const devices = binding.availableDevices()
const facts = { torchVersion, torchVersionBuilt, cudaVersion, graphs, products, cpuFeatures, devices }
console.log(JSON.stringify(facts))
`

/** Loads an addon in a child process: the facts, or in one line why it does not load. */
export function tryAddon(
  { opener, libraries, addon }: Pick<Candidate, 'opener' | 'libraries' | 'addon'>,
  env: NodeJS.ProcessEnv,
): Trial {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['-e', PROGRAM, JSON.stringify({ opener, libraries, addon })],
    // Electron's program is Node when it is told so
    { env: { ...env, ELECTRON_RUN_AS_NODE: '1' }, encoding: 'utf8', timeout: 120_000 },
  )
  if (signal)
    return { ok: false, reason: `the process that loaded it ended by ${signal}` }
  if (status !== 0) {
    const lines = stderr.split('\n')
    const error =
      lines.find((line) => /^\w*Error\b.*: /.test(line)) ?? lines.find(Boolean)
    return { ok: false, reason: error ?? `exit code ${status}` }
  }
  return { ok: true, facts: JSON.parse(stdout.trim().split('\n').at(-1) ?? '') }
}
