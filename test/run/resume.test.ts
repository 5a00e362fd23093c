// Runs that go on: the same numbers as without the interruption, and what is refused.

import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { createPrompt, METHOD_NAMES, Prompt } from '../../lib/prompt/index.js'
import { openRun, selectWeights, type TrainEvent } from '../../lib/run/index.js'
import { isLockFile } from '../../lib/run/lock.js'
import { createTask, loadTask } from '../../lib/task/index.js'
import { type TrainOptions, train } from '../../lib/train/index.js'
import { fixture } from '../backbone/golden.js'
import { loadSmall, rows, small, task } from '../train/small-runs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-resume-'))
let backbone: Backbone
beforeAll(async () => {
  backbone = await loadSmall()
})
afterAll(() => {
  backbone.dispose()
  rmSync(folder, { recursive: true })
})

const SETTINGS = {
  task,
  steps: 12,
  batchSize: 5,
  evalEvery: 4,
  checkpointEvery: 3,
  schedule: 'linear',
  warmupSteps: 2,
} as const

/** Trains until the event for which `until` holds, then aborts; to the end without one. */
async function events(
  options: TrainOptions,
  until?: (event: TrainEvent) => boolean,
): Promise<TrainEvent[]> {
  const controller = new AbortController()
  const seen: TrainEvent[] = []
  try {
    for await (const event of train({ ...options, signal: controller.signal })) {
      seen.push(event)
      if (until?.(event)) controller.abort()
    }
  } catch (error) {
    if (until === undefined) throw error
    expect(error).toMatchObject({ code: 'ERR_ABORTED' })
  }
  return seen
}

/** What a finished run leaves, without times and places. */
function left(out: string) {
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n')
  const result = readdirSync(out).find((name) => name.endsWith('.lopt.safetensors'))
  return {
    events: lines.map((line) => {
      const { seconds, path, peakMemoryBytes, ...event } = JSON.parse(line)
      return event
    }),
    result: readFileSync(join(out, result as string)).toString('base64'),
  }
}

