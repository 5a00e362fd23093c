// Training in processes of its own. The programs run on a bundle, as Node cannot load TypeScript.

import { execFile } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'tsup'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fixture } from '../backbone/golden.js'

// Inside the package: the addon is found from the nearest package.json above the code.
const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'node_modules', '.cache', `lopt-train-test-${process.pid}`)

beforeAll(async () => {
  mkdirSync(folder, { recursive: true })
  await build({
    config: false,
    entry: { lopt: join(root, 'lib/index.ts') },
    format: ['esm'],
    outDir: folder,
    platform: 'node',
    target: 'node20',
    silent: true,
    dts: false,
    loader: { '.py': 'text' },
    outExtension: () => ({ js: '.mjs' }),
  })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const prelude = `
  import { createPrompt, createTask, loadBackbone, train } from './lopt.mjs'
  const backbone = await loadBackbone(${JSON.stringify(fixture('gpt2-plain'))})
  const row = (i) => ({ text: 'the '.repeat(i % 7) + 'dog', label: i % 2 ? 'good' : 'bad' })
  const task = createTask({ train: Array.from({ length: 20 }, (_, i) => row(i)) })
  const prompt = createPrompt(backbone, { method: 'lopt-2', length: 6, rank: 2, seed: 3 })
`

/** Runs a program in a process of its own; gives the lines that it printed. */
async function run(source: string): Promise<string[]> {
  const path = join(folder, 'program.mjs')
  writeFileSync(path, prelude + source)
  const { stdout } = await promisify(execFile)(process.execPath, [path], {
    timeout: 100_000,
    env: { ...process.env, OMP_NUM_THREADS: '1' }, // as small-runs.ts says
  })
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
  const [first, second] = [await run(program), await run(program)]
  expect(first.length).toBe(12)
  expect(second).toEqual(first)
})

test('resident memory stays flat over 500 steps', { timeout: 120_000 }, async () => {
  const [early, late] = await run(`
    for await (const event of train({ backbone, prompt, task, steps: 500, batchSize: 2 })) {
      const { type, step } = event
      if (type === 'step' && step % 400 === 100) console.log(process.memoryUsage().rss)
    }
  `)
  // JavaScript's own heap breathes by some megabytes.
  expect(Number(late) - Number(early)).toBeLessThan(16 * 2 ** 20)
})
