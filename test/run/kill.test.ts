// Runs that are killed with SIGKILL, at moments that nobody chose, and go on. LOPT_KILLS=20 kills
// more often.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { fixture } from '../backbone/golden.js'
import { bundledPrograms } from '../programs.js'

const KILLS = Number(process.env.LOPT_KILLS ?? 5)
const STEPS = 40 * KILLS
/** Of several prompts the one that fails on the way. */
const FAILING = 2

// A checkpoint a step: most kills fall into the writing of one.
const { folder } = bundledPrograms({ lopt: 'index.ts', torch: 'torch/index.ts' }, '')
const program = `
  import { createPrompt, createTask, loadBackbone, train } from './lopt.mjs'
  const backbone = await loadBackbone(${JSON.stringify(fixture('gpt2-plain'))})
  const row = (i) => ({ text: 'the '.repeat(i % 7) + 'dog', label: i % 2 ? 'good' : 'bad' })
  const task = createTask({ train: Array.from({ length: 20 }, (_, i) => row(i)) })
  const [out, count] = process.argv.slice(2)
  const kinds = [
    { method: 'lopt-2', rank: 2 },
    { method: 'lopt-1', rank: 2, placement: 'suffix' },
    { method: 'full' },
    { method: 'dept', rank: 2, textTokens: 6 },
    { method: 'prefix' },
    { method: 'ulpt', rank: 2 },
  ]
  const of = (i) => createPrompt(backbone, { ...kinds[i], length: 6, seed: 3 + i })
  // The decay doubles the factors in each step, until the loss is not finite.
  const hopeless = { optimizer: 'sgd', learningRate: 0.01, weightDecay: 300 }
  const what =
    count === '1'
      ? { prompt: of(0), out: out + '/0' }
      : {
          prompts: Array.from({ length: Number(count) }, (_, i) => {
            return { prompt: of(i), out: out + '/' + i, ...(i === ${FAILING} && hopeless) }
          }),
        }
  const options = { backbone, task, steps: ${STEPS}, batchSize: 4, seed: 5, evalEvery: 50 }
  for await (const event of train({ ...options, ...what, resume: true, checkpointEvery: 1 })) {
    if (event.type === 'step' && !event.prompt) console.log(event.step)
  }
`

function start(out: string, prompts: number) {
  const path = join(folder, 'killed.mjs')
  writeFileSync(path, program)
  const env = { ...process.env, OMP_NUM_THREADS: '1' }
  return spawn(process.execPath, [path, out, String(prompts)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  })
}

/** Until a process has printed so many lines, a step each, or has ended. */
function lines({ stdout }: ReturnType<typeof start>, count: number): Promise<void> {
  let seen = 0
  return new Promise((resolve) => {
    stdout.on('end', resolve)
    stdout.on('data', (chunk) => {
      seen += String(chunk).split('\n').length - 1
      if (seen >= count) resolve()
    })
  })
}

function left(out: string) {
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n')
  return {
    events: lines.map((line) => {
      const { seconds, path, peakMemoryBytes, ...event } = JSON.parse(line)
      return event
    }),
    prompt: readFileSync(join(out, 'prompt.lopt.safetensors')).toString('base64'),
  }
}

test.each([1, 6])(
  `killed ${KILLS} times, a run of %i prompts ends as one that was left alone`,
  {
    timeout: 600_000,
  },
  async (prompts) => {
    const [whole, killed] = ['whole', 'killed'].map((name) =>
      join(folder, `${name}-${prompts}`),
    ) as [string, string]
    const outs = (path: string) =>
      Array.from({ length: prompts }, (_, i) => join(path, String(i)))
    const began = performance.now()
    const first = start(whole, prompts)
    await lines(first, 1)
    const begun = performance.now() - began
    const [code] = await once(first, 'exit')
    expect(code).toBe(0)

    let kills = 0
    let interrupted = 0
    while (kills < KILLS) {
      const child = start(killed, prompts)
      const exited = once(child, 'exit')
      // One in five while it starts, the others a small part of the way on and some milliseconds.
      const moment =
        kills % 5 === 0
          ? wait(begun * Math.random())
          : lines(child, 1 + Math.floor((0.8 * Math.random() * STEPS) / KILLS)).then(() =>
              wait(10 * Math.random()),
            )
      const ended = await Promise.race([exited, moment.then(() => undefined)])
      if (ended !== undefined) break // done before it was killed
      child.kill('SIGKILL')
      const [, signal] = await exited
      if (signal !== 'SIGKILL') break // it ended in that moment
      kills += 1
      if (outs(killed).every((out) => existsSync(join(out, 'config.json'))))
        interrupted += 1
    }
    const end = start(killed, prompts)
    end.stdout.resume()
    const [last] = await once(end, 'exit')
    expect(last).toBe(0)
    expect(kills).toBe(KILLS)
    expect(interrupted).toBeGreaterThan(0)
    for (const [i, out] of outs(killed).entries()) {
      const { type, step } = left(out).events.at(-1)
      expect(type).toBe(prompts > 1 && i === FAILING ? 'failed' : 'done')
      if (type === 'failed') console.log(`one failed in step ${step}`)
      expect(left(out)).toEqual(left(outs(whole)[i] as string))
      expect(readdirSync(out).filter((name) => name.endsWith('.tmp'))).toEqual([])
      expect(readdirSync(join(out, 'checkpoint'))).toEqual(['state.safetensors'])
    }
    console.log(`${kills} kills, ${interrupted} of them in a run that had begun`)
  },
)
