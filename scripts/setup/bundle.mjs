// @ts-check
// Bundles lib/ into dist/ with tsup unless nothing has changed.

import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { hashInputs, isFresh, writeStamp } from './inputs.mjs'
import { run, SetupError, say, tail } from './process.mjs'

/** scripts/setup: the command line's `doctor` contains its probes. */
const INPUTS = [
  'lib',
  'scripts/setup',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsup.config.ts',
]

/**
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 */
export async function buildBundle(root, env) {
  // the published package has dist/, and of lib/ the data alone
  if (!existsSync(join(root, 'lib/index.ts'))) return
  const stamp = join(root, 'build/bundle-inputs.sha256')
  const hash = hashInputs(root, INPUTS)
  if (existsSync(join(root, 'dist/cli.js')) && isFresh(stamp, hash)) return
  say('bundling lib/ into dist/')
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  const tsup = join(root, 'node_modules/tsup/dist/cli-default.js')
  const result = await run(process.execPath, [tsup], { cwd: root, env })
  if (!result.ok) throw new SetupError(`tsup failed:\n${tail(result.log, 40)}`)
  writeStamp(stamp, hash)
}
