import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { createPrompt, exportPeft, savePrompt } from '../../lib/prompt/index.js'
import { PromptsFolder } from '../../lib/serve/index.js'
import { settledMemory } from '../live.js'
import { fakeEngine } from './fake-engine.js'
import { listening } from './listening.js'

const fixtures = join(import.meta.dirname, '../fixtures')
const root = mkdtempSync(join(tmpdir(), 'lopt-prompts-'))
let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone(join(fixtures, 'gpt2-plain'))
})
afterAll(() => {
  backbone.dispose()
  rmSync(root, { recursive: true, force: true })
})

let folders = 0
function newFolder(): string {
  const folder = join(root, String(folders++))
  mkdirSync(folder)
  return folder
}

/** A prompt file; another seed has other bytes. */
async function write(path: string, seed = 0): Promise<void> {
  const prompt = createPrompt(backbone, { length: 3, rank: 2, seed })
  prompt.task = { template: '{text} It was', labels: { good: 'good', bad: 'bad' } }
  await savePrompt(path, prompt)
  prompt.dispose()
}

async function writeAdapter(folder: string): Promise<void> {
  const prompt = createPrompt(backbone, { method: 'full', length: 3 })
  await exportPeft(folder, prompt, backbone)
  prompt.dispose()
}

/** An engine without prompts, and a folder for it. */
function empty(folder = newFolder()) {
  const engine = fakeEngine({ backbone })
  for (const name of [...engine.prompts.keys()]) engine.removePrompt(name)
  return { engine, folder, prompts: new PromptsFolder(engine, { folder }) }
}

test('serves prompt files and adapter folders by their names, and leaves out what does not fit', async () => {
  const { engine, folder, prompts } = empty()
  await write(join(folder, 'one.lopt.safetensors'))
  await writeAdapter(join(folder, 'adapter'))
  await write(join(folder, 'twice.lopt.safetensors'))
  await writeAdapter(join(folder, 'twice'))
  await write(join(folder, 'a name.lopt.safetensors'))
  await write(join(folder, 'model.lopt.safetensors'))
  await writeAdapter(join(folder, 'pickled'))
  writeFileSync(join(folder, 'pickled', 'adapter_model.bin'), 'not read')
  writeFileSync(join(folder, 'broken.lopt.safetensors'), 'no tensors')
  cpSync(join(fixtures, 'gpt2-untied/config.json'), join(folder, 'README'))
  symlinkSync(
    join(fixtures, 'lopt/lopt-golden.safetensors'),
    join(folder, 'out.lopt.safetensors'),
  )
  symlinkSync('one.lopt.safetensors', join(folder, 'linked.lopt.safetensors'))
  symlinkSync('nowhere', join(folder, 'hanging.lopt.safetensors'))
  mkdirSync(join(folder, 'folder.lopt.safetensors'))
  const other = await loadBackbone(join(fixtures, 'gpt2-untied'))
  const foreign = createPrompt(other, { length: 2, rank: 1 })
  await savePrompt(join(folder, 'foreign.lopt.safetensors'), foreign)
  foreign.dispose()
  other.dispose()
  Object.assign(engine, { backboneName: 'model' })

  const report = await prompts.reload()
  expect([...engine.prompts.keys()]).toEqual(['adapter', 'linked', 'one'])
  expect(report.added).toEqual(['adapter', 'linked', 'one'])
  expect(engine.prompts.get('one')).toMatchObject({
    method: 'lopt-1',
    length: 3,
    rank: 2,
    task: { template: '{text} It was', labels: ['good', 'bad'] },
  })
  const reasons = Object.fromEntries(
    report.failed.map(({ name, reason }) => [name, reason]),
  )
  expect(reasons['a name']).toContain("Expected a prompt's name to be 1 to 64 letters")
  expect(reasons.model).toBe('model is the name of the model itself')
  expect(reasons.twice).toContain('there is a file and a folder of this name')
  expect(reasons.pickled).toContain('adapter_model.bin is a pickle')
  expect(reasons.broken).toMatch(/^broken\.lopt\.safetensors: /)
  expect(reasons.foreign).toMatch(/^foreign\.lopt\.safetensors/)
  expect(reasons.out).toContain('leads out of the folder of prompts')
  expect(reasons.hanging).toContain('there is no such file')
  expect(reasons.folder).toContain('is no file')
  expect(Object.keys(reasons)).toHaveLength(9)
})

test('reads again: adds, replaces, removes, and keeps what is served where its file breaks', async () => {
  const { engine, folder, prompts } = empty()
  for (const name of ['same', 'other', 'breaks', 'goes']) {
    await write(join(folder, `${name}.lopt.safetensors`))
  }
  await prompts.reload()
  const before = new Map(engine.prompts)
  await write(join(folder, 'other.lopt.safetensors'), 1)
  await write(join(folder, 'new.lopt.safetensors'))
  // in place, as an editor or a copy does it
  truncateSync(join(folder, 'breaks.lopt.safetensors'), 100)
  rmSync(join(folder, 'goes.lopt.safetensors'))
  const report = await prompts.reload()
  expect(report).toMatchObject({
    added: ['new'],
    replaced: ['other'],
    removed: ['goes'],
    unchanged: ['same'],
  })
  expect(report.failed.map(({ name }) => name)).toEqual(['breaks'])
  expect([...engine.prompts.keys()].sort()).toEqual(['breaks', 'new', 'other', 'same'])
  expect(engine.prompts.get('same')).toBe(before.get('same'))
  expect(engine.prompts.get('breaks')).toBe(before.get('breaks'))
  expect(engine.prompts.get('other')).not.toBe(before.get('other'))
})

