// How runs of several prompts end where something is wrong: a prompt that is gone, one that is not finite, a folder.

import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { createPrompt, loadPrompt, type Prompt } from '../../lib/prompt/index.js'
import type { TrainEvent } from '../../lib/run/index.js'
import { isLockFile } from '../../lib/run/lock.js'
import { memory } from '../../lib/torch/index.js'
import {
  evaluate,
  type PromptTraining,
  type TrainOptions,
  train,
} from '../../lib/train/index.js'
import { settledMemory } from '../live.js'
import { bytesOf, loadSmall, task } from './small-runs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-ends-'))
let backbone: Backbone
beforeAll(async () => {
  backbone = await loadSmall()
})
afterAll(() => {
  backbone.dispose()
  rmSync(folder, { recursive: true })
})

const common = { task, steps: 12, batchSize: 4, evalEvery: 0, checkpointEvery: 1 }
/** The second step's loss is NaN. */
const hopeless = { learningRate: 1e30, optimizer: 'sgd', clip: 0 } as const

const make = (count: number) =>
  Array.from({ length: count }, (_, i) =>
    createPrompt(backbone, { length: 4, rank: 2, seed: i + 1 }),
  )

const outs = (name: string, count = 2) =>
  Array.from({ length: count }, (_, i) => join(folder, name, String(i)))

function withFolders(
  prompts: readonly Prompt[],
  name: string,
  own: (i: number) => Partial<PromptTraining> = () => ({}),
): PromptTraining[] {
  return prompts.map((prompt, i) => {
    return { prompt, out: outs(name, prompts.length)[i] as string, ...own(i) }
  })
}

async function collected(options: Partial<TrainOptions>): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  for await (const event of train({ ...common, backbone, ...options })) events.push(event)
  return events
}

const logOf = (out: string) =>
  readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

const dispose = (prompts: readonly Prompt[]) => {
  for (const prompt of prompts) prompt.dispose()
}

