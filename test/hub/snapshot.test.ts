import { spawn } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  type DownloadEvent,
  downloadSnapshot,
  type HubSettings,
  hubSettings,
  type SnapshotOptions,
} from '../../lib/hub/index.js'
import { type HubServer, sha256, startHub } from './hub-server.js'

const large = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251))
const small = Buffer.from('{"model_type": "gpt2"}')
const files = { 'config.json': small, 'sub/model.safetensors': large }

let hub: HubServer
let cacheDir: string
beforeEach(async () => {
  hub = await startHub(files)
  cacheDir = mkdtempSync(join(tmpdir(), 'lopt-hub-'))
})
afterEach(async () => {
  await hub.close()
  rmSync(cacheDir, { recursive: true, force: true })
})

function settings(change: Partial<HubSettings> = {}): HubSettings {
  const { endpoint } = hub
  const common = { token: undefined, offline: false, timeoutMs: 2000 }
  return { endpoint, cacheDir, ...common, ...change }
}

function download(change: Partial<SnapshotOptions> = {}): Promise<string> {
  return downloadSnapshot({
    id: 'org/tiny',
    select: (paths) => paths,
    settings: settings(),
    firstDelayMs: 10,
    ...change,
  })
}

async function failure(change: Partial<SnapshotOptions> = {}) {
  return await download(change).then(
    () => {
      throw new Error('downloaded')
    },
    (error: { code?: string; message: string }) => error,
  )
}

/** Requests for the large file's content. */
function contentRequests() {
  return hub.requests.filter(({ url }) => url === '/content/sub/model.safetensors')
}

const repositoryFolder = () => join(cacheDir, 'models--org--tiny')
const blob = (content: Buffer) => join(repositoryFolder(), 'blobs', sha256(content))

function expectWhole(folder: string): void {
  for (const [path, content] of Object.entries(files)) {
    expect(readFileSync(join(folder, path)).equals(content), path).toBe(true)
  }
}

describe('a download', () => {
  test("lies in the cache as Python's libraries put it", async () => {
    const folder = await download()
    expectWhole(folder)
    expect(folder).toBe(join(repositoryFolder(), 'snapshots', hub.commit))
    const ref = readFileSync(join(repositoryFolder(), 'refs', 'main'), 'utf8')
    expect(ref).toBe(hub.commit)
    const link = join(folder, 'sub', 'model.safetensors')
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
    expect(readlinkSync(link)).toBe(join('..', '..', '..', 'blobs', sha256(large)))
    expect(readdirSync(join(repositoryFolder(), 'blobs')).length).toBe(2)
  })

  test('takes the selected files only, and a second time none', async () => {
    await download({ select: () => ['config.json'] })
    expect(contentRequests()).toEqual([])
    await download()
    const before = hub.requests.length
    expectWhole(await download())
    const asked = hub.requests.slice(before).map(({ url }) => url)
    expect(asked.filter((url) => url.includes('/resolve/'))).toEqual([])
  })

  test('takes what Python has put into the cache', async () => {
    mkdirSync(join(repositoryFolder(), 'blobs'), { recursive: true })
    writeFileSync(blob(large), large)
    expectWhole(await download())
    expect(contentRequests()).toEqual([])
  })

  test('tells how far it is, and writes nothing to the terminal', async () => {
    const writes = [process.stdout, process.stderr].map((stream) =>
      vi.spyOn(stream, 'write').mockReturnValue(true),
    )
    const events: DownloadEvent[] = []
    await download({ onEvent: (event) => events.push(event) })
    const written = writes.map((spy) => spy.mock.calls.length)
    for (const spy of writes) spy.mockRestore()
    expect(written).toEqual([0, 0])
    const last = events.at(-1)
    const totalBytes = small.length + large.length
    expect(last).toMatchObject({
      type: 'progress',
      totalBytes,
      totalDoneBytes: totalBytes,
    })
  })

  test('sends the token to the hub alone, not to where it redirects', async () => {
    await download({ settings: settings({ token: 'hf_secret' }) })
    const [own, other] = [true, false].map((isOwn) =>
      hub.requests.filter(({ host }) => host.startsWith('127.0.0.1') === isOwn),
    )
    expect(new Set(own?.map(({ authorization }) => authorization))).toEqual(
      new Set(['Bearer hf_secret']),
    )
    expect(other?.length).toBe(2)
    expect(other?.every(({ authorization }) => authorization === undefined)).toBe(true)
  })
})