describe('a run that goes on gives the numbers of one that was never interrupted', () => {
  const cases: [string, Partial<TrainOptions>][] = [
    ['with Adam', {}],
    ['with AdamW and decay', { optimizer: 'adamw', weightDecay: 0.1 }],
    ['with SGD', { optimizer: 'sgd' }],
    ['with Adafactor', { optimizer: 'adafactor' }],
    ['over parts of batches', { accumulate: 2 }],
    ['with rows in their order', { shuffle: false }],
    ['without fast paths', { fastPaths: false }],
    ['without evaluations', { evalEvery: 0 }],
    ['with a verbalizer', { objective: 'verbalizer' }],
  ]
  test.each(cases)('%s', async (name, more) => {
    const whole = join(folder, `${name} whole`)
    const cut = join(folder, `${name} cut`)
    const options = { ...SETTINGS, ...more, backbone }
    await events({ ...options, prompt: small(backbone), out: whole })
    // a checkpoint lies behind step 6; of step 8 the log has all, and nothing is saved of it
    const at = (step: number) => (event: TrainEvent) =>
      event.type === 'step' && event.step === step
    await events({ ...options, prompt: small(backbone), out: cut }, at(2))
    const second = { ...options, prompt: small(backbone), out: cut, resume: true }
    const seen = await events(second, at(8))
    expect(seen[0]).toMatchObject({ type: 'start', resumedFrom: 2 })
    // as a process that was killed later leaves it
    const later = '{"type":"step","step":9,"loss":1}\n{"type":"step","st'
    appendFileSync(join(cut, 'metrics.jsonl'), later)
    await events({ ...options, prompt: small(backbone), out: cut, resume: true })
    expect(left(cut)).toEqual(left(whole))
  })

  test.each(METHOD_NAMES)('with a prompt of the method %s', async (method) => {
    const [whole, cut] = [join(folder, `${method} whole`), join(folder, `${method} cut`)]
    const prompt = () =>
      createPrompt(backbone, { method, length: 4, seed: 5, ...own(method) })
    const options = { ...SETTINGS, backbone, evalEvery: 3 }
    await events({ ...options, prompt: prompt(), out: whole })
    const first = { ...options, prompt: prompt(), out: cut }
    await events(first, (event) => event.type === 'checkpoint' && event.step === 6)
    await events({ ...options, prompt: prompt(), out: cut, resume: true })
    expect(left(cut)).toEqual(left(whole))
  })

  test('with weights of the model itself', async () => {
    const [whole, cut] = [join(folder, 'weights whole'), join(folder, 'weights cut')]
    const fresh = async () => {
      const own = await loadSmall()
      return { ...SETTINGS, backbone: own, weights: selectWeights(own, /bias$/) }
    }
    await events({ ...(await fresh()), out: whole })
    const first = { ...(await fresh()), out: cut }
    await events(first, (event) => event.type === 'step' && event.step === 5)
    await events({ ...(await fresh()), out: cut, resume: true })
    expect(left(cut)).toEqual(left(whole))
  })

  test('when it was killed between its first step and its first checkpoint', async () => {
    const [whole, cut] = [join(folder, 'first whole'), join(folder, 'first cut')]
    const options = { ...SETTINGS, backbone }
    await events({ ...options, prompt: small(backbone), out: whole })
    // left as it is, which saves nothing, as a kill does
    for await (const event of train({ ...options, prompt: small(backbone), out: cut })) {
      if (event.type === 'step' && event.step === 2) break
    }
    await events({ ...options, prompt: small(backbone), out: cut, resume: true })
    expect(left(cut)).toEqual(left(whole))
  })

  test('when it was interrupted before its first step, and before it was begun', async () => {
    const [whole, cut] = [join(folder, 'early whole'), join(folder, 'early cut')]
    const options = { ...SETTINGS, backbone }
    await events({ ...options, prompt: small(backbone), out: whole })
    // what a process leaves that is killed while it makes the folder
    mkdirSync(join(cut, 'checkpoint'), { recursive: true })
    writeFileSync(join(cut, '.lopt-0a1b2c3d-0000-0000-0000-000000000000.tmp'), 'half')
    const again = { ...options, out: cut, resume: true }
    const begun = { ...again, prompt: small(backbone) }
    await events(begun, (event) => event.type === 'start')
    await events({ ...again, prompt: small(backbone) })
    expect(left(cut)).toEqual(left(whole))
    expect(readdirSync(cut).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })
})

/** Options that a method needs on a model this small. */
function own(method: string) {
  return method === 'dpt' ? { rank: 2 } : {}
}

describe('a run that is finished', () => {
  test('gives its result again and trains nothing', async () => {
    const out = join(folder, 'finished')
    const first = small(backbone)
    const whole = await events({ ...SETTINGS, backbone, prompt: first, out })
    const before = left(out)
    const again = small(backbone)
    const seen = await events({ ...SETTINGS, backbone, prompt: again, out, resume: true })
    expect(seen.map(({ type }) => type)).toEqual(['start', 'done'])
    expect(seen.at(-1)).toEqual(whole.at(-1))
    expect(left(out)).toEqual(before)
    expect(again.inputs().toArray()).toEqual(first.inputs().toArray())
  })
})

describe('openRun', () => {
  test('needs the folder alone', async () => {
    const data = join(folder, 'rows.jsonl')
    writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
    const [whole, cut] = [join(folder, 'open whole'), join(folder, 'open cut')]
    const options = async () => {
      const labels = ['good', 'bad']
      const loaded = await loadTask(data, { seed: 3, labels, devFraction: 0.25 })
      const prompt = createPrompt(backbone, { method: 'lopt-2', length: 5, seed: 1 })
      return { ...SETTINGS, task: loaded, backbone, prompt }
    }
    await events({ ...(await options()), out: whole })
    const first = { ...(await options()), out: cut }
    await events(first, (event) => event.type === 'step' && event.step === 7)
    const opened = await openRun(cut)
    expect(opened.backbone.source).toBe(fixture('gpt2-plain'))
    await events(opened)
    expect(left(cut)).toEqual(left(whole))
    opened.backbone.dispose()

    // the rows change
    appendFileSync(data, `${JSON.stringify({ text: 'new', label: 'good' })}\n`)
    const changed = await openRun(cut)
    await expect(events(changed)).rejects.toMatchObject({ code: 'ERR_DATA' })
    changed.backbone.dispose()
  })

  test('finds a task of the literature in its folder again', async () => {
    const [whole, cut] = [join(folder, 'rte whole'), join(folder, 'rte cut')]
    const original = 'test/fixtures/datasets/original'
    const options = async () => ({
      ...SETTINGS,
      // not what loadTask would choose for a GPT-2 by itself
      task: await loadTask('rte', {
        folder: original,
        splits: 'official',
        templates: 'dept',
      }),
      backbone,
      prompt: small(backbone),
    })
    await events({ ...(await options()), out: whole })
    const first = { ...(await options()), out: cut }
    await events(first, (event) => event.type === 'step' && event.step === 7)
    const opened = await openRun(cut)
    expect(opened.task.source).toMatchObject({
      ...{ task: 'rte', folder: resolve(original) },
      ...{ splits: 'official', templates: 'dept' },
    })
    await events(opened)
    expect(left(cut)).toEqual(left(whole))
    opened.backbone.dispose()
  })

  test('takes a prompt of another backbone as the run did', async () => {
    const data = join(folder, 'foreign.jsonl')
    writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
    const [whole, cut] = [join(folder, 'foreign whole'), join(folder, 'foreign cut')]
    const options = async () => {
      const { config, parameters } = small(backbone)
      const other = { ...config, backbone: 'abc123' }
      const prompt = new Prompt(other, parameters, { allowOtherBackbone: true })
      return { ...SETTINGS, task: await loadTask(data), backbone, prompt }
    }
    await events({ ...(await options()), out: whole })
    const first = { ...(await options()), out: cut }
    await events(first, (event) => event.type === 'step' && event.step === 7)
    const opened = await openRun(cut)
    expect(opened.prompt?.allowsOtherBackbone).toBe(true)
    await events(opened)
    expect(left(cut)).toEqual(left(whole))
    opened.backbone.dispose()
  })

  test('refuses a folder that holds no run, and one whose rows were in memory', async () => {
    await expect(openRun(join(folder, 'nowhere'))).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringContaining('no run'),
    })
    const out = join(folder, 'in memory')
    await events({ ...SETTINGS, backbone, prompt: small(backbone), out, steps: 1 })
    await expect(openRun(out)).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('rows'),
    })
  })
})

