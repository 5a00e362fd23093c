// `lopt doctor`: what is installed, what is missing, how to mend it. The probes are set-up's own;
// this file orders and prints what they find, and does not load the addon itself.
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { tryAddon } from '../../scripts/setup/addon.mjs'
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
import { packageRoot } from '../native.js'

const setUp = (root: string) => `run \`npm run setup\` in ${root}`

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
export function diagnose(root: string, env: NodeJS.ProcessEnv): Diagnosis[] {
  const addon = addonFindings(root, env)
  const compiled = addon.every(({ ok }) => ok)
  const libtorch = libtorchFinding(root, env)
  const tools = [probeCompiler(env), probeCMake(env), probeBuildTool(env)]
  return [
    { name: 'node', ok: true, needed: true, detail: `Node ${process.versions.node}` },
    {
      name: 'platform',
      ok: true,
      needed: true,
      detail: `${process.platform} ${process.arch}`,
    },
    ...tools.map((finding) => ({ ...finding, needed: !compiled })),
    // pip is one way to get a libtorch
    { ...probePip(env), needed: !compiled && !libtorch.ok },
    { ...libtorch, needed: !compiled },
    ...addon.map((finding) => ({ ...finding, needed: true })),
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
        fix: setUp(root),
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

function addonFindings(root: string, env: NodeJS.ProcessEnv): Finding[] {
  const tried = tryAddon(root, env)
  if (!tried.ok) {
    const detail = `the addon does not load: ${tried.reason}`
    return [{ name: 'addon', ok: false, detail, fix: setUp(root) }]
  }
  const { torchVersion, torchVersionBuilt, cudaVersion, products } = tried.facts
  const { cpuFeatures, devices } = tried.facts
  if (!sameMinor(torchVersion, torchVersionBuilt)) {
    const detail = `the addon was compiled for libtorch ${torchVersionBuilt} but loads ${torchVersion}`
    return [{ name: 'addon', ok: false, detail, fix: setUp(root) }]
  }
  const flavour = cudaVersion === null ? 'the CPU alone' : `CUDA ${cudaVersion}`
  const lacksGpu =
    cudaVersion !== null && !devices.some((device) => device.startsWith('cuda'))
  return [
    {
      name: 'addon',
      ok: true,
      detail:
        `the addon loads, with libtorch ${torchVersion} for ${flavour}` +
        (products === 'onednn' ? ', matrix products on the CPU by oneDNN' : ''),
    },
    { name: 'cpu', ok: true, detail: cpuDetail(cpuFeatures) },
    {
      name: 'devices',
      ok: true,
      detail: devices.join(', ') + (lacksGpu ? ' (no NVIDIA GPU or no driver)' : ''),
    },
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
  process.stderr.write(`${mark}  ${name.padEnd(9)} ${detail}\n`)
  if (!ok && fix) {
    const note = needed ? '' : ' (only to compile the addon, which is done)'
    process.stderr.write(`         ${' '.repeat(10)}-> ${fix}${note}\n`)
  }
}

function printJson(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