describe('a download goes on', () => {
  test('after the connection was cut, from where it was', async () => {
    hub.faults = [{ path: '/content/sub/model.safetensors', times: 2, cutAfter: 100_000 }]
    expectWhole(await download())
    const ranges = contentRequests().map(({ range }) => range)
    expect(ranges).toEqual([undefined, 'bytes=100000-', 'bytes=200000-'])
  })

  test('after it stalled', async () => {
    hub.faults = [
      { path: '/content/sub/model.safetensors', times: 1, stallAfter: 50_000 },
    ]
    expectWhole(await download({ settings: settings({ timeoutMs: 300 }) }))
    expect(contentRequests().at(-1)?.range).toBe('bytes=50000-')
  })

  test('in another process, from what a killed one left', async () => {
    mkdirSync(join(repositoryFolder(), 'blobs'), { recursive: true })
    writeFileSync(`${blob(large)}.incomplete`, large.subarray(0, 123_456))
    expectWhole(await download())
    expect(contentRequests().map(({ range }) => range)).toEqual(['bytes=123456-'])
    expect(existsSync(`${blob(large)}.incomplete`)).toBe(false)
  })

  test('from the beginning where the server knows no ranges', async () => {
    hub.faults = [
      { path: '/content/sub/model.safetensors', times: 1, cutAfter: 100_000 },
      { path: '/content/sub/model.safetensors', times: 1, ignoreRange: true },
    ]
    expectWhole(await download())
  })

  test('from the beginning where the parts do not fit together', async () => {
    mkdirSync(join(repositoryFolder(), 'blobs'), { recursive: true })
    writeFileSync(`${blob(large)}.incomplete`, Buffer.alloc(1000, 1))
    expectWhole(await download())
    expect(contentRequests().map(({ range }) => range)).toEqual([
      'bytes=1000-',
      undefined,
    ])
  })

  test('after a server that was busy', async () => {
    hub.faults = [
      { path: '/revision/main', times: 1, status: 503 },
      { path: 'config.json', times: 1, status: 429, headers: { 'retry-after': '0' } },
    ]
    expectWhole(await download())
  })
})

describe('a download is refused', () => {
  test.each([
    [404, {}, /org\/tiny \(main\).*404.*check name and revision/],
    [401, {}, /401.*give a token in HF_TOKEN/],
    [401, { token: 'hf_x' }, /401.*token of HF_TOKEN may not read it/],
    [403, { token: 'hf_x' }, /403.*accept its licence/],
  ])('by %i, with what to do', async (status, change, message) => {
    hub.faults = [{ path: '/revision/main', status }]
    const error = await failure({ settings: settings(change) })
    expect(error).toMatchObject({ code: 'ERR_NETWORK' })
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain('hf_x')
    expect(hub.requests.length).toBe(1)
  })

  test('by a file that is not there', async () => {
    hub.faults = [{ path: '/content/config.json', status: 404 }]
    const error = await failure()
    expect(error).toMatchObject({ code: 'ERR_NETWORK' })
    expect(error.message).toMatch(/config\.json.*404/)
  })

  test('by a server that stays away, after five attempts', async () => {
    hub.faults = [{ path: '/content/config.json', status: 503 }]
    const error = await failure()
    expect(error).toMatchObject({ code: 'ERR_NETWORK' })
    expect(error.message).toMatch(
      /download config\.json: the server answered 503, 5 times/,
    )
    const asked = hub.requests.filter(({ url }) => url === '/content/config.json')
    expect(asked.length).toBe(5)
  })

  test.each([
    ['too much', Buffer.concat([large, small]), /more than the 300000 bytes/],
    ['too little', large.subarray(0, 200_000), /200000 of 300000 bytes came/],
    ['something else', Buffer.alloc(300_000, 1), /checksum of what came/],
  ])('when %s comes', async (_, content, message) => {
    hub.faults = [{ path: '/content/sub/model.safetensors', content }]
    const error = await failure()
    expect(error).toMatchObject({ code: 'ERR_NETWORK' })
    expect(error.message).toMatch(message)
    expect(existsSync(blob(large))).toBe(false)
    expect(existsSync(join(repositoryFolder(), 'snapshots'))).toBe(false)
  })

  test.each(['../../evil', '/etc/evil', 'a/../../evil', 'a\\evil', 'c:evil'])(
    'when the hub lists a file named %s',
    async (path) => {
      await hub.close()
      hub = await startHub({ [path]: small })
      const error = await failure({ settings: settings() })
      expect(error).toMatchObject({ code: 'ERR_NETWORK' })
      expect(error.message).toMatch(/is no path inside a repository/)
    },
  )

  test.each(['../x', 'a/b/c', 'a b', '', 'a/..', 'a--b'])(
    'for a repository named %j',
    async (id) => {
      await expect(download({ id })).rejects.toThrow(TypeError)
      expect(hub.requests).toEqual([])
    },
  )

  test('once it is aborted, and goes on another time', async () => {
    hub.faults = [
      { path: '/content/sub/model.safetensors', stallAfter: 60_000, times: 1 },
    ]
    const stop = new AbortController()
    const error = await failure({
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === 'progress' && event.doneBytes >= 60_000) stop.abort()
      },
    })
    expect(error).toMatchObject({ code: 'ERR_ABORTED' })
    expectWhole(await download())
    expect(contentRequests().at(-1)?.range).toBe('bytes=60000-')
  })

  test('by a cache that cannot be written', async () => {
    const file = join(cacheDir, 'file')
    writeFileSync(file, '')
    const error = await failure({ settings: settings({ cacheDir: file }) })
    expect(error).toMatchObject({ code: 'ERR_IO' })
    expect(error.message).toContain('HF_HOME')
  })
})

