import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  lopt,
  type Outcome,
  quick,
  reviews,
  temporaryFolder,
  writeRows,
} from './run-cli.js'

const folder = temporaryFolder()
const data = writeRows(folder, 'rows.jsonl', reviews(60))

function train(out: string, ...launcher: string[]): Promise<Outcome> {
  const args = ['train', ...quick, '--data', data, '--steps', '4000', '--out', out]
  return lopt(args, { launcher })
}

test('refuses a folder that holds another run, before training', async () => {
  const out = join(folder, 'used')
  mkdirSync(out)
  writeFileSync(join(out, 'config.json'), '{}')
  const { code, stdout, stderr } = await train(out)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toBe(
    `lopt: ERR_IO: The run folder ${out} is not empty (it holds config.json): name another, or ` +
      'remove it, or go on with it (--resume)\n',
  )
  expect(readdirSync(out)).toEqual(['config.json'])
})

test('refuses a folder whose path leads through a file', async () => {
  const { code, stderr } = await train(join(data, 'run'))
  expect(code).toBe(1)
  expect(stderr).toMatch(/^lopt: ERR_IO: Cannot make the run folder .*: ENOTDIR/)
})

// root may write everywhere, unless its capabilities are taken away
const isRoot = process.getuid?.() === 0
const withoutCapabilities = ['setpriv', '--bounding-set=-all', '--inh-caps=-all']
const canBeDenied = !isRoot || spawnSync('setpriv', ['--version']).status === 0

test.skipIf(!canBeDenied)(
  'refuses a read-only folder before training (skipped: root without setpriv)',
  async () => {
    const parent = join(folder, 'read-only')
    const empty = join(parent, 'empty')
    mkdirSync(empty, { recursive: true })
    chmodSync(empty, 0o555)
    chmodSync(parent, 0o555)
    const launcher = isRoot ? withoutCapabilities : []
    for (const out of [join(parent, 'run'), empty]) {
      const { code, stdout, stderr } = await train(out, ...launcher)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/^lopt: ERR_IO: .*(EACCES|permission denied).*\n$/)
      expect(stderr).toContain(out)
    }
    chmodSync(parent, 0o755)
  },
)

const disk = join(folder, 'full')
mkdirSync(disk)
// 4 pages: the configuration fits, the events do not
const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk])

test.skipIf(mount.status !== 0)(
  'fails with the file when the disk is full (skipped: no tmpfs can be mounted)',
  async () => {
    try {
      const out = join(disk, 'run')
      const { code, stderr } = await train(out)
      expect(code).toBe(1)
      const last = stderr.trimEnd().split('\n').at(-1)
      expect(last).toMatch(/^lopt: ERR_IO: Cannot write .*(ENOSPC|no space left).*/)
      expect(existsSync(join(out, 'config.json'))).toBe(true)
    } finally {
      execFileSync('umount', [disk])
    }
  },
)
