// The addon in worker threads, and how a process ends: with work queued, with a worker running.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { folder, run } = bundledPrograms(
  { torch: 'torch/index.ts' },
  "import * as torch from './torch.mjs'\n",
)

describe('a process', () => {
  test('ends by itself when the work is done', async () => {
    expect(
      await run(`
        const a = torch.ones([100, 100])
        console.log((await torch.svd(a)).S.numel)
      `),
    ).toEqual(fine('100\n'))
  })

  test('draws other numbers than another where it seeds nothing', async () => {
    const draw = () => run('console.log(torch.rand([4], { dtype: "float64" }).toArray())')
    const [one, other] = [await draw(), await draw()]
    expect(one.code).toBe(0)
    expect(one.stdout).not.toBe(other.stdout)
  })

  test('ends cleanly by process.exit with work queued', async () => {
    expect(
      await run(`
        const a = torch.randn([400, 400], { generator: new torch.Generator({ seed: 0 }) })
        for (let i = 0; i < 50; i++) torch.svd(a)
        console.log('queued')
        process.exit(0)
      `),
    ).toEqual(fine('queued\n'))
  })

  test('ends cleanly by process.exit while a job runs', async () => {
    expect(
      await run(`
        const a = torch.randn([600, 600], { generator: new torch.Generator({ seed: 0 }) })
        for (let i = 0; i < 20; i++) torch.svd(a)
        setTimeout(() => { console.log('leaving'); process.exit(0) }, 50)
      `),
    ).toEqual(fine('leaving\n'))
  })

  test('ends cleanly by process.exit with many short jobs queued, and takes no more', async () => {
    expect(
      await run(`
        const a = torch.randn([4, 4], { generator: new torch.Generator({ seed: 0 }) })
        process.on('exit', () => torch.svd(a).catch(({ code }) => console.log(code)))
        for (let i = 0; i < 5000; i++) torch.svd(a).catch(() => {})
        process.exit(0)
      `),
    ).toEqual(fine(''))
  })

  test('waits for jobs that nobody awaits', async () => {
    expect(
      await run(`
        const t = torch.zeros([1])
        for (let i = 0; i < 100; i++) t.add_(1)
        t.read().then((values) => console.log(values[0]))
      `),
    ).toEqual(fine('100\n'))
  })

  test('ends with the error that nobody caught, not with a crash', async () => {
    const result = await run(`
      const a = torch.ones([2, 3])
      torch.svd(a)
      a.matmul(a)
    `)
    expect(result.signal).toBe(null)
    expect(result.code).toBe(1)
    expect(result.stdout).toContain('RangeError: matmul: [2, 3] x [2, 3]')
  })

  test('keeps its event loop free while a job runs', async () => {
    const { code, stdout } = await run(`
      const a = torch.randn([700, 700], { generator: new torch.Generator({ seed: 0 }) })
      let ticks = 0
      const timer = setInterval(() => ticks++, 5)
      await torch.svd(a)
      clearInterval(timer)
      console.log(ticks)
    `)
    expect(code).toBe(0)
    expect(Number(stdout)).toBeGreaterThan(3)
  })
})

const workerStart = `
  import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
  const self = new URL(import.meta.url)
  const start = (workerData) => new Promise((resolve, reject) => {
    const worker = new Worker(self, { workerData })
    let message
    worker.on('message', (value) => { message = value })
    worker.on('error', reject)
    worker.on('exit', (code) => resolve([code, message]))
  })
`

