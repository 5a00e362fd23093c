// Files are replaced whole or not at all, and a refusal says what to do.

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { replaceFile, writeFileAtomic } from '../../lib/atomic-file.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lopt-atomic-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const bytes = (text: string) => new TextEncoder().encode(text)

function mountTmpfs(folder: string, options: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], {
      stdio: 'pipe',
    })
    return true
  } catch {
    return false
  }
}

describe('writeFileAtomic', () => {
  test('writes bytes, and chunks in order', async () => {
    const path = join(folder, 'a')
    await writeFileAtomic(path, bytes('one'))
    expect(readFileSync(path, 'utf8')).toBe('one')
    async function* chunks() {
      yield bytes('two ')
      yield bytes('')
      yield new Uint8Array(3_000_000).fill(46)
      yield bytes(' three')
    }
    await writeFileAtomic(path, chunks())
    const text = readFileSync(path, 'utf8')
    expect(text.length).toBe(3_000_010)
    expect(text.startsWith('two .')).toBe(true)
    expect(text.endsWith('. three')).toBe(true)
    expect(readdirSync(folder)).toEqual(['a'])
  })

  test('leaves the old file when the source of the chunks fails, and passes its error on', async () => {
    const path = join(folder, 'a')
    writeFileSync(path, 'old')
    async function* chunks() {
      yield bytes('new')
      throw new RangeError('source')
    }
    await expect(writeFileAtomic(path, chunks())).rejects.toThrow(
      new RangeError('source'),
    )
    expect(readFileSync(path, 'utf8')).toBe('old')
    expect(readdirSync(folder)).toEqual(['a'])
  })

  test('names the folder that is not there', async () => {
    await expect(
      writeFileAtomic(join(folder, 'none', 'a'), bytes('')),
    ).rejects.toMatchObject({
      code: 'ERR_IO',
      message: `Cannot write a in ${join(folder, 'none')}: there is no such folder. Create it first.`,
      cause: { code: 'ENOENT' },
    })
  })

  test('refuses the name of a folder', async () => {
    const own = mkdtempSync(join(folder, 'named-'))
    mkdirSync(join(own, 'taken'))
    await expect(writeFileAtomic(join(own, 'taken'), bytes(''))).rejects.toMatchObject({
      code: 'ERR_IO',
    })
    expect(readdirSync(own)).toEqual(['taken'])
  })

  test('says what to do in a read-only folder', async () => {
    const own = mkdtempSync(join(folder, 'read-only-'))
    chmodSync(own, 0o500)
    const root = process.geteuid?.() === 0
    if (root) process.seteuid?.(65534) // root may write anywhere: be nobody for a while
    try {
      await expect(writeFileAtomic(join(own, 'a'), bytes(''))).rejects.toMatchObject({
        code: 'ERR_IO',
        message: expect.stringContaining('permission denied'),
        cause: { code: 'EACCES' },
      })
    } finally {
      if (root) process.seteuid?.(0)
    }
  })

  test('says what to do on a read-only file system', async (context) => {
    const disk = mkdtempSync(join(folder, 'disk-'))
    if (!mountTmpfs(disk, 'ro')) return context.skip('a tmpfs cannot be mounted here')
    try {
      await expect(writeFileAtomic(join(disk, 'a'), bytes(''))).rejects.toMatchObject({
        code: 'ERR_IO',
        message: `Cannot write a in ${disk}: its file system is read-only. Write to another folder.`,
        cause: { code: 'EROFS' },
      })
    } finally {
      execFileSync('umount', [disk])
    }
  })

  test('says what to do on a full disk, and leaves nothing on it', async (context) => {
    const disk = mkdtempSync(join(folder, 'disk-'))
    if (!mountTmpfs(disk, 'size=64k'))
      return context.skip('a tmpfs cannot be mounted here')
    try {
      await expect(
        writeFileAtomic(join(disk, 'a'), new Uint8Array(1_000_000)),
      ).rejects.toMatchObject({
        code: 'ERR_IO',
        message: `Cannot write a in ${disk}: no space left on its disk. Free some, or write to another folder.`,
        cause: { code: 'ENOSPC' },
      })
      expect(readdirSync(disk)).toEqual([])
    } finally {
      execFileSync('umount', [disk])
    }
  })
})

describe('replaceFile', () => {
  test('takes the file that is made under the temporary name', async () => {
    const path = join(folder, 'b')
    await replaceFile(path, async (temporary) => writeFileSync(temporary, 'made'))
    expect(readFileSync(path, 'utf8')).toBe('made')
  })
})
