// Which addon is taken in which world: folders made here stand in for installed packages, and nothing is loaded.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Found, findAddons } from '../../lib/addon/candidates.js'
import type { System } from '../../lib/addon/system.js'
import { libraryName } from '../../scripts/setup/libtorch.mjs'

let project: string
let root: string
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'lopt-addon-'))
  root = join(project, 'node_modules/lopt')
  write(root, { name: 'lopt', version: '0.1.0', engines: { node: '>=20.17' } })
})
afterEach(() => rmSync(project, { recursive: true, force: true }))

const LINUX: System = {
  platform: 'linux',
  arch: 'x64',
  node: '24.1.0',
  glibc: '2.28',
  hasNvidiaDriver: false,
}
const TORCH = '@lopt/libtorch-cpu-linux-x64'
const CPU = '@lopt/linux-x64'
const CUDA = '@lopt/linux-x64-cuda13'

function write(folder: string, manifest: object): string {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  return folder
}

/** Installs a package where npm puts it, or in a folder that only its dependant sees, as pnpm does. */
function install(name: string, manifest: object, node_modules = 'node_modules'): string {
  return write(join(project, node_modules, name), { name, ...manifest })
}

interface Versions {
  version?: string
  torch?: string | undefined
}

function installCpu(versions: Versions = {}): void {
  const { version, torch } = { version: '0.1.0', torch: '2.13.0-1', ...versions }
  const dependencies = { [TORCH]: '2.13.0-1' }
  install(CPU, {
    version,
    dependencies,
    lopt: { glibc: '2.28', libtorch: '2.13.0' },
  })
  if (torch !== undefined) install(TORCH, { version: torch })
}

function installCuda(): void {
  install(CUDA, { version: '0.1.0', lopt: { glibc: '2.28', libtorch: '2.14.1' } })
}

/** A folder that looks like a torch for CUDA: the files that are looked at, no code. */
function torchFolder(version: string, libraries = ['torch_cpu', 'torch_cuda']): string {
  const folder = join(project, `torch-${version}`)
  mkdirSync(join(folder, 'include/torch'), { recursive: true })
  mkdirSync(join(folder, 'lib'), { recursive: true })
  writeFileSync(join(folder, 'include/torch/script.h'), '')
  writeFileSync(
    join(folder, 'include/torch/version.h'),
    `#define TORCH_VERSION "${version}"\n`,
  )
  for (const name of libraries) writeFileSync(join(folder, 'lib', libraryName(name)), '')
  return folder
}

interface World {
  env?: NodeJS.ProcessEnv
  system?: Partial<System>
  pythons?: string[]
}

const found = ({ env = {}, system = {}, pythons = [] }: World = {}): Found[] => [
  ...findAddons({
    root,
    env,
    system: { ...LINUX, ...system },
    findPythonTorch: () => pythons,
  }),
]

/** The one that is taken: its name. */
const taken = (world?: World) => found(world).find((each) => 'addon' in each)?.name

/** Why one cannot be taken, with what to do. */
const problemOf = (name: string, world?: World) => {
  const one = found(world).find((each) => each.name.startsWith(name))
  if (one === undefined || 'addon' in one) return undefined
  return [one.problem, one.fix].filter((line) => line !== undefined).join(' -> ')
}

test('LOPT_ADDON comes before a build of its own, and that before packages', () => {
  installCpu()
  expect(taken()).toBe(`${CPU} 0.1.0`)
  const build = join(root, 'build/Release/lopt.node')
  mkdirSync(dirname(build), { recursive: true })
  writeFileSync(build, '')
  expect(taken()).toBe('its own build')
  expect(taken({ env: { LOPT_FLAVOUR: 'cpu' } })).toBe(`${CPU} 0.1.0`)
  expect(found({ env: { LOPT_ADDON: build } })).toEqual([
    {
      name: 'LOPT_ADDON',
      reason: 'the environment says so',
      addon: build,
      libraries: [],
      isOnTrial: false,
      fix: 'set LOPT_ADDON to another lopt.node, or unset it',
    },
  ])
})

test('what comes after the one that is taken is not looked for', () => {
  installCuda()
  const build = join(root, 'build/Release/lopt.node')
  mkdirSync(dirname(build), { recursive: true })
  writeFileSync(build, '')
  const asked: string[] = []
  const system: System = {
    ...LINUX,
    hasNvidiaDriver: true,
    get glibc() {
      asked.push('glibc')
      return '2.28'
    },
  }
  const findPythonTorch = () => {
    asked.push('python')
    return []
  }
  const table = findAddons({ root, env: {}, system, findPythonTorch })
  expect(table.next().value).toMatchObject({ name: 'its own build' })
  expect(asked).toEqual([])
  expect(table.next().value).toMatchObject({ name: `${CUDA} 0.1.0` })
  expect(new Set(asked)).toEqual(new Set(['glibc', 'python']))
})

