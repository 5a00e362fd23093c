import type { ChildProcess } from 'node:child_process'
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { loadBackbone } from '../../lib/backbone/index.js'
import { createPrompt, savePrompt } from '../../lib/prompt/index.js'
import {
  backbone,
  lopt,
  type Outcome,
  type RunOptions,
  temporaryFolder,
} from './run-cli.js'

const folder = temporaryFolder()
const prompts = join(folder, 'prompts')
const prompt = join(folder, 'prompt.lopt.safetensors')
beforeAll(async () => {
  const model = await loadBackbone(backbone)
  const made = createPrompt(model, { length: 3, rank: 2 })
  made.task = { template: '{text} It was', labels: { good: 'good', bad: 'bad' } }
  await savePrompt(prompt, made)
  made.dispose()
  model.dispose()
  mkdirSync(prompts)
  copyFileSync(prompt, join(prompts, 'reviews.lopt.safetensors'))
  writeFileSync(join(prompts, 'broken.lopt.safetensors'), 'no tensors')
})

interface Started {
  readonly url: string
  readonly child: ChildProcess
  readonly ended: Promise<Outcome>
}

const running: Started[] = []
afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    child.kill('SIGKILL')
    await ended
  }
})

/** Starts a server, and waits until it listens. */
function start(args: readonly string[], options: RunOptions = {}): Promise<Started> {
  return new Promise((resolve, reject) => {
    let child: ChildProcess | undefined
    const all = ['serve', '--backbone', backbone, '--json', ...args]
    const ended = lopt(all, {
      ...options,
      onSpawn(spawned) {
        child = spawned
        spawned.stdout?.once('data', (text: string) => {
          const { url } = JSON.parse(text)
          const started = { url, child: spawned, ended }
          running.push(started)
          resolve(started)
        })
      },
    })
    ended.then(({ stderr }) => reject(new Error(stderr)), reject)
    if (child === undefined) reject(new Error('not started'))
  })
}

const port = ['--port', '0']

function complete(url: string, body: object, headers = {}): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'gpt2-plain', prompt: 'The film', ...body }),
  })
}

async function names(url: string): Promise<string[]> {
  const answer = await fetch(`${url}/v1/models`)
  const { data } = (await answer.json()) as { data: { id: string }[] }
  return data.map(({ id }) => id)
}

