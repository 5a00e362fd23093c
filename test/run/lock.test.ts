// The lock of a run folder, between processes that live, were killed, and are elsewhere.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { isLockFile, lockRun } from '../../lib/run/lock.js'
import { bundledPrograms } from '../programs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-lock-'))
afterAll(() => rmSync(folder, { recursive: true }))

const { folder: programs } = bundledPrograms({ lock: 'run/lock.ts' }, '')

function made(name: string): string {
  const path = join(folder, name)
  mkdirSync(path)
  return path
}

/** A process that takes the lock, says so, and keeps it. */
async function holder(path: string, launcher: readonly string[] = []) {
  const program = join(programs, 'holder.mjs')
  writeFileSync(
    program,
    `import { lockRun } from './lock.mjs'
    await lockRun(process.argv[2])
    console.log(process.pid)
    setInterval(() => {}, 1000)`,
  )
  const [command = '', ...args] = [...launcher, process.execPath, program, path]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = await once(child.stdout, 'data')
  return { child, pid: Number(said) }
}

test('refuses a folder that a living process holds, naming it', async () => {
  const path = made('held')
  const { child, pid } = await holder(path)
  await expect(lockRun(path)).rejects.toMatchObject({
    code: 'ERR_LOCKED',
    message: expect.stringMatching(
      new RegExp(`process ${pid} on ${hostname()}, since \\d{4}-`),
    ),
  })
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  const giveBack = await lockRun(path)
  expect(readdirSync(path).filter(isLockFile)).toHaveLength(1)
  await giveBack()
  expect(readdirSync(path)).toEqual([])
})

test.skipIf(process.platform !== 'linux')(
  'does not wait for a killed process to be reaped (skipped: no /proc)',
  async () => {
    const path = made('zombie')
    // a parent that does not ask how its child ended
    const launcher = ['/bin/sh', '-c', '"$@" & exec sleep 60', 'sh']
    const { child, pid } = await holder(path, launcher)
    process.kill(pid, 'SIGKILL')
    await wait(200)
    expect(process.kill(pid, 0)).toBe(true)
    const giveBack = await lockRun(path)
    await giveBack()
    child.kill('SIGKILL')
  },
)

test('of several that find a dead lock at once, one at a time holds the folder', async () => {
  const holding = { now: 0, most: 0, times: 0 }
  for (let round = 0; round < 20; round += 1) {
    const path = made(`round ${round}`)
    const dead = { ...(await ownLock(path)), pid: 2 ** 22 + 1 }
    const name = 'lock-00000000-0000-4000-8000-000000000000.json'
    writeFileSync(join(path, name), JSON.stringify(dead))
    const contend = async () => {
      const giveBack = await lockRun(path).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'ERR_LOCKED' })
        return undefined
      })
      if (giveBack === undefined) return
      holding.now += 1
      holding.times += 1
      holding.most = Math.max(holding.most, holding.now)
      await wait(10)
      holding.now -= 1
      await giveBack()
    }
    await Promise.all([contend(), contend(), contend()])
    expect(readdirSync(path)).toEqual([])
  }
  expect(holding.most).toBe(1)
  expect(holding.times).toBeGreaterThan(0)
})

/** What this process's lock says. */
async function ownLock(path: string) {
  const giveBack = await lockRun(path)
  const [name = ''] = readdirSync(path)
  const lock = JSON.parse(readFileSync(join(path, name), 'utf8'))
  await giveBack()
  return lock
}

test('counts a process elsewhere as alive, a reused number as gone, and refuses nonsense', async () => {
  const name = 'lock-00000000-0000-4000-8000-000000000000.json'
  const own = await ownLock(made('own'))
  const locked = (kind: string, text: string) => {
    const path = made(kind)
    writeFileSync(join(path, name), text)
    return lockRun(path)
  }
  const refused = { code: 'ERR_LOCKED', message: expect.stringContaining(name) }
  for (const [kind, text] of [
    ['host', JSON.stringify({ ...own, host: 'elsewhere' })],
    ['container', JSON.stringify({ ...own, processes: 'pid:[1]' })],
    ['nonsense', 'nonsense'],
  ] as const) {
    await expect(locked(kind, text)).rejects.toMatchObject(refused)
  }
  const reused = await locked('reused', JSON.stringify({ ...own, began: 'before' }))
  await reused()
})
