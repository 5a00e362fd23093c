import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { System } from '../../lib/addon/system.js'
import { tryAddon } from '../../lib/addon/trial.js'
import { diagnose, runDoctor } from '../../lib/cli/doctor.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lopt-doctor-'))
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(root, { recursive: true, force: true })
})

/** A package whose own build is the given code: Node takes a file for what its real path says. */
function packageThatLoads(code: string): string {
  const release = join(root, 'build/Release')
  mkdirSync(release, { recursive: true })
  writeFileSync(join(root, 'package.json'), '{"name": "lopt", "version": "0.1.0"}')
  writeFileSync(join(root, 'addon.cjs'), code)
  rmSync(join(release, 'lopt.node'), { force: true })
  symlinkSync(join(root, 'addon.cjs'), join(release, 'lopt.node'))
  return root
}

const LOADED = `module.exports = {
  torchVersion: '2.13.0', torchVersionBuilt: '2.13.0', cudaVersion: '13.0', graphs: true,
  products: 'libtorch',
  cpuFeatures: ['avx2', 'avx512_bf16'], availableDevices: () => ['cpu', 'cuda:0'],
}`

/** What the child process makes of a package's own build. */
const tried = (folder: string) =>
  tryAddon({ addon: join(folder, 'build/Release/lopt.node'), libraries: [] }, process.env)

const SYSTEM: System = {
  platform: 'linux',
  arch: 'x64',
  node: '20.17.0',
  glibc: '2.36',
  hasNvidiaDriver: false,
}

describe('the addon', () => {
  test('is asked for its version and devices', () => {
    expect(tried(packageThatLoads(LOADED))).toEqual({
      ok: true,
      facts: {
        torchVersion: '2.13.0',
        torchVersionBuilt: '2.13.0',
        cudaVersion: '13.0',
        graphs: true,
        products: 'libtorch',
        cpuFeatures: ['avx2', 'avx512_bf16'],
        devices: ['cpu', 'cuda:0'],
      },
    })
  })

  test('that crashes takes only the child process with it', () => {
    expect(tried(packageThatLoads('process.abort()'))).toEqual({
      ok: false,
      reason: 'the process that loaded it ended by SIGABRT',
    })
  })

  test('that does not load gives the loader’s reason in one line', () => {
    const code = "throw new Error('libtorch_cpu.so: cannot open shared object file')"
    expect(tried(packageThatLoads(code))).toEqual({
      ok: false,
      reason: 'Error: libtorch_cpu.so: cannot open shared object file',
    })
  })
})

describe('what the doctor finds', () => {
  const nothing = (): NodeJS.ProcessEnv => ({
    PATH: '',
    XDG_CACHE_HOME: join(root, 'cache'),
  })

  test('on a bare machine: everything that set-up needs, each with how to mend it', () => {
    const folder = packageThatLoads("throw new Error('no addon')")
    const findings = diagnose(folder, nothing(), SYSTEM)
    const missing = findings.filter(({ ok }) => !ok)
    expect(missing.map(({ name }) => name)).toEqual([
      'compiler',
      'cmake',
      'make',
      'pip',
      'libtorch',
      'addon',
    ])
    for (const { needed, fix } of missing) {
      expect(needed).toBe(true)
      expect(fix).toMatch(/install |run `npx lopt build`/)
    }
  })

  test('where the addon loads: what only compiling needs is not needed', () => {
    const findings = diagnose(packageThatLoads(LOADED), nothing(), SYSTEM)
    expect(findings.filter(({ ok, needed }) => needed && !ok)).toEqual([])
    expect(findings.at(-1)).toMatchObject({ name: 'devices', detail: 'cpu, cuda:0' })
  })

  test('of libtorch: what it is built for, and a GPU that is missing', () => {
    const found = (code: string) =>
      diagnose(packageThatLoads(code), nothing(), SYSTEM).slice(-3)
    const details = (code: string) => found(code).map(({ ok, detail }) => [ok, detail])
    const faster = found(LOADED.replace("'libtorch'", "'onednn'"))
    expect(faster[0]?.detail).toMatch(/matrix products on the CPU by oneDNN$/)
    expect(details(LOADED)).toEqual([
      [
        true,
        'its own build (it comes before packages), with libtorch 2.13.0 for CUDA 13.0, with graphs',
      ],
      [true, 'instructions for bfloat16 by avx512_bf16; for int8 by none of its own'],
      [true, 'cpu, cuda:0'],
    ])
    const noGpu = LOADED.replace("['cpu', 'cuda:0']", "['cpu']")
    expect(details(noGpu).at(-1)).toEqual([true, 'cpu (no NVIDIA GPU or no driver)'])
    expect(details(noGpu.replace("'13.0'", 'null'))).toEqual([
      [
        true,
        'its own build (it comes before packages), with libtorch 2.13.0 for the CPU alone',
      ],
      [true, 'instructions for bfloat16 by avx512_bf16; for int8 by none of its own'],
      [true, 'cpu'],
    ])
  })

  test('with a LIBTORCH that holds none: the folder and what it must hold', () => {
    const env = { ...nothing(), LIBTORCH: root }
    const findings = diagnose(
      packageThatLoads("throw new Error('no addon')"),
      env,
      SYSTEM,
    )
    expect(findings.find(({ name }) => name === 'libtorch')).toMatchObject({
      ok: false,
      detail: `LIBTORCH is ${root}, which holds no libtorch`,
      fix: expect.stringContaining('include/torch/script.h'),
    })
  })

  test('where the addon was compiled for another libtorch: both versions', () => {
    const code = LOADED.replace("torchVersion: '2.13.0'", "torchVersion: '2.14.1'")
    const addon = diagnose(packageThatLoads(code), nothing(), SYSTEM).at(-1)
    expect(addon).toMatchObject({
      ok: false,
      detail:
        'its own build (it comes before packages) does not load: it was compiled for libtorch 2.13.0 but loads 2.14.1',
    })
  })
})

test('without an addon the doctor names each that was looked for, and what to do', () => {
  writeFileSync(join(root, 'package.json'), '{"name": "lopt", "version": "0.1.0"}')
  const env = { PATH: '', XDG_CACHE_HOME: join(root, 'cache') }
  const addons = diagnose(root, env, SYSTEM).filter(({ name }) => name === 'addon')
  expect(addons.map(({ detail, fix }) => [detail, fix])).toEqual([
    [`its own build: there is no ${join(root, 'build/Release/lopt.node')}`, undefined],
    [
      '@lopt/linux-x64: it is not installed',
      'npm install @lopt/linux-x64@0.1.0, or run `npx lopt build`',
    ],
  ])
})

test('doctor --json prints one object a line on stdout and ends with the result', async () => {
  const printed: string[] = []
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed.push(String(text))
    return true
  })
  const code = await runDoctor({ json: true })
  const lines = printed.map((line) => JSON.parse(line))
  expect(lines.map(({ type }) => type)).toEqual([
    ...Array.from({ length: lines.length - 1 }, () => 'check'),
    'result',
  ])
  // tests run after set-up: the addon loads
  expect(lines.at(-1)).toEqual({ type: 'result', ok: true })
  expect(code).toBe(0)
})
