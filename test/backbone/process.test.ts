// Backbones in worker threads, and how a process ends that has used one: the tokenizer keeps a
// thread of its own. The programs run on a bundle, as Node cannot load TypeScript.

import { execFile } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'tsup'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fixture } from './golden.js'

// Inside the package: the addon is found from the nearest package.json above the code.
const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'node_modules', '.cache', `lopt-backbone-test-${process.pid}`)

beforeAll(async () => {
  mkdirSync(folder, { recursive: true })
  await build({
    config: false,
    entry: {
      torch: join(root, 'lib/torch/index.ts'),
      backbone: join(root, 'lib/backbone/index.ts'),
    },
    format: ['esm'],
    outDir: folder,
    platform: 'node',
    target: 'node20',
    silent: true,
    dts: false,
    splitting: true,
    loader: { '.py': 'text' },
    outExtension: () => ({ js: '.mjs' }),
  })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let count = 0
/** Runs a program in a process of its own; gives what it printed and how it ended. */
async function run(source: string) {
  const path = join(folder, `program-${count++}.mjs`)
  const prelude = `
    import { tensor } from './torch.mjs'
    import { loadBackbone, loadTokenizer } from './backbone.mjs'
    const folder = ${JSON.stringify(fixture('gpt2-plain'))}
  `
  writeFileSync(path, prelude + source)
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [path], {
      timeout: 50_000,
    })
    return { code: 0 as number | string | null, signal: null as string | null, stdout }
  } catch (error) {
    const { code, signal, stdout, stderr } = error as Record<string, string | null>
    return { code: code ?? null, signal: signal ?? null, stdout: `${stdout}${stderr}` }
  }
}
const fine = (stdout: string) => ({ code: 0, signal: null, stdout })

test('a process ends by itself after using a backbone', async () => {
  expect(
    await run(`
      const backbone = await loadBackbone(folder)
      const ids = backbone.tokenizer.encode(' good')
      const x = await backbone.embed(tensor([ids], { dtype: 'int64' }))
      console.log(x.shape.join(), backbone.tokenizer.decode(ids))
    `),
  ).toEqual(fine('1,1,32  good\n'))
})

test('a process waits for a tokenizer that is being loaded', async () => {
  expect(
    await run(`
      loadTokenizer(folder).then((tokenizer) => tokenizer.tokenize(['a', 'b']))
        .then((ids) => console.log(ids.length))
    `),
  ).toEqual(fine('2\n'))
})

test('process.exit ends cleanly while the tokenizer works', async () => {
  expect(
    await run(`
      const tokenizer = await loadTokenizer(folder)
      tokenizer.tokenize(Array.from({ length: 20000 }, (_, i) => 'the film ' + i))
      setTimeout(() => { console.log('leaving'); process.exit(0) }, 20)
    `),
  ).toEqual(fine('leaving\n'))
})

test('a backbone works in worker threads, two at a time', async () => {
  expect(
    await run(`
      import { Worker, isMainThread, parentPort } from 'node:worker_threads'
      const use = async () => {
        const backbone = await loadBackbone(folder)
        const ids = backbone.tokenizer.encode(' good')
        const x = await backbone.embed(tensor([ids], { dtype: 'int64' }))
        const { hidden } = await backbone.run({ x, positions: tensor([[0]], { dtype: 'int64' }) })
        return (await backbone.head(hidden.select(0, 0))).sum().item()
      }
      if (isMainThread) {
        const inWorker = () => new Promise((resolve, reject) => {
          const worker = new Worker(new URL(import.meta.url))
          let sum
          worker.on('message', (message) => { sum = message })
          worker.on('error', reject)
          worker.on('exit', () => resolve(sum))
        })
        const sums = await Promise.all([inWorker(), inWorker(), use()])
        console.log(sums.length, new Set(sums).size)
      } else {
        parentPort.postMessage(await use())
      }
    `),
  ).toEqual(fine('3 1\n'))
})
