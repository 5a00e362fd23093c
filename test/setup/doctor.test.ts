import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { diagnose, runDoctor } from '../../lib/cli/doctor.js'
import { tryAddon } from '../../scripts/setup/addon.mjs'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lopt-doctor-'))
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(root, { recursive: true, force: true })
})

/** A package whose addon's loader runs the given code. */
function packageThatLoads(code: string): string {
  const folder = join(root, 'node_modules/node-gyp-build')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'index.js'), code)
  return root
}

const LOADED = `module.exports = () => ({
  torchVersion: '2.13.0', torchVersionBuilt: '2.13.0', cudaVersion: '13.0', products: 'libtorch',
  cpuFeatures: ['avx2', 'avx512_bf16'], availableDevices: () => ['cpu', 'cuda:0'],
})`

describe('the addon', () => {
  test('is asked for its version and devices', () => {
    expect(tryAddon(packageThatLoads(LOADED), process.env)).toEqual({
      ok: true,
      facts: {
        torchVersion: '2.13.0',
        torchVersionBuilt: '2.13.0',
        cudaVersion: '13.0',
        products: 'libtorch',
        cpuFeatures: ['avx2', 'avx512_bf16'],
        devices: ['cpu', 'cuda:0'],
      },
    })
  })

  test('that crashes takes only the child process with it', () => {
    const tried = tryAddon(packageThatLoads('process.abort()'), process.env)
    expect(tried).toEqual({
      ok: false,
      reason: 'the process that loaded it ended by SIGABRT',
    })
  })

  test('that does not load gives the loader’s reason in one line', () => {
    const code = "throw new Error('libtorch_cpu.so: cannot open shared object file')"
    expect(tryAddon(packageThatLoads(code), process.env)).toEqual({
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
    const findings = diagnose(packageThatLoads("throw new Error('no addon')"), nothing())
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
      expect(fix).toMatch(/install |run `npm run setup`/)
    }
  })

  test('where the addon loads: what only compiling needs is not needed', () => {
    const findings = diagnose(packageThatLoads(LOADED), nothing())
    expect(findings.filter(({ ok, needed }) => needed && !ok)).toEqual([])
    expect(findings.at(-1)).toMatchObject({ name: 'devices', detail: 'cpu, cuda:0' })
  })

  test('of libtorch: what it is built for, and a GPU that is missing', () => {
    const found = (code: string) => diagnose(packageThatLoads(code), nothing()).slice(-3)
    const details = (code: string) => found(code).map(({ ok, detail }) => [ok, detail])
    const faster = found(LOADED.replace("'libtorch'", "'onednn'"))
    expect(faster[0]?.detail).toMatch(/matrix products on the CPU by oneDNN$/)
    expect(details(LOADED)).toEqual([
      [true, 'the addon loads, with libtorch 2.13.0 for CUDA 13.0'],
      [true, 'instructions for bfloat16 by avx512_bf16; for int8 by none of its own'],
      [true, 'cpu, cuda:0'],
    ])
    const noGpu = LOADED.replace("['cpu', 'cuda:0']", "['cpu']")
    expect(details(noGpu).at(-1)).toEqual([true, 'cpu (no NVIDIA GPU or no driver)'])
    expect(details(noGpu.replace("'13.0'", 'null'))).toEqual([
      [true, 'the addon loads, with libtorch 2.13.0 for the CPU alone'],
      [true, 'instructions for bfloat16 by avx512_bf16; for int8 by none of its own'],
      [true, 'cpu'],
    ])
  })

  test('with a LIBTORCH that holds none: the folder and what it must hold', () => {
    const env = { ...nothing(), LIBTORCH: root }
    const findings = diagnose(packageThatLoads("throw new Error('no addon')"), env)
    expect(findings.find(({ name }) => name === 'libtorch')).toMatchObject({
      ok: false,
      detail: `LIBTORCH is ${root}, which holds no libtorch`,
      fix: expect.stringContaining('include/torch/script.h'),
    })
  })

  test('where the addon was compiled for another libtorch: both versions', () => {
    const code = LOADED.replace("torchVersion: '2.13.0'", "torchVersion: '2.14.1'")
    const addon = diagnose(packageThatLoads(code), nothing()).at(-1)
    expect(addon).toMatchObject({
      ok: false,
      detail: 'the addon was compiled for libtorch 2.13.0 but loads 2.14.1',
    })
  })
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
