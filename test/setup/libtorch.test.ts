import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  cacheFolder,
  DEFAULT_TORCH_VERSION,
  libraryName,
  locateLibtorch,
  missingLibraries,
  requireLibraries,
  versionOf,
  wantedVersion,
} from '../../scripts/setup/libtorch.mjs'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lopt-libtorch-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** A folder that looks like a libtorch: the files that set-up reads, no code. */
function fakeLibtorch(path: string, version: string, libraries = ['torch_cpu']): string {
  const folder = join(root, path)
  mkdirSync(join(folder, 'include/torch/headeronly'), { recursive: true })
  mkdirSync(join(folder, 'lib'), { recursive: true })
  writeFileSync(join(folder, 'include/torch/script.h'), '')
  // as torch/headeronly/version.h of libtorch 2.13.0 has it, on two lines
  writeFileSync(
    join(folder, 'include/torch/headeronly/version.h'),
    `#define TORCH_VERSION_MAJOR 2\n\n#define TORCH_VERSION \\\n  "${version}"\n`,
  )
  for (const name of libraries) writeFileSync(join(folder, 'lib', libraryName(name)), '')
  return folder
}

const noPython = { findPythonTorch: () => [] }
const environment = (extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  PATH: '',
  XDG_CACHE_HOME: join(root, 'cache'),
  ...extra,
})

describe('which libtorch is used', () => {
  test('LIBTORCH comes before a fetched copy, that before a Python’s', () => {
    const given = fakeLibtorch('given', '2.13.0')
    const cached = fakeLibtorch('cache/lopt/libtorch-2.13.0-cpu', '2.13.0')
    const python = fakeLibtorch('python/torch', '2.13.1')
    const probes = { findPythonTorch: () => [python] }
    const found = (env: NodeJS.ProcessEnv) => locateLibtorch(env, probes)
    expect(found(environment({ LIBTORCH: given }))).toEqual({
      source: 'LIBTORCH',
      folder: given,
      version: '2.13.0',
    })
    expect(found(environment())).toEqual({
      source: 'cache',
      folder: cached,
      version: '2.13.0',
    })
    rmSync(cached, { recursive: true })
    expect(found(environment())).toEqual({
      source: 'python',
      folder: python,
      version: '2.13.1',
    })
  })

  test('a Python’s torch of another minor version is passed over', () => {
    const python = fakeLibtorch('python/torch', '2.12.0')
    expect(locateLibtorch(environment(), { findPythonTorch: () => [python] })).toBeNull()
  })

  test('the CPU flavour is preferred among fetched copies', () => {
    fakeLibtorch('cache/lopt/libtorch-2.13.0-cu130', '2.13.0')
    const cpu = fakeLibtorch('cache/lopt/libtorch-2.13.0-cpu', '2.13.0')
    fakeLibtorch('cache/lopt/libtorch-2.13.0-xpu', '2.13.0')
    expect(locateLibtorch(environment(), noPython)?.folder).toBe(cpu)
  })

  test('a fetched copy that lost its library is not used', () => {
    const cached = fakeLibtorch('cache/lopt/libtorch-2.13.0-cpu', '2.13.0', [])
    expect(existsSync(cached)).toBe(true)
    expect(locateLibtorch(environment(), noPython)).toBeNull()
  })

  test('a LIBTORCH that holds no libtorch is an error, not a reason to take another', () => {
    fakeLibtorch('cache/lopt/libtorch-2.13.0-cpu', '2.13.0')
    const env = environment({ LIBTORCH: join(root, 'empty') })
    expect(() => locateLibtorch(env, noPython)).toThrow(
      /empty, which holds no libtorch: set it to/,
    )
  })

  test('a LIBTORCH of another minor version is refused with both versions named', () => {
    const LIBTORCH = fakeLibtorch('given', '2.14.1')
    expect(() => locateLibtorch(environment({ LIBTORCH }), noPython)).toThrow(
      /holds libtorch 2\.14\.1, but 2\.13\.0 is expected: set LOPT_TORCH_VERSION=2\.14\.1/,
    )
    const env = environment({ LIBTORCH, LOPT_TORCH_VERSION: '2.14.1' })
    expect(locateLibtorch(env, noPython)?.version).toBe('2.14.1')
  })
})

test('the version comes from the headers', () => {
  expect(versionOf(fakeLibtorch('a', '2.14.1'))).toBe('2.14.1')
  expect(versionOf(join(root, 'nothing'))).toBeNull()
})

test('LOPT_TORCH_VERSION is checked', () => {
  expect(wantedVersion({})).toBe(DEFAULT_TORCH_VERSION)
  expect(() => wantedVersion({ LOPT_TORCH_VERSION: '2.13' })).toThrow(
    'Expected LOPT_TORCH_VERSION like 2.13.0 but received 2.13',
  )
})

test('the cache is XDG_CACHE_HOME’s, else the home folder’s', () => {
  expect(cacheFolder({ XDG_CACHE_HOME: '/x', HOME: '/h' })).toBe('/x/lopt')
  expect(cacheFolder({ HOME: '/h' })).toBe('/h/.cache/lopt')
})

describe.runIf(process.platform === 'linux')('libraries that libtorch needs', () => {
  // as `ldd libtorch_cuda.so` prints them where NVIDIA's wheels are not installed
  const ldd = (library: string) =>
    library.endsWith('libtorch_cuda.so')
      ? '\tlibc10.so => /t/lib/libc10.so (0x1)\n\tlibcudnn.so.9 => not found\n\tlibcublas.so.13 => not found\n'
      : '\tlibc.so.6 => /lib/libc.so.6 (0x1)\n'

  test('are named when they are not found', () => {
    const folder = fakeLibtorch('cuda', '2.13.0', ['torch_cpu', 'torch_cuda'])
    expect(missingLibraries(folder, ldd)).toEqual(['libcublas.so.13', 'libcudnn.so.9'])
    expect(() => requireLibraries({ folder, version: '2.13.0' }, ldd)).toThrow(
      /is built for CUDA and lacks NVIDIA libraries: libcublas\.so\.13, libcudnn\.so\.9: install torch 2\.13\.0 with pip/,
    )
  })

  test('are not complained of when they are all there', () => {
    const folder = fakeLibtorch('cpu', '2.13.0')
    expect(missingLibraries(folder, ldd)).toEqual([])
    expect(() => requireLibraries({ folder, version: '2.13.0' }, ldd)).not.toThrow()
  })
})
