// What is packed: manifests that agree with each other and with the table of lib/addon, and the check of what a binary asks for.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkVersions, neededVersions } from '../../scripts/pack/symbols.mjs'
import { DEFAULT_TORCH_VERSION } from '../../scripts/setup/libtorch.mjs'

interface Manifest {
  name: string
  version: string
  private?: boolean
  license: string
  os: string[]
  cpu: string[]
  libc?: string[]
  scripts?: object
  dependencies?: Record<string, string>
  engines?: object
  lopt: { libtorch: string; glibc?: string }
}

const read = (folder: string) =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
const folders = readdirSync('packages', { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
const lopt = read('.')

describe('platform packages', () => {
  test.each(folders)(
    '%s is named as its folder, has a README, and runs no script',
    (folder) => {
      const manifest = read(join('packages', folder))
      expect(manifest.name).toBe(`@lopt/${folder}`)
      expect(existsSync(join('packages', folder, 'README.md'))).toBe(true)
      expect(manifest.scripts).toBeUndefined()
      expect(manifest.os[0]).toBe(manifest.libc ? 'linux' : 'darwin')
      expect(manifest.cpu).toHaveLength(1)
    },
  )

  test.each(folders.filter((folder) => !folder.startsWith('libtorch')))(
    '%s has lopt’s version and asks for lopt’s Node',
    (folder) => {
      const { version, engines } = read(join('packages', folder))
      expect({ version, engines }).toEqual({
        version: lopt.version,
        engines: lopt.engines,
      })
    },
  )

  test('the one for the CPU is of the libtorch that set-up builds for, and names its package’s exact version', () => {
    const addon = read('packages/linux-x64')
    const libtorch = read('packages/libtorch-cpu-linux-x64')
    expect(addon.lopt.libtorch).toBe(DEFAULT_TORCH_VERSION)
    expect(libtorch.lopt.libtorch).toBe(DEFAULT_TORCH_VERSION)
    expect(libtorch.version).toMatch(new RegExp(`^${DEFAULT_TORCH_VERSION}-\\d+$`))
    expect(addon.dependencies).toEqual({ [libtorch.name]: libtorch.version })
  })

  test('those that are not built yet cannot be published', () => {
    const unbuilt = folders.filter((folder) => read(join('packages', folder)).private)
    expect(unbuilt).toEqual(['darwin-arm64', 'linux-arm64'])
  })
})

test('the newest versions that a binary asks for are read from what objdump prints', () => {
  const text = `  VERSYM               0x0000000000000558

Version definitions:
1 0x01 0x0a5b4d72 GLIBC_9.9

Version References:
  required from libc.so.6:
    0x09691a75 0x00 02 GLIBC_2.2.5
    0x06969194 0x00 03 GLIBC_2.14
    0x0d696914 0x00 04 GLIBC_2.4
  required from libstdc++.so.6:
    0x0297f876 0x00 05 GLIBCXX_3.4.22
    0x056bafd3 0x00 06 CXXABI_1.3.9
`
  expect(neededVersions(text)).toEqual({
    GLIBC: '2.14',
    GLIBCXX: '3.4.22',
    CXXABI: '1.3.9',
  })
})

test.runIf(process.platform === 'linux')(
  'the addon that is built here asks for nothing newer than libtorch’s glibc',
  () => {
    const glibc = String(read('packages/linux-x64').lopt.glibc)
    const needed = checkVersions('build/Release/lopt.node', glibc)
    expect(Object.keys(needed).sort()).toEqual(['CXXABI', 'GLIBC', 'GLIBCXX'])
    expect(() => checkVersions('build/Release/lopt.node', '2.3')).toThrow(
      /lopt\.node asks for GLIBC_2\.\d+, newer than 2\.3/,
    )
  },
)
