// Memory of a CPU's large tensors: kept for the next ones, given back when asked, right in every byte.

import { describe, expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { run } = bundledPrograms(
  { torch: 'torch/index.ts' },
  "import * as torch from './torch.mjs'\n",
)

const MB = 2 ** 20

/** What a program prints, a JSON value. */
async function printed(source: string, env: NodeJS.ProcessEnv = {}): Promise<number[]> {
  const ended = await run(source, { env })
  expect(ended).toEqual(fine(ended.stdout))
  return JSON.parse(ended.stdout)
}

const AGAIN = `
  const faults = () => process.resourceUsage().minorPageFault
  const once = () => torch.zeros([2 ** 23]).dispose() // 32 MB: 8192 pages of 4 kB
  once()
  const before = faults()
  for (let i = 0; i < 20; i++) once()
  console.log(JSON.stringify([faults() - before]))
`

describe('the memory of a large tensor', () => {
  test('is that of one that was disposed of', async () => {
    const [kept = Number.NaN] = await printed(AGAIN)
    const [fresh = Number.NaN] = await printed(AGAIN, { LOPT_ALLOCATOR: 'libtorch' })
    expect(kept).toBeLessThan(2_000)
    expect(kept).toBeLessThan(fresh / 5)
  })

  test('goes back to the system when asked, and is never more than was in use at once', async () => {
    const [whole = Number.NaN, kept = Number.NaN, after = Number.NaN] = await printed(`
      const rss = () => process.memoryUsage.rss()
      torch.zeros([2 ** 18]).dispose() // libtorch's own pages
      const start = rss()
      const made = [1, 2, 3].map((n) => torch.zeros([n * 2 ** 23]))
      const whole = rss() - start
      for (const one of made) one.dispose()
      // Of sizes that nothing kept fits.
      for (let n = 2; n < 20; n++) torch.zeros([n * 2 ** 18]).dispose()
      const kept = rss() - start
      torch.releaseMemory()
      console.log(JSON.stringify([whole, kept, rss() - start]))
    `)
    expect(whole).toBeGreaterThan(190 * MB)
    expect(kept).toBeLessThan(whole + 24 * MB)
    expect(after).toBeLessThan(24 * MB)
  })

  test('is not that of a tensor half or twice as large', async () => {
    const [grown = Number.NaN] = await printed(`
      const rss = () => process.memoryUsage.rss()
      torch.zeros([2 ** 18]).to('float16').dispose() // libtorch's own pages
      const start = rss()
      const copies = []
      for (let i = 0; i < 16; i++) {
        const whole = torch.ones([2 ** 22]) // 16 MB, freed when its half is made
        copies.push(whole.to('float16'))
        whole.dispose()
      }
      console.log(JSON.stringify([rss() - start]))
    `)
    expect(grown).toBeGreaterThan(127 * MB)
    expect(grown).toBeLessThan(175 * MB)
  })

  test('holds what was written there, on two threads, in sizes around each limit', async () => {
    const wrong = await printed(`
      const generator = new torch.Generator({ seed: 0 })
      const sizes = [1, 100, 2 ** 15, 2 ** 17 - 1, 2 ** 17, 2 ** 18 - 1, 2 ** 18, 2 ** 18 + 1, 3 * 2 ** 18, 2 ** 20 + 7]
      const live = []
      let wrong = 0
      const isAll = (tensor, value) => tensor.eq(value).all().item() === 1
      for (let step = 0; step < 400; step++) {
        const size = sizes[(step * 7) % sizes.length]
        const tensor = torch.full([size], step)
        const pending = torch.full([size], step + 0.5).requiresGrad_().then(async (leaf) => {
          await leaf.square().sum().backward() // a job, on the other thread
          const gradient = await leaf.grad()
          if (!isAll(gradient, 2 * step + 1)) wrong++
          leaf.dispose()
          gradient.dispose()
        })
        live.push([tensor, step])
        if (live.length > 12) {
          const [old, value] = live.splice((step * 5) % live.length, 1)[0]
          if (!isAll(old, value)) wrong++
          old.dispose()
        }
        if (step % 3 === 0) await pending
        if (step % 50 === 0) torch.releaseMemory()
      }
      for (const [tensor, value] of live) if (!isAll(tensor, value)) wrong++
      console.log(JSON.stringify([wrong]))
    `)
    expect(wrong).toEqual([0])
  })

  test('that there is not is an error, and smaller tensors are still made', async () => {
    const found = await printed(`
      torch.zeros([2 ** 22]).dispose()
      let code = 'none'
      try { torch.zeros([2 ** 46]) } catch (error) { code = error.code }
      console.log(JSON.stringify([code, torch.ones([2 ** 22]).sum().item()]))
    `)
    expect(found).toEqual(['ERR_OUT_OF_MEMORY', 2 ** 22])
  })

  test('is chosen by LOPT_ALLOCATOR, whose other values are refused', async () => {
    const { stdout } = await run('torch.zeros([1])', { env: { LOPT_ALLOCATOR: 'mine' } })
    expect(stdout).toContain(
      'Expected LOPT_ALLOCATOR to be lopt or libtorch but it is mine',
    )
  })
})