test('a prompt that is disposed of in the loop keeps no other from being closed', async () => {
  const { tensors } = await settledMemory()
  const prompts = make(3)
  const given = withFolders(prompts, 'disposed')
  const leave = async () => {
    for await (const event of train({
      ...common,
      evalEvery: 1,
      backbone,
      prompts: given,
    })) {
      if (event.type !== 'checkpoint' || event.step !== 2) continue
      prompts[0]?.dispose()
      break
    }
  }
  await expect(leave()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  for (const { out } of given) {
    expect(readdirSync(out as string).filter(isLockFile)).toEqual([])
  }
  const [, second] = given
  const saved = loadPrompt(
    join(second?.out as string, 'prompt.lopt.safetensors'),
    backbone,
  )
  expect(bytesOf(second?.prompt as Prompt)).toEqual(bytesOf(saved))
  dispose([...prompts, saved])
  expect((await settledMemory()).tensors).toBeLessThanOrEqual(tensors)
})

test('what ended the training is told, and not what closing says of it', async () => {
  const prompts = make(2)
  const given = withFolders(prompts, 'first')
  const run = async () => {
    for await (const event of train({
      ...common,
      evalEvery: 1,
      backbone,
      prompts: given,
    })) {
      if (event.type !== 'eval' || event.prompt !== 1) continue
      rmSync(join(given[0]?.out as string, 'metrics.jsonl'))
      prompts[0]?.dispose()
    }
  }
  await expect(run()).rejects.toMatchObject({
    code: 'ERR_IO',
    message: expect.stringContaining('metrics.jsonl'),
  })
  dispose(prompts)
})

test('a run of one prompt that failed goes on from its last checkpoint', async () => {
  const [prompt] = make(1) as [Prompt]
  const options = { ...hopeless, prompt, out: join(folder, 'alone') }
  const failure = { code: 'ERR_NON_FINITE_LOSS', message: /The loss, NaN, of step 2/ }
  await expect(collected(options)).rejects.toMatchObject({
    ...failure,
    message: expect.stringMatching(failure.message),
  })
  expect(logOf(options.out).at(-1)).toEqual({
    type: 'failed',
    step: 2,
    code: 'ERR_NON_FINITE_LOSS',
    message: 'The loss, NaN, of step 2 is not finite',
  })
  const events: TrainEvent[] = []
  const again = async () => {
    for await (const event of train({ ...common, ...options, backbone, resume: true })) {
      events.push(event)
    }
  }
  await expect(again()).rejects.toThrow(failure.message)
  expect(events).toEqual([expect.objectContaining({ type: 'start', resumedFrom: 1 })])
  dispose([prompt])
})

test('one of several that failed says so in its log, and where it lies by then', async () => {
  const prompts = make(2)
  const own = (i: number) => (i === 1 ? hopeless : {})
  await collected({ prompts: withFolders(prompts, 'log', own) })
  const [, failed] = outs('log') as [string, string]
  const expected = { type: 'failed', step: 2, code: 'ERR_NON_FINITE_LOSS' }
  expect(logOf(failed).at(-1)).toEqual({
    ...expected,
    message: 'The loss, NaN, of step 2 is not finite',
  })
  cpSync(join(folder, 'log'), join(folder, 'moved'), { recursive: true })
  const moved = outs('moved')[1] as string
  const eventFiles = () => readdirSync(moved).filter((name) => name.startsWith('events.'))
  const before = eventFiles()
  const prompt = { ...withFolders(prompts, 'moved', own)[1] } as PromptTraining
  await expect(collected({ prompts: [prompt], resume: true })).rejects.toThrow(
    `The loss, NaN, of step 2 is not finite. The last good prompt is in ${join(moved, 'prompt.lopt.safetensors')}: `,
  )
  expect(logOf(moved)).toEqual(logOf(failed))
  expect(eventFiles()).toEqual(before)
  dispose(prompts)
})

test.each([0, 1, 2])(
  'a run that was killed while one is saved as failed, with %i of 2 renamed, goes on',
  async (renamed) => {
    const own = (i: number) => (i === 1 ? hopeless : {})
    const [name, killed] = [`failing ${renamed}`, `killed ${renamed}`]
    const copy = (to: string) =>
      cpSync(join(folder, name), join(folder, to), {
        recursive: true,
        filter: (path) => !isLockFile(basename(path)),
      })
    const prompts = make(2)
    for await (const event of train({
      ...common,
      backbone,
      prompts: withFolders(prompts, name, own),
    })) {
      if (event.type === 'checkpoint' && event.step === 1) copy(`${name} before`)
      if (event.type === 'failed') copy(killed)
    }
    // The checkpoints of step 2 are written beside those of step 1; that of the one that fails is renamed last.
    for (const [i, out] of outs(killed).slice(renamed).entries()) {
      const state = join(out, 'checkpoint', 'state.safetensors')
      renameSync(state, join(out, 'checkpoint', 'next.safetensors'))
      const before = outs(`${name} before`)[renamed + i] as string
      copyFileSync(join(before, 'checkpoint', 'state.safetensors'), state)
    }
    const again = make(2)
    const events = await collected({
      prompts: withFolders(again, killed, own),
      resume: true,
    })
    const failed = events.filter(({ type }) => type === 'failed')
    expect(failed).toMatchObject([{ prompt: 1, step: 2 }])
    expect(events.at(-1)).toMatchObject({ type: 'done', prompt: 0 })
    expect(again.map(bytesOf)).toEqual(prompts.map(bytesOf))
    for (const [i, out] of outs(killed).entries()) {
      expect(logOf(out).length).toBe(logOf(outs(name)[i] as string).length)
    }
    dispose([...prompts, ...again])
  },
)

test('scores on dev that are not finite are called so', async () => {
  const prompts = make(2)
  const events = await collected({
    evalEvery: 1,
    prompts: prompts.map((prompt, i) => ({ prompt, ...(i === 1 && hopeless) })),
  })
  const failed = events.find(({ type }) => type === 'failed')
  expect(failed).toMatchObject({
    prompt: 1,
    step: 1,
    error: {
      message: expect.stringMatching(/^A score on dev after step 1 is not finite/),
    },
  })
  dispose(prompts)
})

test('an evaluation of several names the one whose scores are not finite', async () => {
  const prompts = make(2)
  const U = prompts[1]?.parameters.U
  await U?.copy_(U.detach().mul(Number.POSITIVE_INFINITY))
  await expect(evaluate({ backbone, prompts, task })).rejects.toMatchObject({
    code: 'ERR_NON_FINITE_LOSS',
    message: expect.stringMatching(/^prompts\[1\]: A score is not finite/),
  })
  dispose(prompts)
})

test('a checkpoint that cannot take the place of the one before is ERR_IO, and all is closed', async () => {
  const { tensors } = memory()
  const prompts = make(2)
  const given = withFolders(prompts, 'no-place')
  const run = async () => {
    for await (const event of train({ ...common, backbone, prompts: given })) {
      if (event.type !== 'checkpoint') continue
      const file = join(outs('no-place')[1] as string, 'checkpoint', 'state.safetensors')
      rmSync(file, { recursive: true })
      mkdirSync(file)
    }
  }
  await expect(run()).rejects.toMatchObject({
    code: 'ERR_IO',
    message: expect.stringContaining('Cannot write state.safetensors in '),
  })
  dispose(prompts)
  expect((await settledMemory()).tensors).toBeLessThanOrEqual(tensors)
})

test('an abort of several without folders is one sentence', async () => {
  const prompts = make(3)
  const stop = new AbortController()
  const run = async () => {
    for await (const event of train({
      ...common,
      backbone,
      prompts,
      signal: stop.signal,
    })) {
      if (event.type === 'step') stop.abort()
    }
  }
  await expect(run()).rejects.toMatchObject({
    code: 'ERR_ABORTED',
    message:
      'Stopped after step 1 of 12. What each of 3 prompts learned is kept in memory',
  })
  dispose(prompts)
})