describe('the package for the CPU', () => {
  test('opens the libraries of the package that it depends on, wherever that lies', () => {
    installCpu()
    expect(found().at(-1)).toMatchObject({
      addon: join(project, 'node_modules', CPU, 'lopt.node'),
      opener: join(project, 'node_modules', CPU, 'open.node'),
      libraries: [join(project, 'node_modules', TORCH, libraryName('torch_cpu'))],
      isOnTrial: false,
    })
  })

  test('finds them beside itself too, where nobody else sees them', () => {
    installCpu({ torch: undefined })
    const inner = join('node_modules', CPU, 'node_modules')
    install(TORCH, { version: '2.13.0-1' }, inner)
    expect(found().at(-1)).toMatchObject({
      libraries: [join(project, inner, TORCH, libraryName('torch_cpu'))],
    })
  })

  test('that was left out is named with the command that installs it', () => {
    expect(problemOf(CPU)).toBe(
      'it is not installed -> npm install @lopt/linux-x64@0.1.0, or run `npx lopt build`',
    )
  })

  test('of another version is refused with both', () => {
    installCpu({ version: '0.2.0' })
    expect(problemOf(CPU)).toBe(
      'version 0.2.0 is installed, and lopt is 0.1.0 -> npm install @lopt/linux-x64@0.1.0',
    )
  })

  test('with another libtorch says which it needs', () => {
    installCpu({ torch: '2.13.0-2' })
    expect(problemOf(CPU)).toBe(
      `it needs ${TORCH} 2.13.0-1, and 2.13.0-2 is installed -> npm install ${TORCH}@2.13.0-1`,
    )
  })

  test('without a libtorch says which it needs', () => {
    installCpu({ torch: undefined })
    expect(problemOf(CPU)).toBe(
      `${TORCH}, which it needs, is not installed -> npm install ${TORCH}@2.13.0-1`,
    )
  })
})

describe('a system that no prebuilt addon runs on gets a sentence', () => {
  test('musl, installed or not', () => {
    const sentence = /^this Linux has no glibc.*Alpine.*Debian or Ubuntu/
    expect(problemOf(CPU, { system: { glibc: undefined } })).toMatch(sentence)
    installCpu()
    expect(problemOf(CPU, { system: { glibc: undefined } })).toMatch(sentence)
  })

  test('an old glibc: the version that is there and the one that is needed', () => {
    installCpu()
    expect(problemOf(CPU, { system: { glibc: '2.17' } })).toMatch(
      /^glibc 2\.17 is too old: 2\.28 or newer is needed/,
    )
    expect(taken({ system: { glibc: '2.41' } })).toBe(`${CPU} 0.1.0`)
  })

  test('another platform: that it must be built', () => {
    expect(
      problemOf('@lopt/darwin-arm64', {
        system: { platform: 'darwin', arch: 'arm64' },
      }),
    ).toBe('there is no prebuilt addon for darwin on arm64 yet -> run `npx lopt build`')
  })

  test('a Node that is too old, before anything else', () => {
    installCpu()
    expect(found({ system: { node: '18.20.8' } })).toEqual([
      { name: 'Node', problem: 'Node 18.20.8 is too old: install Node 20.17 or newer' },
    ])
    expect(taken({ system: { node: '20.17.0' } })).toBe(`${CPU} 0.1.0`)
  })
})

describe('CUDA', () => {
  const hasDriver: World = { system: { hasNvidiaDriver: true } }

  test('comes first where a driver is there and its package is installed, on trial', () => {
    installCpu()
    expect(taken(hasDriver)).toBe(`${CPU} 0.1.0`)
    installCuda()
    const torch = torchFolder('2.14.0')
    expect(taken({ pythons: [torch] })).toBe(`${CPU} 0.1.0`)
    const candidate = found({ ...hasDriver, pythons: [torch] })[1]
    expect(candidate).toMatchObject({
      name: `${CUDA} 0.1.0`,
      reason: 'there is a driver of NVIDIA',
      libraries: ['torch_cpu', 'torch_cuda', 'torch'].map((name) =>
        join(torch, 'lib', libraryName(name)),
      ),
      isOnTrial: true,
    })
  })

  test('that LOPT_FLAVOUR asks for is the only one, and not tried before', () => {
    installCpu()
    installCuda()
    const env = { LOPT_FLAVOUR: 'cuda13', LOPT_LIBTORCH: torchFolder('2.14.1') }
    expect(found({ env })).toMatchObject([{ name: `${CUDA} 0.1.0`, isOnTrial: false }])
    expect(found({ env: { LOPT_FLAVOUR: 'rocm' } })).toMatchObject([
      { name: 'LOPT_FLAVOUR', problem: 'Expected cpu or cuda13 but received rocm' },
    ])
  })

  test('without a libtorch says which it needs and how to get it', () => {
    installCuda()
    const world = { env: { LOPT_FLAVOUR: 'cuda13' } }
    const fix = `pip install torch==2.14.1, or set LOPT_LIBTORCH to the folder of such a torch`
    expect(problemOf(CUDA, world)).toBe(`it needs libtorch 2.14.1 for CUDA 13 -> ${fix}`)
    expect(found(world)).toMatchObject([{ isInstalled: true }])
    const other = torchFolder('2.13.0')
    expect(problemOf(CUDA, { ...world, pythons: [other] })).toBe(
      `it needs libtorch 2.14.1 for CUDA 13; libtorch 2.13.0 is in ${other} -> ${fix}`,
    )
    const env = { ...world.env, LOPT_LIBTORCH: project }
    expect(problemOf(CUDA, { env })).toBe(
      `it needs libtorch 2.14.1 for CUDA 13; ${project} holds no libtorch -> ${fix}`,
    )
    const cpu = torchFolder('2.14.1', ['torch_cpu'])
    expect(problemOf(CUDA, { ...world, pythons: [cpu] })).toMatch(
      /is not for CUDA: it has no libtorch_cuda\.so/,
    )
  })
})