describe('without the hub', () => {
  const away = () => settings({ endpoint: 'http://127.0.0.1:9', timeoutMs: 500 })

  test('what the cache has is taken, with a notice', async () => {
    const folder = await download()
    const events: DownloadEvent[] = []
    const again = await download({
      settings: away(),
      onEvent: (event) => events.push(event),
    })
    expect(again).toBe(folder)
    expect(events).toEqual([
      { type: 'notice', message: expect.stringMatching(/cannot be reached.*cache/) },
    ])
  })

  test('and without a cache it fails', async () => {
    const error = await failure({ settings: away() })
    expect(error).toMatchObject({ code: 'ERR_NETWORK' })
    expect(error.message).toMatch(/find org\/tiny \(main\).*5 times/)
  })

  test('offline it is not asked: the cache has it, or it fails with what to do', async () => {
    const offline = { settings: settings({ offline: true }) }
    const error = await failure(offline)
    expect(error).toMatchObject({ code: 'ERR_NETWORK' })
    expect(error.message).toContain('HF_HUB_OFFLINE')
    expect(hub.requests).toEqual([])
    const folder = await download()
    const before = hub.requests.length
    expect(await download(offline)).toBe(folder)
    expect(hub.requests.length).toBe(before)
  })

  test("offline, a snapshot of Python's is found", async () => {
    const snapshot = join(repositoryFolder(), 'snapshots', hub.commit)
    mkdirSync(join(repositoryFolder(), 'blobs'), { recursive: true })
    mkdirSync(join(repositoryFolder(), 'refs'))
    mkdirSync(snapshot, { recursive: true })
    writeFileSync(join(repositoryFolder(), 'refs', 'main'), hub.commit)
    writeFileSync(join(repositoryFolder(), 'blobs', 'b'), small)
    symlinkSync(join('..', '..', 'blobs', 'b'), join(snapshot, 'config.json'))
    const folder = await download({ settings: settings({ offline: true }) })
    expect(readFileSync(join(folder, 'config.json')).equals(small)).toBe(true)
  })

  test('a refused repository is not taken from the cache', async () => {
    await download()
    hub.faults = [{ path: '/revision/main', status: 403 }]
    expect((await failure()).message).toMatch(/403/)
  })
})

describe('two downloads at once', () => {
  test('fetch each file once', async () => {
    const folders = await Promise.all([download(), download(), download()])
    expect(new Set(folders).size).toBe(1)
    expectWhole(folders[0] as string)
    expect(contentRequests().length).toBe(1)
  })

  test('the lock of a process that died is taken over', async () => {
    const program = `
      const fs = require('node:fs')
      fs.writeFileSync(process.argv[1], '')
      const old = new Date(Date.now() - 60_000)
      fs.utimesSync(process.argv[1], old, old)`
    const locks = join(cacheDir, '.locks', 'models--org--tiny')
    mkdirSync(locks, { recursive: true })
    const lock = join(locks, `${sha256(large)}.lopt.lock`)
    await new Promise((resolve) =>
      spawn(process.execPath, ['-e', program, lock]).on('exit', resolve),
    )
    expectWhole(await download())
    expect(existsSync(lock)).toBe(false)
  })
})

describe('the environment says', () => {
  test('where cache and hub are, and who asks', () => {
    const home = mkdtempSync(join(tmpdir(), 'lopt-home-'))
    writeFileSync(join(home, 'token'), 'hf_file\n')
    expect(hubSettings({ HF_HOME: home })).toEqual({
      endpoint: 'https://huggingface.co',
      cacheDir: join(home, 'hub'),
      token: 'hf_file',
      offline: false,
      timeoutMs: 10_000,
    })
    expect(
      hubSettings({
        HF_HOME: home,
        HF_HUB_CACHE: '/cache',
        HF_TOKEN: 'hf_env',
        HF_ENDPOINT: 'https://mirror.example/',
        HF_HUB_OFFLINE: '1',
        HF_HUB_DOWNLOAD_TIMEOUT: '30',
      }),
    ).toEqual({
      endpoint: 'https://mirror.example',
      cacheDir: '/cache',
      token: 'hf_env',
      offline: true,
      timeoutMs: 30_000,
    })
    const implicit = { HF_HOME: home, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }
    expect(hubSettings(implicit).token).toBeUndefined()
    expect(hubSettings({ XDG_CACHE_HOME: '/x' }).cacheDir).toBe(
      join('/x', 'huggingface', 'hub'),
    )
    rmSync(home, { recursive: true })
  })
})
