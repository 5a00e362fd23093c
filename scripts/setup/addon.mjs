// @ts-check
// Tries the addon in a child process, so that one that crashes takes nothing with it.

import { spawnSync } from 'node:child_process'

/** Loads what lib/native.ts loads, by the same loader. */
const TRY = `
const binding = require('node-gyp-build')(process.argv[1])
const { torchVersion, torchVersionBuilt, cudaVersion, products, cpuFeatures } = binding
const devices = binding.availableDevices()
const facts = { torchVersion, torchVersionBuilt, cudaVersion, products, cpuFeatures, devices }
console.log(JSON.stringify(facts))
`

/**
 * @typedef {object} AddonFacts
 * @property {string} torchVersion of the libtorch that it loads
 * @property {string} torchVersionBuilt of the one that it was compiled for
 * @property {string | null} cudaVersion what libtorch is built for; null: the CPU alone
 * @property {'onednn' | 'libtorch'} products what computes a CPU's float32 matrix products
 * @property {string[]} cpuFeatures what the CPU has, in libtorch's words
 * @property {string[]} devices
 */

/**
 * @param {string} root the package's folder
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ ok: true, facts: AddonFacts } | { ok: false, reason: string }}
 */
export function tryAddon(root, env) {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['-e', TRY, root],
    {
      cwd: root,
      env,
      encoding: 'utf8',
      timeout: 120_000,
    },
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
