// Set-up as a program, in a PATH made for the test, and the rules by which a step is skipped.
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hashInputs, isFresh, writeStamp } from '../../scripts/setup/inputs.mjs'
import { withLock } from '../../scripts/setup/lock.mjs'
import { isInstalled } from '../../scripts/setup/packages.mjs'
import { findProgram } from '../../scripts/setup/process.mjs'
import { probeCMake, probeCompiler, probePip } from '../../scripts/setup/tools.mjs'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lopt-setup-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** A folder for the PATH that has only the named programs of this machine. */
function pathWith(names: readonly string[]): string {
  const folder = join(root, 'bin')
  mkdirSync(folder)
  for (const name of names) {
    const program = findProgram(name, process.env)
    if (program) symlinkSync(program, join(folder, name))
  }
  return folder
}

/** A program that prints a text, whatever it is asked. */
function fakeProgram(name: string, text: string): NodeJS.ProcessEnv {
  const folder = join(root, 'fake')
  mkdirSync(folder)
  writeFileSync(join(folder, name), `#!/bin/sh\ncat >/dev/null\necho '${text}'\n`, {
    mode: 0o755,
  })
  return { PATH: `${folder}:/usr/bin:/bin` }
}

describe('a missing tool', () => {
  test('is said in one line each, with what to install, before anything is done', () => {
    const PATH = pathWith([])
    const { status, stderr } = spawnSync(process.execPath, ['scripts/setup.mjs'], {
      env: { PATH, XDG_CACHE_HOME: join(root, 'cache') },
      encoding: 'utf8',
    })
    expect(status).toBe(1)
    const lines = stderr.trim().split('\n')
    expect(lines).toHaveLength(4)
    expect(lines[0]).toMatch(/^setup: no C\+\+ compiler on the PATH: install /)
    expect(lines[1]).toMatch(/^setup: no cmake on the PATH: install CMake 3\.18 or newer/)
    expect(lines[2]).toMatch(/^setup: neither ninja nor make on the PATH: install /)
    expect(lines[3]).toMatch(/^setup: no Python on the PATH: install Python 3 with pip/)
    expect(existsSync(join(root, 'cache'))).toBe(false)
  })

  test('CMake older than 3.18 is too old', () => {
    const found = probeCMake(fakeProgram('cmake', 'cmake version 3.9.2'))
    expect(found).toMatchObject({ ok: false, detail: 'CMake 3.9.2 is too old' })
    expect(found.fix).toContain('3.18')
  })

  test('CMake 4 is new enough', () => {
    const env = fakeProgram('cmake', 'cmake version 4.0.1')
    expect(probeCMake(env)).toEqual({ name: 'cmake', ok: true, detail: 'CMake 4.0.1' })
  })

  test('a compiler that refuses C++20 is named', () => {
    const folder = join(root, 'old')
    mkdirSync(folder)
    // answers --version, fails at everything else, as g++ 7 does with -std=c++20
    const script = '#!/bin/sh\n[ "$1" = --version ] && echo "g++ 7.5.0"\n'
    writeFileSync(join(folder, 'c++'), script, { mode: 0o755 })
    expect(probeCompiler({ PATH: folder })).toMatchObject({
      ok: false,
      detail: 'the C++ compiler has no C++20: g++ 7.5.0',
    })
  })

  test('Python without pip is told apart from no Python', () => {
    const folder = join(root, 'python')
    mkdirSync(folder)
    writeFileSync(join(folder, 'python3'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    expect(probePip({ PATH: folder }).detail).toBe('Python has no pip')
  })
})

test('a wrong option prints the usage and exits with 2', () => {
  const run = spawnSync(process.execPath, ['scripts/setup.mjs', '--only', 'nothing'], {
    encoding: 'utf8',
  })
  expect(run.status).toBe(2)
  expect(run.stderr).toContain('Usage: node scripts/setup.mjs')
})

describe('inputs of a step', () => {
  const hash = (facts?: Record<string, string>) => hashInputs(root, ['src', 'one'], facts)
  beforeEach(() => {
    mkdirSync(join(root, 'src/deep'), { recursive: true })
    writeFileSync(join(root, 'src/deep/a.cc'), 'int a;')
    writeFileSync(join(root, 'one'), '1')
  })

  test('hash the same whatever their times are', () => {
    const before = hash()
    utimesSync(join(root, 'one'), 1, 1)
    expect(hash()).toBe(before)
  })

  test('hash differently when a file changes, comes, goes, or a fact does', () => {
    const seen = new Set([
      hash(),
      hash({ version: '2.13.0' }),
      hash({ version: '2.14.0' }),
    ])
    writeFileSync(join(root, 'src/deep/a.cc'), 'int b;')
    seen.add(hash())
    writeFileSync(join(root, 'src/b.cc'), '')
    seen.add(hash())
    rmSync(join(root, 'one'))
    seen.add(hash())
    expect(seen.size).toBe(6)
  })

  test('are fresh only when the stamp holds the same hash', () => {
    const stamp = join(root, 'build/stamp')
    expect(isFresh(stamp, hash())).toBe(false)
    writeStamp(stamp, hash())
    expect(isFresh(stamp, hash())).toBe(true)
    writeFileSync(join(root, 'one'), '2')
    expect(isFresh(stamp, hash())).toBe(false)
  })
})

describe('npm packages', () => {
  const lock = {
    packages: {
      '': {},
      'node_modules/zod': { version: '4.1.0' },
      'node_modules/esbuild-darwin': { version: '1.0.0', optional: true },
    },
  }

  test('are installed when each version is the lock’s; other platforms’ may lack', () => {
    const packages = { 'node_modules/zod': { version: '4.1.0' } }
    expect(isInstalled(lock, { packages })).toBe(true)
  })

  test('are not installed when one lacks or has another version', () => {
    expect(isInstalled(lock, { packages: {} })).toBe(false)
    const packages = { 'node_modules/zod': { version: '4.0.0' } }
    expect(isInstalled(lock, { packages })).toBe(false)
  })

  test('are installed here as the lock says', () => {
    const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
    const installed = read('node_modules/.package-lock.json')
    expect(isInstalled(read('package-lock.json'), installed)).toBe(true)
  })
})

describe('the lock of a folder', () => {
  test('lets one at a time work', async () => {
    const file = join(root, 'build/setup.lock')
    let inside = 0
    const work = () =>
      withLock(file, async () => {
        inside++
        await new Promise((resolve) => setTimeout(resolve, 20))
        expect(inside).toBe(1)
        inside--
      })
    await Promise.all([work(), work()])
    expect(existsSync(file)).toBe(false)
  })

  test('of a process that is gone is taken over', async () => {
    const file = join(root, 'setup.lock')
    const gone = spawnSync(process.execPath, ['-e', '0'])
    writeFileSync(file, String(gone.pid))
    await expect(withLock(file, async () => 'done')).resolves.toBe('done')
  })
})
