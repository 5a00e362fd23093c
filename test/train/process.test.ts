// Training in processes of its own.

import { expect, test } from 'vitest'
import { fixture } from '../backbone/golden.js'
import { bundledPrograms } from '../programs.js'

const { run } = bundledPrograms(
  { lopt: 'index.ts' },
  `
  import { createPrompt, createTask, loadBackbone, train } from './lopt.mjs'
  const backbone = await loadBackbone(${JSON.stringify(fixture('gpt2-plain'))})
  const row = (i) => ({ text: 'the '.repeat(i % 7) + 'dog', label: i % 2 ? 'good' : 'bad' })
  const task = createTask({ train: Array.from({ length: 20 }, (_, i) => row(i)) })
  const prompt = createPrompt(backbone, { method: 'lopt-2', length: 6, rank: 2, seed: 3 })
`,
)

/** The lines that a program printed. */
async function linesOf(source: string): Promise<string[]> {
  const { code, stdout } = await run(source)
  if (code !== 0) throw new Error(stdout)
  return stdout.trim().split('\n')
}

test('two processes with one seed give the same losses to the bit, and end by themselves', async () => {
  const program = `
    const bits = new Float64Array(1)
    for await (const event of train({ backbone, prompt, task, steps: 12, batchSize: 4, seed: 5 })) {
      if (event.type !== 'step') continue
      bits[0] = event.loss
      console.log(Buffer.from(bits.buffer).toString('hex'))
    }
  `
  const [first, second] = [await linesOf(program), await linesOf(program)]
  expect(first.length).toBe(12)
  expect(second).toEqual(first)
})

test('resident memory stays flat over 500 steps', { timeout: 120_000 }, async () => {
  const [early, late] = await linesOf(`
    for await (const event of train({ backbone, prompt, task, steps: 500, batchSize: 2 })) {
      const { type, step } = event
      if (type === 'step' && step % 400 === 100) console.log(process.memoryUsage().rss)
    }
  `)
  // JavaScript's own heap breathes by some megabytes.
  expect(Number(late) - Number(early)).toBeLessThan(16 * 2 ** 20)
})
