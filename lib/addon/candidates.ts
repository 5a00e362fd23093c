// Where an addon may come from, in one table, and what of it is there. Loads nothing.

import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import {
  libraryName,
  pythonTorchFolders,
  sameMinor,
  versionOf,
} from '../../scripts/setup/libtorch.mjs'
import { type System, unfit } from './system.js'

/** An addon that is there. */
export interface Candidate {
  /** Such as `@lopt/linux-x64 0.1.0`. */
  name: string
  /** Why it is its turn, in words behind its name. */
  reason: string
  addon: string
  /** The loader of `libraries`; an addon that finds its own has none. */
  opener?: string
  /** Opened before the addon, which asks for them by name. */
  libraries: readonly string[]
  /** Whether it may crash where another one behind it runs: a child process tries it first. */
  isOnTrial: boolean
  /** What to do where it does not load, one line. */
  fix: string
}

/** One that is not there, or cannot run here. */
export interface Absent {
  name: string
  /** One line. */
  problem: string
  /** What to do, one line. */
  fix?: string
  /** Whether somebody has installed it, who would be surprised by another one in its place. */
  isInstalled?: boolean
}

export type Found = Candidate | Absent

export interface Place {
  /** The package's folder. */
  root: string
  env: NodeJS.ProcessEnv
  system: System
  /** Folders of torch in Pythons on the PATH. */
  findPythonTorch?: (env: NodeJS.ProcessEnv) => string[]
}

/** Of a platform package's package.json. */
interface PlatformManifest {
  version: string
  dependencies?: Record<string, string>
  lopt: { glibc?: string; libtorch: string }
}

const FLAVOURS = ['cpu', 'cuda13']

/**
 * The table. Whatever comes first and is there is taken:
 *
 * | | when |
 * |---|---|
 * | the file in `LOPT_ADDON` | it is set, and nothing else then |
 * | the package's own build, `build/Release/lopt.node` | unless `LOPT_FLAVOUR` asks for a package |
 * | `@lopt/PLATFORM-cuda13` | `LOPT_FLAVOUR=cuda13`, or a driver of NVIDIA is there |
 * | `@lopt/PLATFORM` | `LOPT_FLAVOUR=cpu`, or unset |
 *
 * Each is looked for when those before it were not taken: a Python that is asked for its torch, and the version of the C
 * library, cost a start tens of milliseconds.
 */
export function* findAddons(place: Place): Generator<Found, void, undefined> {
  const { root, env, system } = place
  const { engines } = readManifest(root) as { engines?: { node?: string } }
  const tooOld = unfit(system, { node: engines?.node })
  const flavour = env.LOPT_FLAVOUR || undefined
  if (tooOld) {
    yield { name: 'Node', problem: tooOld }
  } else if (env.LOPT_ADDON) {
    yield givenAddon(env.LOPT_ADDON)
  } else if (flavour !== undefined && !FLAVOURS.includes(flavour)) {
    const problem = `Expected cpu or cuda13 but received ${flavour}`
    yield { name: 'LOPT_FLAVOUR', problem, fix: 'correct or unset it' }
  } else if (flavour === 'cuda13') {
    yield cudaPackage(place, false)
  } else if (flavour === 'cpu') {
    yield cpuPackage(place, 'LOPT_FLAVOUR is cpu')
  } else {
    yield ownBuild(root)
    if (system.hasNvidiaDriver) yield cudaPackage(place, true)
    yield cpuPackage(place, 'there is no build of its own')
  }
}

/** How this package's own build is made. */
export function howToBuild(root: string): string {
  return isClone(root) ? `run \`npm run setup\` in ${root}` : 'run `npx lopt build`'
}

/** A clone has sources and compiles its own; what npm has installed has a bundle. */
const isClone = (root: string): boolean => existsSync(join(root, 'lib/native.ts'))

function givenAddon(path: string): Found {
  const addon = resolve(path)
  if (existsSync(addon)) {
    const reason = 'the environment says so'
    const fix = 'set LOPT_ADDON to another lopt.node, or unset it'
    return { name: 'LOPT_ADDON', reason, addon, libraries: [], isOnTrial: false, fix }
  }
  const fix = 'set it to a lopt.node, or unset it'
  return { name: 'LOPT_ADDON', problem: `there is no file ${addon}`, fix }
}

/** What was compiled here, as node-gyp-build finds it. */
function ownBuild(root: string): Found {
  const name = 'its own build'
  const finder = createRequire(import.meta.url)('node-gyp-build')
  let addon: string
  try {
    addon = (finder as { path: (folder: string) => string }).path(root)
  } catch {
    const problem = `there is no ${join(root, 'build/Release/lopt.node')}`
    return { name, problem }
  }
  const reason = 'it comes before packages'
  const fix = howToBuild(root)
  return { name, reason, addon, libraries: [], isOnTrial: false, fix }
}

