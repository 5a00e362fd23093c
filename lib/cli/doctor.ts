// `lopt doctor`: what is installed, what is missing, how to mend it. The probes are set-up's own, the addon is looked for as
// it is when it is loaded; this file orders and prints what they find, and loads no addon itself.
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  locateLibtorch,
  requireLibraries,
  sameMinor,
  wantedVersion,
} from '../../scripts/setup/libtorch.mjs'
import { SetupError } from '../../scripts/setup/process.mjs'
import {
  type Finding,
  probeBuildTool,
  probeCMake,
  probeCompiler,
  probePip,
} from '../../scripts/setup/tools.mjs'
import { type Candidate, findAddons, howToBuild } from '../addon/candidates.js'
import { type System, thisSystem } from '../addon/system.js'
import { type AddonFacts, tryAddon } from '../addon/trial.js'
import { packageRoot } from '../native.js'

/**
 * Prints what lopt needs and what was found: on stderr for people, or with `json` one object a line
 * on stdout (`{"type": "check", "name", "ok", "needed", "detail", "fix"?}`, at the end
 * `{"type": "result", "ok"}`).
 *
 * What is only needed to compile the addon is not needed once the addon loads.
 *
 * @returns the exit code: 0, or 1 when something needed is missing
 */
export async function runDoctor({ json }: { json: boolean }): Promise<number> {
  const root = packageRoot(dirname(fileURLToPath(import.meta.url)))
  const findings = diagnose(root, process.env)
  const ok = findings.every((finding) => finding.ok || !finding.needed)
  if (json) {
    for (const finding of findings) printJson({ type: 'check', ...finding })
    printJson({ type: 'result', ok })
  } else {
    for (const finding of findings) printLine(finding)
    process.stderr.write(ok ? 'lopt is ready\n' : 'lopt is not ready\n')
  }
  return ok ? 0 : 1
}

type Diagnosis = Finding & { needed: boolean }

/** What was found, in the order in which it is to be mended. */
export function diagnose(
  root: string,
  env: NodeJS.ProcessEnv,
  system: System = thisSystem(),
): Diagnosis[] {
  const addon = addonFindings(root, env, system)
  const isLoaded = addon.some(({ name, ok }) => name === 'addon' && ok)
  const libtorch = libtorchFinding(root, env)
  const tools = [probeCompiler(env), probeCMake(env), probeBuildTool(env)]
  return [
    { name: 'node', ok: true, needed: true, detail: `Node ${system.node}` },
    {
      name: 'platform',
      ok: true,
      needed: true,
      detail: `${system.platform} ${system.arch}${system.glibc ? `, glibc ${system.glibc}` : ''}`,
    },
    ...tools.map((finding) => ({ ...finding, needed: !isLoaded })),
    // pip is one way to get a libtorch
    { ...probePip(env), needed: !isLoaded && !libtorch.ok },
    { ...libtorch, needed: !isLoaded },
    ...addon,
  ]
}

function libtorchFinding(root: string, env: NodeJS.ProcessEnv): Finding {
  const name = 'libtorch'
  try {
    const libtorch = locateLibtorch(env)
    if (!libtorch)
      return {
        name,
        ok: false,
        detail: `no libtorch ${wantedVersion(env)}`,
        fix: howToBuild(root),
      }
    requireLibraries(libtorch)
    const { version, folder, source } = libtorch
    const from = { LIBTORCH: 'LIBTORCH', cache: 'fetched', python: 'of Python' }[source]
    return { name, ok: true, detail: `libtorch ${version} (${from}): ${folder}` }
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    return { name, ok: false, detail: error.detail, fix: error.fix }
  }
}

/**
 * The addon that is taken, and why: the table of lib/addon, each tried in a child process until one loads. One that is passed
 * over is told of if somebody has installed it; if none loads, all are.
 */
function addonFindings(
  root: string,
  env: NodeJS.ProcessEnv,
  system: System,
): Diagnosis[] {
  const passed: Diagnosis[] = []
  for (const found of findAddons({ root, env, system })) {
    if ('problem' in found) {
      const { name, problem, fix, isInstalled = false } = found
      const detail = `${name}: ${problem}`
      passed.push({ name: 'addon', ok: false, needed: isInstalled, detail, fix })
      continue
    }
    const trial = tryAddon(found, env)
    const problem = trial.ok ? mismatch(trial.facts) : trial.reason
    if (trial.ok && problem === undefined) {
      const told = passed.filter(({ needed }) => needed)
      return [
        ...told.map((finding) => ({ ...finding, name: 'passed over', needed: false })),
        ...factFindings(found, trial.facts),
      ]
    }
    const detail = `${found.name} (${found.reason}) does not load: ${problem}`
    passed.push({ name: 'addon', ok: false, needed: true, detail, fix: found.fix })
    if (!found.isOnTrial) break
  }
  return passed.map((finding) => ({ ...finding, needed: true }))
}

function mismatch({ torchVersion, torchVersionBuilt }: AddonFacts): string | undefined {
  if (sameMinor(torchVersion, torchVersionBuilt)) return undefined
  return `it was compiled for libtorch ${torchVersionBuilt} but loads ${torchVersion}`
}

function factFindings(taken: Candidate, facts: AddonFacts): Diagnosis[] {
  const { torchVersion, cudaVersion, graphs, products, cpuFeatures, devices } = facts
  const captured = graphs
    ? ', with graphs'
    : " (no graphs: compiled without CUDA's headers, docs/devices.md)"
  const flavour =
    cudaVersion === null ? 'the CPU alone' : `CUDA ${cudaVersion}${captured}`
  const lacksGpu =
    cudaVersion !== null && !devices.some((device) => device.startsWith('cuda'))
  const addon =
    `${taken.name} (${taken.reason}), with libtorch ${torchVersion} for ${flavour}` +
    (products === 'onednn' ? ', matrix products on the CPU by oneDNN' : '')
  const gpu = lacksGpu ? ' (no NVIDIA GPU or no driver)' : ''
  return [
    { name: 'addon', ok: true, needed: true, detail: addon },
    { name: 'cpu', ok: true, needed: true, detail: cpuDetail(cpuFeatures) },
    { name: 'devices', ok: true, needed: true, detail: devices.join(', ') + gpu },
  ]
}

/** Which dtypes the CPU multiplies by instructions of their own: in others nothing is gained. */
function cpuDetail(features: readonly string[]): string {
  const by = (names: readonly string[]) => names.filter((name) => features.includes(name))
  const bfloat16 = by(['avx512_bf16', 'amx_bf16', 'arm_bf16'])
  const int8 = by(['avx512_vnni', 'amx_int8', 'arm_i8mm', 'arm_dot'])
  const said = (dtype: string, found: readonly string[]) =>
    found.length > 0 ? `${dtype} by ${found.join(', ')}` : `${dtype} by none of its own`
  return `instructions for ${said('bfloat16', bfloat16)}; for ${said('int8', int8)}`
}

function printLine({ ok, needed, name, detail, fix }: Diagnosis): void {
  const mark = ok ? 'ok     ' : needed ? 'MISSING' : 'absent '
  process.stderr.write(`${mark}  ${name.padEnd(11)} ${detail}\n`)
  if (!ok && fix) {
    const isForBuild = !needed && name !== 'passed over'
    const note = isForBuild ? ' (only to compile an addon: there is one)' : ''
    process.stderr.write(`         ${' '.repeat(12)}-> ${fix}${note}\n`)
  }
}

function printJson(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
