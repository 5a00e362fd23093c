// @ts-check
// The steps of set-up and their order: tools, packages, libtorch, addon, bundle.

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBundle } from './bundle.mjs'
import { locateLibtorch, requireLibraries, versionOf } from './libtorch.mjs'
import { withLock } from './lock.mjs'
import { buildNative } from './native-build.mjs'
import { installPackages } from './packages.mjs'
import { SetupError, say } from './process.mjs'
import { probeBuildTool, probeCMake, probeCompiler, probePip } from './tools.mjs'
import { fetchLibtorch } from './torch-wheel.mjs'

const STEPS = ['tools', 'packages', 'libtorch', 'native', 'bundle']

const USAGE = `Usage: node scripts/setup.mjs [--only STEP]
Steps: ${STEPS.join(', ')} (native looks for libtorch too). Without --only: all, each only if needed.
LIBTORCH             folder of a libtorch to use, for the CPU or for CUDA (docs/devices.md)
LOPT_TORCH_VERSION   another version of libtorch than the default, such as 2.14.1
CXX                  the C++ compiler
`

/**
 * @param {readonly string[]} args
 * @returns {Promise<number>} exit code
 */
export async function main(args) {
  const [option, step, ...rest] = args
  if (option === '--help') {
    process.stderr.write(USAGE)
    return 0
  }
  const only = option === '--only' && rest.length === 0 ? step : undefined
  if (option !== undefined && !(only && STEPS.includes(only))) {
    process.stderr.write(USAGE)
    return 2
  }
  await setUp(
    dirname(dirname(dirname(fileURLToPath(import.meta.url)))),
    process.env,
    only,
  )
  return 0
}

/**
 * @param {string} root the package's folder
 * @param {NodeJS.ProcessEnv} env
 * @param {string} [only]
 */
export async function setUp(root, env, only) {
  /** @param {string} step */
  const wanted = (step) => only === undefined || only === step
  if (wanted('tools') || only === 'native') checkTools(env)
  await withLock(join(root, 'build/setup.lock'), async () => {
    if (wanted('packages')) await installPackages(root, env)
    if (wanted('libtorch') || only === 'native') {
      const libtorch = await provideLibtorch(env)
      if (wanted('native')) await buildNative(root, libtorch, env)
    }
    if (wanted('bundle')) await buildBundle(root, env)
  })
}

/**
 * Says everything that is missing at once, a line each.
 *
 * @param {NodeJS.ProcessEnv} env
 */
function checkTools(env) {
  const findings = [probeCompiler(env), probeCMake(env), probeBuildTool(env)]
  if (!locateLibtorch(env)) findings.push(probePip(env))
  const missing = findings.filter(({ ok }) => !ok)
  if (missing.length)
    throw new SetupError(
      missing.map(({ detail, fix }) => `${detail}: ${fix}`).join('\nsetup: '),
    )
}

/**
 * The libtorch on this machine, fetched if there is none.
 *
 * @param {NodeJS.ProcessEnv} env
 */
async function provideLibtorch(env) {
  let libtorch = locateLibtorch(env)
  if (!libtorch) {
    const folder = await fetchLibtorch(env)
    say(`libtorch is in ${folder}`)
    libtorch = { source: 'cache', folder, version: String(versionOf(folder)) }
  }
  requireLibraries(libtorch)
  return libtorch
}
