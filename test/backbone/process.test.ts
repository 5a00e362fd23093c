// Backbones in worker threads, and how a process ends that has used one: the tokenizer keeps a
// thread of its own.

import { expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'
import { fixture } from './golden.js'

const { run } = bundledPrograms(
  { torch: 'torch/index.ts', backbone: 'backbone/index.ts' },
  `
    import { tensor } from './torch.mjs'
    import { loadBackbone, loadTokenizer } from './backbone.mjs'
    const folder = ${JSON.stringify(fixture('gpt2-plain'))}
  `,
)

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