describe('worker threads', () => {
  test('compute, end, and leave the main thread as it was', async () => {
    expect(
      await run(`${workerStart}
        if (isMainThread) {
          const a = torch.parameter(torch.ones([2]))
          console.log(JSON.stringify(await start(3)))
          await a.mul(2).sum().backward()
          console.log((await a.grad()).toArray().join())
          console.log(torch.memory().tensors > 0)
        } else {
          const x = torch.parameter(torch.tensor([1, 2]))
          await x.mul(workerData).square().sum().backward()
          parentPort.postMessage((await x.grad()).toArray())
        }
      `),
    ).toEqual(fine('[0,[18,36]]\n2,2\ntrue\n'))
  })

  test('load the addon again after the last one has ended', async () => {
    expect(
      await run(`${workerStart}
        if (isMainThread) {
          for (let i = 0; i < 3; i++) console.log((await start(i))[1])
          console.log(torch.ones([2]).sum().item())
        } else {
          parentPort.postMessage(torch.full([2], workerData).sum().item())
        }
      `),
    ).toEqual(fine('0\n2\n4\n2\n'))
  })

  test('are the only ones to load it, and the process still ends', async () => {
    const path = join(folder, 'alone.mjs')
    writeFileSync(
      path,
      `import * as torch from './torch.mjs'
       import { parentPort } from 'node:worker_threads'
       parentPort.postMessage(torch.ones([3]).sum().item())`,
    )
    expect(
      await run(`
        import { Worker } from 'node:worker_threads'
        import { once } from 'node:events'
        for (let i = 0; i < 2; i++) {
          const worker = new Worker(new URL('./alone.mjs', import.meta.url))
          // asked for before: both events may come in one turn
          const exit = once(worker, 'exit')
          const [value] = await once(worker, 'message')
          const [code] = await exit
          console.log(value, code)
        }
      `),
    ).toEqual(fine('3 0\n3 0\n'))
  })

  test('run at the same time, each with its own grad mode, errors and counts', async () => {
    expect(
      await run(`${workerStart}
        if (isMainThread) {
          const results = await Promise.all([0, 1, 2, 3].map((i) => start(i)))
          console.log(JSON.stringify(results.map(([code, message]) => [code, ...message])))
        } else {
          const p = torch.parameter(torch.ones([4]))
          const wanted = workerData % 2 === 0
          let right = 0
          const loop = async () => {
            for (let i = 0; i < 50; i++) {
              const { S } = await torch.svd(p.reshape([2, 2]))
              if (S.requiresGrad === wanted) right++
              S.dispose()
            }
          }
          await (wanted ? loop() : torch.noGrad(loop))
          let name
          try { p.matmul(torch.ones([3])) } catch (error) { name = error.name }
          const gone = torch.ones([1])
          gone.dispose()
          let code
          try { gone.add(1) } catch (error) { code = error.code }
          parentPort.postMessage([right, name, code])
        }
      `),
    ).toEqual(
      fine(`${JSON.stringify(Array(4).fill([0, 50, 'RangeError', 'ERR_DISPOSED']))}\n`),
    )
  })

  test('get nothing of a tensor that is sent to them', async () => {
    expect(
      await run(`${workerStart}
        if (isMainThread) {
          console.log(JSON.stringify(await start(torch.ones([2]))))
        } else {
          try { torch.ones([2]).add(workerData) } catch ({ name }) { parentPort.postMessage(name) }
        }
      `),
    ).toEqual(fine('[0,"TypeError"]\n'))
  })

  // On a GPU where there is one. Each graph is the last one that uses its memory.
  test('capture graphs at the same time, each its own', async () => {
    const [threads, steps] = [3, 20]
    expect(
      await run(`${workerStart}
        const device = torch.availableDevices().find((name) => name.startsWith('cuda')) ?? 'cpu'
        const sums = async (own) => {
          const found = []
          const x = torch.full([64], own, { device })
          for (let step = 0; step < ${steps}; step++) {
            const work = async () => {
              let y = x.mul(step)
              for (let i = 0; i < 10; i++) y = y.add(await y.mul(0).add_(1))
              return [y.sum()]
            }
            await torch.tidy(work)
            const graph = await torch.captureGraph(device, work)
            for (let i = 0; i < 3; i++) {
              await x.fill_(own + i)
              const [sum] = await graph.replay()
              found.push((await sum.read())[0] / 64)
            }
            await graph.dispose()
            torch.emptyCache(device)
            await torch.synchronize(device)
          }
          return found
        }
        if (isMainThread) {
          const others = Array.from({ length: ${threads} }, (_, i) => start(i + 1))
          console.log(JSON.stringify([await sums(0), ...(await Promise.all(others)).map(([, found]) => found)]))
        } else {
          parentPort.postMessage(await sums(workerData))
        }
      `),
    ).toEqual(
      fine(
        `${JSON.stringify(
          Array.from({ length: threads + 1 }, (_, own) =>
            Array.from({ length: steps }, (_, step) =>
              [0, 1, 2].map((i) => (own + i) * step + 10),
            ).flat(),
          ),
        )}\n`,
      ),
    )
  })

  test('are ended with work queued', async () => {
    expect(
      await run(`${workerStart}
        if (isMainThread) {
          const worker = new Worker(self)
          await new Promise((resolve) => worker.on('message', resolve))
          console.log(await worker.terminate())
          console.log((await torch.svd(torch.eye(3))).S.sum().item())
        } else {
          const a = torch.randn([300, 300], { generator: new torch.Generator({ seed: 0 }) })
          for (let i = 0; i < 100; i++) torch.svd(a)
          parentPort.postMessage('queued')
          setInterval(() => {}, 1000)
        }
      `),
    ).toEqual(fine('1\n3\n'))
  })
})

describe('the collector', () => {
  test('frees what nobody disposed of, with handles in flight', async () => {
    expect(
      await run(
        `
        const before = torch.memory().tensors
        for (let round = 0; round < 20; round++) {
          for (let i = 0; i < 200; i++) torch.zeros([10]).add(1).read()
          globalThis.gc()
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        for (let i = 0; i < 20 && torch.memory().tensors > before; i++) {
          globalThis.gc()
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
        console.log(torch.memory().tensors - before)
      `,
        { args: ['--expose-gc'] },
      ),
    ).toEqual(fine('0\n'))
  })
})