/** libtorch comes from a package of its own, which the platform package depends on. */
function cpuPackage(place: Place, reason: string): Found {
  const found = platformPackage(place, '')
  if ('problem' in found) return found
  const { folder, manifest, name } = found
  const [libtorch, wanted] = Object.entries(manifest.dependencies ?? {})[0] ?? ['', '']
  const libraries = packageFolder(libtorch, folder)
  if (libraries === undefined) {
    const problem = `${libtorch}, which it needs, is not installed`
    return { name, problem, fix: `npm install ${libtorch}@${wanted}`, isInstalled: true }
  }
  const { version } = readManifest(libraries)
  if (version !== wanted) {
    const problem = `it needs ${libtorch} ${wanted}, and ${version} is installed`
    return { name, problem, fix: `npm install ${libtorch}@${wanted}`, isInstalled: true }
  }
  return {
    name,
    reason,
    ...files(folder),
    libraries: [join(libraries, libraryName('torch_cpu'))],
    isOnTrial: false,
    fix: `install ${name} and ${libtorch} ${wanted} again`,
  }
}

/** libtorch for CUDA is no npm package, being gigabytes: a folder says where it is, or a Python has it. */
function cudaPackage(place: Place, isChosenHere: boolean): Found {
  const found = platformPackage(place, '-cuda13')
  if ('problem' in found) return found
  const { folder, manifest, name } = found
  const { findPythonTorch = pythonTorchFolders, env } = place
  const wanted = manifest.lopt.libtorch
  const given = env.LOPT_LIBTORCH && resolve(env.LOPT_LIBTORCH)
  const seen = (given ? [given] : findPythonTorch(env)).map((path) => ({
    path,
    version: versionOf(path),
  }))
  const libtorch = seen.find(({ version }) => version && sameMinor(version, wanted))
  if (libtorch === undefined) {
    const others = seen.map(({ path, version }) =>
      version ? `libtorch ${version} is in ${path}` : `${path} holds no libtorch`,
    )
    return {
      name,
      problem: [`it needs libtorch ${wanted} for CUDA 13`, ...others].join('; '),
      fix: `pip install torch==${wanted}, or set LOPT_LIBTORCH to the folder of such a torch`,
      isInstalled: true,
    }
  }
  const file = (name: string) => join(libtorch.path, 'lib', libraryName(name))
  if (!existsSync(file('torch_cuda'))) {
    const problem = `libtorch ${libtorch.version} in ${libtorch.path} is not for CUDA: it has no ${libraryName('torch_cuda')}`
    return { name, problem, fix: `pip install torch==${wanted}`, isInstalled: true }
  }
  // the addon asks for `torch` as well, in which there is nothing
  const libraries = ['torch_cpu', 'torch_cuda', 'torch'].map(file)
  const reason = isChosenHere ? 'there is a driver of NVIDIA' : 'LOPT_FLAVOUR is cuda13'
  // a folder that was copied alone lacks what lies beside it
  const fix = `pip install torch==${wanted}, which brings NVIDIA's libraries too`
  return { name, reason, ...files(folder), libraries, isOnTrial: isChosenHere, fix }
}

interface PlatformPackage {
  name: string
  folder: string
  manifest: PlatformManifest
}

function platformPackage(
  { root, system }: Place,
  suffix: string,
): PlatformPackage | Absent {
  const name = `@lopt/${system.platform}-${system.arch}${suffix}`
  const { version } = readManifest(root)
  const build = howToBuild(root)
  if (system.platform !== 'linux' || system.arch !== 'x64') {
    const problem = `there is no prebuilt addon for ${system.platform} on ${system.arch} yet`
    return { name, problem, fix: build }
  }
  const folder = packageFolder(name, root)
  if (folder === undefined) {
    const problem = unfit(system, { glibc: '2.28' })
    if (problem) return { name, problem }
    // npm sometimes leaves optional packages out by itself (npm/cli issues 4828, 8320)
    const fix = isClone(root) ? build : `npm install ${name}@${version}, or ${build}`
    return { name, problem: 'it is not installed', fix }
  }
  const manifest = readManifest(folder) as unknown as PlatformManifest
  const problem = unfit(system, { glibc: manifest.lopt.glibc })
  if (problem) return { name, problem, isInstalled: true }
  if (manifest.version !== version) {
    const problem = `version ${manifest.version} is installed, and lopt is ${version}`
    return { name, problem, fix: `npm install ${name}@${version}`, isInstalled: true }
  }
  return { name: `${name} ${version}`, folder, manifest }
}

function files(folder: string): Pick<Candidate, 'addon' | 'opener'> {
  return { addon: join(folder, 'lopt.node'), opener: join(folder, 'open.node') }
}

/** By Node's own rules from the package that asks, so that each package manager's layout does. */
function packageFolder(name: string, from: string): string | undefined {
  try {
    const require = createRequire(join(realpathSync(from), 'package.json'))
    return dirname(require.resolve(`${name}/package.json`))
  } catch {
    return undefined
  }
}

function readManifest(folder: string): { version: string } {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}