test('removes of the folder’s prompts only, and takes up what was sent in one’s place', async () => {
  const { engine, folder, prompts } = empty()
  await write(join(folder, 'one.lopt.safetensors'))
  const bytes = readFileSync(join(folder, 'one.lopt.safetensors'))
  await prompts.loadBytes('sent', bytes)
  await prompts.reload()
  expect([...engine.prompts.keys()]).toEqual(['sent', 'one'])
  await prompts.loadBytes('one', bytes)
  expect((await prompts.reload()).replaced).toEqual(['one'])
  rmSync(join(folder, 'one.lopt.safetensors'))
  await prompts.reload()
  expect([...engine.prompts.keys()]).toEqual(['sent'])
  expect(await prompts.remove('sent')).toBe(true)
  expect(await prompts.remove('sent')).toBe(false)
})

test('a folder that has gone is an error, and everything stays', async () => {
  const { engine, folder, prompts } = empty()
  await write(join(folder, 'one.lopt.safetensors'))
  await prompts.reload()
  rmSync(folder, { recursive: true })
  await expect(prompts.reload()).rejects.toMatchObject({ code: 'ERR_IO' })
  expect(engine.prompts.has('one')).toBe(true)
})

test('leaves no copy and no tensor of a prompt that does not fit', async () => {
  const { engine, folder, prompts } = empty()
  await write(join(folder, 'one.lopt.safetensors'))
  const bytes = readFileSync(join(folder, 'one.lopt.safetensors'))
  engine.addPrompt = () => {
    throw new RangeError('It does not fit')
  }
  const copies = () =>
    readdirSync(tmpdir()).filter((name) => name.startsWith('lopt-prompt-'))
  const before = copies()
  const { tensors } = await settledMemory()
  await expect(prompts.loadBytes('one', bytes)).rejects.toThrow('It does not fit')
  expect((await settledMemory()).tensors).toBe(tensors)
  expect(copies()).toEqual(before)
})

test.each([
  '',
  '.',
  '..',
  '../one',
  'a/b',
  '/etc/passwd',
  '-a',
  'a b',
  'a\0',
  'a'.repeat(65),
])('takes no name %j', async (name) => {
  const { prompts } = empty()
  await expect(prompts.load(name)).rejects.toThrow("Expected a prompt's name")
  await expect(prompts.loadBytes(name, new Uint8Array())).rejects.toThrow(RangeError)
})

test('over HTTP prompts come as bytes or by a name in the folder, and go', async () => {
  const { engine, folder, prompts } = empty()
  await write(join(folder, 'one.lopt.safetensors'))
  const bytes = readFileSync(join(folder, 'one.lopt.safetensors'))
  const { ask } = await listening(engine, { prompts, apiKeys: ['k'], allowAdmin: true })
  const binary = { 'content-type': 'application/octet-stream' }
  const send = (path: string, body: Uint8Array) =>
    ask(path, undefined, { method: 'POST', body, headers: binary })
  const added = await ask('/v1/prompts', { name: 'one' })
  expect(added.json).toMatchObject({ id: 'one', object: 'model', method: 'lopt-1' })
  expect((await send('/v1/prompts?name=sent', bytes)).json).toMatchObject({ id: 'sent' })
  const { json } = await ask('/v1/models')
  expect(json.data.map(({ id }: { id: string }) => id)).toEqual([
    'fake/model',
    'one',
    'sent',
  ])
  const gone = await ask('/v1/prompts/one', undefined, { method: 'DELETE' })
  expect(gone.json).toEqual({ id: 'one', object: 'model', deleted: true })
  const answers = [
    await ask('/v1/prompts/one', undefined, { method: 'DELETE' }),
    await ask('/v1/prompts/..%2fone', undefined, { method: 'DELETE' }),
    await ask('/v1/prompts', { name: 'nobody' }),
    await ask('/v1/prompts', { name: '../one' }),
    await ask('/v1/prompts', { name: '/etc/passwd' }),
    await ask('/v1/prompts', { name: 'one', path: '/etc' }),
    await ask('/v1/prompts', {}),
    await send('/v1/prompts', bytes),
    await send('/v1/prompts?name=..%2Fone', bytes),
    await send('/v1/prompts?name=a', Buffer.from('\x80\x04pickle')),
    await send('/v1/prompts?name=a', Buffer.alloc(0)),
    await send('/v1/prompts?name=a&name=b', bytes),
  ]
  expect(answers.map(({ status }) => status)).toEqual([
    404, 404, 404, 422, 422, 400, 422, 422, 422, 422, 422, 422,
  ])
  expect([...engine.prompts.keys()]).toEqual(['sent'])
})

test('over HTTP nothing is added without --allow-admin, and no more than a prompt may have', async () => {
  const { engine, prompts } = empty()
  const init = {
    method: 'POST',
    body: Buffer.alloc(2000),
    headers: { 'content-type': 'application/octet-stream' },
  }
  const plain = await listening(engine, { prompts, apiKeys: ['k'] })
  for (const answer of [
    await plain.ask('/v1/prompts', { name: 'one' }),
    await plain.ask('/v1/prompts?name=a', undefined, init),
    await plain.ask('/v1/prompts/one', undefined, { method: 'DELETE' }),
  ]) {
    expect([answer.status, answer.json.error.code]).toEqual([403, 'admin_disabled'])
  }
  const limits = { maxPromptBytes: 1000 }
  const how = { prompts, apiKeys: ['k'], allowAdmin: true, limits }
  const { ask } = await listening(engine, how)
  expect((await ask('/v1/prompts?name=a', undefined, init)).status).toBe(413)
})