describe('a run does not go on', () => {
  let begun: string
  beforeAll(async () => {
    begun = join(folder, 'begun')
    const options = { ...SETTINGS, backbone, prompt: small(backbone), out: begun }
    await events(options, (event) => event.type === 'step' && event.step === 4)
  })
  const copy = (name: string) => {
    cpSync(begun, join(folder, name), { recursive: true })
    return join(folder, name)
  }

  test('with other options: each is named, and nothing is changed', async () => {
    const before = readFileSync(join(begun, 'metrics.jsonl'), 'utf8')
    const options = { ...SETTINGS, backbone, out: begun, resume: true }
    const other = { ...options, prompt: small(backbone), learningRate: 0.5, steps: 99 }
    const error = await events(other).catch((error: unknown) => error as Error)
    expect(error).toBeInstanceOf(RangeError)
    const { message } = error as Error
    expect(message).toContain('training.steps was 12 and is 99')
    expect(message).toContain('training.learningRate was 0.3 and is 0.5')
    const longer = createPrompt(backbone, { length: 5, rank: 2 })
    await expect(events({ ...options, prompt: longer })).rejects.toThrow(
      /prompt\.length was 4/,
    )
    expect(readFileSync(join(begun, 'metrics.jsonl'), 'utf8')).toBe(before)
  })

  test('with other rows, another model, or another version', async () => {
    const options = { ...SETTINGS, backbone, out: begun, resume: true }
    const others = createTask({
      train: rows.slice(1),
      dev: rows.slice(0, 8),
      test: rows.slice(8, 16),
    })
    await expect(
      events({ ...options, prompt: small(backbone), task: others }),
    ).rejects.toMatchObject({ code: 'ERR_DATA' })
    const model = await loadBackbone(fixture('gpt2-unscaled'))
    await expect(
      events({ ...options, backbone: model, prompt: small(model) }),
    ).rejects.toMatchObject({ code: 'ERR_MODEL_FILE' })
    model.dispose()
    const out = copy('version')
    const file = join(out, 'config.json')
    const config = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(
      file,
      JSON.stringify({ ...config, versions: { ...config.versions, torch: '1.0.0' } }),
    )
    await expect(
      events({ ...options, prompt: small(backbone), out }),
    ).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('versions.torch was "1.0.0"'),
    })
  })

  test('without resume, in a folder that is something else, or without out', async () => {
    const options = { ...SETTINGS, backbone, prompt: small(backbone) }
    await expect(events({ ...options, out: begun })).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringContaining('go on with it'),
    })
    const thesis = join(folder, 'thesis')
    mkdirSync(thesis)
    writeFileSync(join(thesis, 'thesis.txt'), 'years')
    await expect(events({ ...options, out: thesis, resume: true })).rejects.toMatchObject(
      {
        code: 'ERR_IO',
        message: expect.stringContaining('no run folder'),
      },
    )
    expect(readdirSync(thesis)).toEqual(['thesis.txt'])
    await expect(events({ ...options, resume: true })).rejects.toThrow(RangeError)
  })

  test.each([
    ['cut short', (file: string) => truncateSync(file, 1000)],
    ['of something else', (file: string) => writeFileSync(file, 'nothing')],
    ['that is gone', (file: string) => rmSync(file)],
  ])('from a checkpoint %s', async (name, damage) => {
    const out = copy(name)
    damage(join(out, 'checkpoint', 'state.safetensors'))
    const options = { ...SETTINGS, backbone, prompt: small(backbone), out, resume: true }
    await expect(events(options)).rejects.toMatchObject({
      code: expect.stringMatching(/ERR_PROMPT_FILE/),
      message: expect.stringContaining('state.safetensors'),
    })
  })

  test('when its log is shorter than its checkpoint says', async () => {
    const out = copy('short log')
    truncateSync(join(out, 'metrics.jsonl'), 10)
    const options = { ...SETTINGS, backbone, prompt: small(backbone), out, resume: true }
    await expect(events(options)).rejects.toMatchObject({ code: 'ERR_IO' })
  })
})

describe('a run folder', () => {
  test('is written by one run at a time', async () => {
    const out = join(folder, 'locked')
    const first = train({ ...SETTINGS, backbone, prompt: small(backbone), out })
    await first.next()
    const second = { ...SETTINGS, backbone, prompt: small(backbone), out, resume: true }
    await expect(events(second)).rejects.toMatchObject({
      code: 'ERR_LOCKED',
      message: expect.stringContaining(`process ${process.pid} on ${hostname()}`),
    })
    await first.return(undefined)
    await events(second)
    expect(readdirSync(out).filter(isLockFile)).toEqual([])
  })
})