test('serves a model and a folder of prompts, and says what it leaves out', async () => {
  const { url, child, ended } = await start([...port, '--prompts', prompts])
  expect(await names(url)).toEqual(['gpt2-plain', 'reviews'])
  const answer = await fetch(`${url}/v1/classify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'reviews', input: 'A delight.' }),
  })
  const { data } = (await answer.json()) as { data: { labels: string[] }[] }
  expect(data[0]?.labels).toEqual(['good', 'bad'])
  child.kill('SIGTERM')
  const { code, events, stderr } = await ended
  expect(code).toBe(0)
  expect(events).toEqual([
    { type: 'listening', url, model: 'gpt2-plain', prompts: ['reviews'] },
  ])
  expect(stderr).toMatch(
    /^lopt: warning: the prompt broken is left out: broken\.lopt\.safetensors/,
  )
  expect(stderr).toContain('"msg":"answered"')
  expect(stderr).not.toContain('A delight.')
})

test.each(['SIGTERM', 'SIGINT'] as const)(
  'at %s ends running streams as they are, takes nothing more, and exits 0',
  async (signal) => {
    const { url, child, ended } = await start(port)
    const asking = Array.from({ length: 8 }, () =>
      complete(url, { n: 16, max_tokens: 55, stream: true }),
    )
    const streams = await Promise.all(asking)
    child.kill(signal)
    const texts = await Promise.all(streams.map((stream) => stream.text()))
    expect(texts.every((text) => text.endsWith('data: [DONE]\n\n'))).toBe(true)
    expect((await ended).code).toBe(0)
  },
)

test('at SIGTERM ends what is still running after --grace-seconds', async () => {
  const { url, child, ended } = await start([...port, '--grace-seconds', '0'])
  const stream = await complete(url, { n: 16, max_tokens: 55, stream: true })
  child.kill('SIGTERM')
  const last = (await stream.text()).trim().split('\n\n').at(-1) ?? ''
  expect(last).toMatch(/"server_closing"|\[DONE\]/)
  expect((await ended).code).toBe(0)
})

test('at SIGHUP reads the folder again', async () => {
  const own = join(folder, 'changing')
  mkdirSync(own)
  copyFileSync(prompt, join(own, 'one.lopt.safetensors'))
  const { url, child } = await start([...port, '--prompts', own])
  copyFileSync(prompt, join(own, 'two.lopt.safetensors'))
  rmSync(join(own, 'one.lopt.safetensors'))
  child.kill('SIGHUP')
  await expect.poll(() => names(url)).toEqual(['gpt2-plain', 'two'])
})

test('takes its options from the environment, where a flag may say no', async () => {
  const keys = join(folder, 'keys')
  writeFileSync(keys, '# ours\n\nfirst-key # of Ann\nsecond-key\n')
  const env = { LOPT_PORT: '0', LOPT_API_KEY_FILE: keys, LOPT_ALLOW_ADMIN: 'false' }
  const { url } = await start([], { env })
  expect((await complete(url, {})).status).toBe(401)
  const authorization = 'Bearer second-key'
  expect((await complete(url, { max_tokens: 1 }, { authorization })).status).toBe(200)
  const path = `${url}/v1/prompts/reviews`
  const answer = await fetch(path, { method: 'DELETE', headers: { authorization } })
  expect(answer.status).toBe(403)
})

test('warns where everybody may ask', async () => {
  const { child, ended } = await start([...port, '--host', '0.0.0.0'])
  child.kill('SIGTERM')
  expect((await ended).stderr).toContain(
    'lopt: warning: whoever reaches this address may ask',
  )
})

const missing = join(folder, 'missing')
const noKeys = join(folder, 'no-keys')
const spaced = join(folder, 'spaced')
writeFileSync(noKeys, '# none\n')
writeFileSync(spaced, 'two words\n')

test.each([
  [
    ['--prompts', missing],
    1,
    `lopt: ERR_IO: Cannot read ${missing}: there is no such file`,
  ],
  [['--prompts', noKeys], 1, `lopt: ERR_IO: Cannot read ${noKeys}: it is no folder`],
  [['--runs', missing], 1, `lopt: ERR_IO: Cannot read ${missing}`],
  [['--api-key-file', missing], 1, `lopt: ERR_IO: Cannot read ${missing}`],
  [['--api-key-file', folder], 1, `lopt: ERR_IO: Cannot read ${folder}`],
  [['--api-key-file', noKeys], 1, 'there is no key in it'],
  [['--api-key-file', spaced], 1, 'key 1 has a space inside'],
  [['--host', '198.51.100.1'], 1, 'this machine has no such address'],
  [['--allow-admin'], 2, 'lopt: --allow-admin needs --api-key-file'],
  [['--port', '65536'], 2, 'Expected a port of 0..65535.'],
  [['--max-running', '5000'], 2, 'Expected --max-running'],
  [['--log-level', 'loud'], 2, 'Allowed choices are fatal'],
])('refuses %j with exit code %i', async (args, code, message) => {
  const outcome = await lopt(['serve', '--backbone', backbone, ...port, ...args])
  expect(outcome.stderr).toContain(message)
  expect(outcome.code).toBe(code)
})

test('says that a port is taken', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => other.once('listening', resolve))
  const taken = String((other.address() as AddressInfo).port)
  const outcome = await lopt(['serve', '--backbone', backbone, '--port', taken])
  other.close()
  expect(outcome.code).toBe(1)
  expect(outcome.stderr).toContain(
    `lopt: ERR_IO: Cannot listen on 127.0.0.1:${taken}: another program listens there`,
  )
})

test('goes on where its log has no room', async () => {
  const launcher = ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh']
  const { url, child, ended } = await start(port, { launcher })
  for (let i = 0; i < 3; i++) {
    expect((await complete(url, { max_tokens: 1 })).status).toBe(200)
  }
  child.kill('SIGTERM')
  expect((await ended).code).toBe(0)
})
