// Several prompts trained in one pass: each as it is alone.

import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import type { TrainEvent } from '../../lib/run/index.js'
import { memory, noGrad } from '../../lib/torch/index.js'
import {
  evaluate,
  type PromptTraining,
  type TrainOptions,
  train,
} from '../../lib/train/index.js'
import { settledMemory } from '../live.js'
import { bytesOf, loadSmall, loadSmallT5, task } from './small-runs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-together-'))

/** Six prompts that have nothing in common but their backbone. */
function different(backbone: Backbone): PromptTraining[] {
  const of = (
    ...given: Parameters<typeof createPrompt> extends [unknown, ...infer R] ? R : never
  ) => createPrompt(backbone, ...given)
  return [
    { prompt: of({ length: 4, rank: 2 }), learningRate: 0.1 },
    {
      prompt: of({ method: 'full', length: 6, placement: 'suffix' }),
      learningRate: 0.05,
      optimizer: 'sgd',
    },
    {
      prompt: of({ method: 'lopt-2', length: 3, rank: 2, placement: 'suffix' }),
      seed: 4,
    },
    { prompt: of({ method: 'prefix', length: 2 }), schedule: 'linear', warmupSteps: 5 },
    {
      prompt: of({ method: 'dept', length: 3, rank: 2, textTokens: 6 }),
      objective: 'verbalizer',
      learningRates: { A: 0.01, B: 0.01 },
    },
    {
      prompt: of({ method: 'ulpt', length: 5, rank: 3 }),
      objective: 'verbalizer',
      optimizer: 'adamw',
      weightDecay: 0.1,
      clip: 0.3,
      seed: 4,
    },
  ]
}

async function collected(options: TrainOptions): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  for await (const event of train(options)) events.push(event)
  return events
}

const common = { task, steps: 30, batchSize: 4, evalEvery: 10 }

const ofPrompt = (events: readonly TrainEvent[], prompt: number | undefined) =>
  events.filter((event) => event.prompt === prompt)

const lossesOf = (events: readonly TrainEvent[]) =>
  events.flatMap((event) =>
    event.type === 'step' || event.type === 'eval' ? [event.loss] : [],
  )

function gap(a: readonly Prompt[], b: readonly Prompt[]): number {
  return noGrad(() =>
    Math.max(
      ...a.flatMap((one, i) =>
        Object.entries(one.parameters).map(([name, tensor]) => {
          const other = b[i]?.parameters[name] as typeof tensor
          return tensor.sub(other).abs().amax().item()
        }),
      ),
    ),
  )
}

const MODELS = [
  ['GPT-2', loadSmall],
  ['T5', loadSmallT5],
] as const

describe.each(MODELS)('six different prompts on %s', (_, load) => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await load('float64')
  })
  afterAll(() => backbone.dispose())

  test.each([{}, { accumulate: 3 }, { checkpointLayers: 1 }, { fastPaths: false }])(
    'have the losses and factors of each alone over 30 steps, %o',
    async (more) => {
      const together = different(backbone)
      const events = await collected({ ...common, ...more, backbone, prompts: together })
      const alone = different(backbone)
      for (const [i, { prompt, ...own }] of alone.entries()) {
        const expected = lossesOf(
          await collected({ ...common, ...more, ...own, backbone, prompt }),
        )
        const found = lossesOf(ofPrompt(events, i))
        expect(found).toHaveLength(33)
        found.forEach((loss, n) => {
          expect(Math.abs(loss - (expected[n] as number))).toBeLessThan(1e-10)
        })
      }
      const all = [together, alone].map((some) => some.map(({ prompt }) => prompt))
      expect(gap(all[0] as Prompt[], all[1] as Prompt[])).toBeLessThan(1e-10)
      for (const prompt of all.flat()) prompt.dispose()
    },
  )

  test('are evaluated in one pass as each is alone', async () => {
    const prompts = different(backbone).map(({ prompt }) => prompt)
    const all = await evaluate({ backbone, prompts, task })
    for (const [i, prompt] of prompts.entries()) {
      const { loss, ...alone } = await evaluate({ backbone, prompt, task })
      const { loss: found, ...figures } = all[i] as typeof alone & { loss: number }
      expect(Math.abs(found - loss)).toBeLessThan(1e-10)
      expect(figures).toEqual(alone)
      prompt.dispose()
    }
  })
})

describe('prompts that are trained together', () => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await loadSmall()
  })
  afterAll(() => backbone.dispose())

  const three = () =>
    [1, 2, 3].map((seed) => createPrompt(backbone, { length: 4, rank: 2, seed }))
  const outs = (name: string) => [0, 1, 2].map((i) => join(folder, name, String(i)))

  /** What a run left, but for the times. */
  const left = (out: string) => ({
    names: readdirSync(out).filter((name) => !name.startsWith('events')),
    config: JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')),
    events: readFileSync(join(out, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => {
        const { seconds, path, peakMemoryBytes, ...event } = JSON.parse(line)
        return event
      }),
    prompt: readFileSync(join(out, 'prompt.lopt.safetensors')).toString('base64'),
  })

  test('leave the files of each alone', async () => {
    const float64 = await loadSmall('float64')
    const made = [1, 2].map((seed) => createPrompt(float64, { length: 4, rank: 2, seed }))
    const [a, b, alone] = outs('files') as [string, string, string]
    const [first, second] = made as [Prompt, Prompt]
    const prompts = [
      { prompt: first, out: a },
      { prompt: second, out: b },
    ]
    await collected({ ...common, backbone: float64, prompts })
    const again = createPrompt(float64, { length: 4, rank: 2, seed: 1 })
    await collected({ ...common, backbone: float64, prompt: again, out: alone })
    const [found, expected] = [left(a), left(alone)]
    expect(found.names).toEqual(expected.names)
    expect({
      ...found.config,
      training: { ...found.config.training, out: alone },
    }).toEqual(expected.config)
    expect(found.events).toHaveLength(expected.events.length)
    found.events.forEach((event, i) => {
      expect(Object.keys(event)).toEqual(Object.keys(expected.events[i]))
      if (event.loss !== undefined)
        expect(event.loss).toBeCloseTo(expected.events[i].loss, 9)
    })
    expect(found.prompt).toBe(expected.prompt) // float32
    for (const prompt of [...made, again]) prompt.dispose()
    float64.dispose()
  })

  test('go on together to the same bits after an abort', async () => {
    const run = async (name: string, stopAt?: number, resume = false) => {
      const prompts = three().map((prompt, i) => ({
        prompt,
        out: outs(name)[i] as string,
      }))
      const stop = new AbortController()
      try {
        const options = { ...common, checkpointEvery: 7, backbone, prompts, resume }
        for await (const event of train({ ...options, signal: stop.signal })) {
          if (event.type === 'step' && event.step === stopAt) stop.abort()
        }
      } catch (error) {
        expect(error).toMatchObject({
          code: 'ERR_ABORTED',
          message: `Stopped after step ${stopAt} of 30. What each of 3 prompts learned is in its run folder`,
        })
      }
      const bits = prompts.map(({ prompt }) => bytesOf(prompt))
      for (const { prompt } of prompts) prompt.dispose()
      return bits
    }
    const whole = await run('whole')
    await run('stopped', 12)
    await run('stopped', 24, true)
    expect(await run('stopped', undefined, true)).toEqual(whole)
    const strip = ({ config, ...rest }: ReturnType<typeof left>) => rest
    for (const [i, out] of outs('stopped').entries()) {
      expect(strip(left(out))).toEqual(strip(left(outs('whole')[i] as string)))
    }
  })

  test('do not go on with runs that were not made together', async () => {
    const [a, b] = outs('apart') as [string, string]
    const prompts = three()
    const [first, second] = prompts as [Prompt, Prompt]
    const stop = new AbortController()
    const options = { ...common, backbone, signal: stop.signal }
    for (const [prompt, out, last] of [
      [first, a, 3],
      [second, b, 5],
    ] as const) {
      const run = train({
        ...options,
        signal: AbortSignal.any([]),
        prompt,
        out,
        checkpointEvery: 1,
      })
      for await (const event of run) {
        if (event.type === 'checkpoint' && event.step === last) break
      }
    }
    const again = three().slice(0, 2)
    const both = again.map((prompt, i) => ({ prompt, out: [a, b][i] as string }))
    const run = collected({ ...options, prompts: both, checkpointEvery: 1, resume: true })
    await expect(run).rejects.toThrow(/not made together.*prompts\[0\] 3, prompts\[1\] 5/)
    for (const prompt of [...prompts, ...again]) prompt.dispose()
  })

  test('end alone where a loss is not finite, and the others go on to the same numbers', async () => {
    const prompts = three()
    const given = (name: string, learningRate: number): PromptTraining[] =>
      prompts.map((prompt, i) => ({
        prompt,
        out: outs(name)[i] as string,
        ...(i === 1 && { learningRate, optimizer: 'sgd' as const, clip: 0 }),
      }))
    const events = await collected({
      ...common,
      backbone,
      prompts: given('failed', 1e30),
    })
    const failed = events.filter(({ type }) => type === 'failed')
    expect(failed).toEqual([
      expect.objectContaining({
        prompt: 1,
        error: expect.objectContaining({ code: 'ERR_NON_FINITE_LOSS' }),
      }),
    ])
    const done = events.filter(({ type }) => type === 'done').map(({ prompt }) => prompt)
    expect(done).toEqual([0, 2])
    for (const value of Object.values(prompts[1]?.parameters ?? {})) {
      expect(value.isfinite().all().item()).toBe(1)
    }
    const again = await collected({
      ...common,
      backbone,
      prompts: given('failed', 1e30),
      resume: true,
    })
    expect(again.filter(({ type }) => type === 'failed')).toHaveLength(1)
    expect(again.filter(({ type }) => type === 'done')).toHaveLength(2)
    const others = three().filter((_, i) => i !== 1)
    const apart = await collected({ ...common, backbone, prompts: others })
    for (const [i, place] of [0, 2].entries()) {
      const [found, expected] = [ofPrompt(events, place), ofPrompt(apart, i)].map(
        lossesOf,
      )
      found?.forEach((loss, n) => {
        expect(loss).toBeCloseTo(expected?.[n] as number, 4)
      })
    }
    for (const prompt of [...prompts, ...others]) prompt.dispose()
  })

  test('throw once all have failed', async () => {
    const prompts = three().map((prompt) => ({
      prompt,
      learningRate: 1e30,
      optimizer: 'sgd' as const,
      clip: 0,
    }))
    const events: TrainEvent[] = []
    const run = async () => {
      for await (const event of train({ ...common, backbone, prompts }))
        events.push(event)
    }
    await expect(run()).rejects.toMatchObject({ code: 'ERR_NON_FINITE_LOSS' })
    expect(events.filter(({ type }) => type === 'failed')).toHaveLength(3)
    for (const { prompt } of prompts) prompt.dispose()
  })

  test('take what is given for all where their own is undefined', async () => {
    const prompt = createPrompt(backbone, { length: 4, rank: 2 })
    const prompts = [{ prompt, learningRate: undefined } as unknown as PromptTraining]
    const options = { ...common, steps: 1, learningRate: 0.7, backbone, prompts }
    expect((await collected(options))[0]).toMatchObject({ learningRate: 0.7 })
    prompt.dispose()
  })

  test('say of the texts that are kept what each says alone', async () => {
    // A suffix of 60 leaves room for a part of the longer texts only.
    const make = () =>
      [4, 60].map((length) => createPrompt(backbone, { length, placement: 'suffix' }))
    const [together, alone] = [make(), make()]
    const options = { ...common, backbone }
    const all = await collected({ ...options, prompts: together })
    const kept = (events: readonly TrainEvent[]) =>
      events.flatMap((event) => (event.type === 'start' ? [event.reuse] : []))
    const expected = []
    for (const prompt of alone) {
      expected.push(...kept(await collected({ ...options, prompt })))
    }
    expect(kept(all)).toEqual(expected)
    expect(expected[0]?.bytes).toBeGreaterThan(expected[1]?.bytes as number)
    for (const prompt of [...together, ...alone]) prompt.dispose()
  })

  test('of one seed see the same rows, of others their own', async () => {
    const make = () => createPrompt(backbone, { length: 4, rank: 2 })
    const prompts = [make(), { prompt: make(), seed: 9 }, make()]
    const events = await collected({ ...common, backbone, prompts })
    const [a, b, c] = [0, 1, 2].map((i) => lossesOf(ofPrompt(events, i)))
    expect(a).toEqual(c)
    expect(a).not.toEqual(b)
    for (const one of prompts) ('prompt' in one ? one.prompt : one).dispose()
  })

  test('keep live tensors and their memory flat over 500 steps', async () => {
    const prompts = [
      ...three(),
      createPrompt(backbone, { length: 5, method: 'full', placement: 'suffix' }),
    ]
    const { tensors } = await settledMemory()
    const counts: number[] = []
    const sizes: number[] = []
    const options = { ...common, steps: 500, evalEvery: 0, backbone, prompts }
    for await (const event of train(options)) {
      if (event.type !== 'step' || event.prompt !== 0) continue
      counts.push(memory().tensors)
      sizes.push(memory().bytes)
    }
    // The texts before the suffix are kept from the first epoch on.
    expect(Math.max(...counts.slice(20))).toBeLessThanOrEqual(
      Math.max(...counts.slice(10, 20)),
    )
    expect(Math.max(...sizes.slice(20))).toBeLessThanOrEqual(
      1.2 * Math.max(...sizes.slice(10, 20)),
    )
    expect(memory().tensors).toBeLessThanOrEqual(tensors)
    for (const prompt of prompts) prompt.dispose()
  })
})

describe('what cannot be trained together is refused', () => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await loadSmall()
  })
  afterAll(() => backbone.dispose())

  const refused = (options: Partial<TrainOptions>) =>
    expect(collected({ ...common, backbone, ...options })).rejects

  test('with its reason', async () => {
    const prompt = createPrompt(backbone, { length: 4, rank: 2 })
    const other = createPrompt(backbone, { length: 4, rank: 2 })
    await refused({ prompts: [] }).toThrow('one prompt at least')
    await refused({ prompts: [prompt, other, prompt] }).toThrow(
      'each prompt once in prompts, but prompts[2] is prompts[0]',
    )
    await refused({ prompts: [prompt, undefined as never] }).toThrow(
      /prompts\[1\] to be made by createPrompt/,
    )
    await refused({ prompts: prompt as never }).toThrow(/prompts to be a list/)
    await refused({ prompt, prompts: [other] }).toThrow(
      /either prompt, prompts or weights/,
    )
    await refused({ prompts: [prompt, { prompt: other, steps: 3 } as never] }).toThrow(
      /prompts\[1\]: steps is the same for all/,
    )
    await refused({ prompts: [{ prompt, learningRate: -1 }] }).toThrow(
      /prompts\[0\]: Expected learningRate/,
    )
    await refused({ prompts: [prompt, other], out: join(folder, 'one') }).toThrow(
      /give each of prompts its own/,
    )
    await refused({ prompts: [prompt, other], resume: true }).toThrow(/resume needs out/)
    const [a, b] = [join(folder, 'twice'), `${folder}/there/../twice/`]
    await refused({
      prompts: [
        { prompt, out: a },
        { prompt: other, out: b },
      ],
    }).toThrow(
      `prompts[1]: Expected a run folder (out) of its own but received that of prompts[0], ${a}`,
    )
    await refused({ prompts: [prompt, { prompt: other, out: a }] }).toThrow(
      'prompts[1] has a run folder (out) and prompts[0] none',
    )
    expect(existsSync(a)).toBe(false)
    prompt.dispose()
    other.dispose()
  })

  test('a learning rate of a tensor that one has not, before anything is made', async () => {
    const dept = createPrompt(backbone, {
      method: 'dept',
      length: 3,
      rank: 2,
      textTokens: 6,
    })
    const other = createPrompt(backbone, { length: 4, rank: 2 })
    const { tensors } = await settledMemory()
    await refused({ prompts: [dept, other], learningRates: { A: 0.01 } }).toThrow(
      /^prompts\[1\]: Expected learningRates to name trained tensors \(U, V\) but received A$/,
    )
    expect(memory().tensors).toBe(tensors)
    expect(dept.task).toBeUndefined()
    dept.dispose()
    other.dispose()
  })

  test('a prompt of another backbone', async () => {
    const t5 = await loadSmallT5()
    const own = createPrompt(backbone, { length: 4, rank: 2 })
    const foreign = createPrompt(t5, { length: 4, rank: 2 })
    await refused({ prompts: [own, foreign] }).toThrow(
      /prompts\[1\] is for a backbone of hidden size 24; .* has 32/,
    )
    foreign.dispose()
    own.dispose()
    t5.dispose()
  })

  test('a prompt that leaves no room for a text', async () => {
    const own = createPrompt(backbone, { length: 4, rank: 2 })
    const long = createPrompt(backbone, { length: 62, rank: 2 })
    await refused({ prompts: [own, long], maxLength: 5 }).toThrow(
      /prompts\[1\]: Expected maxLength in 1\.\.1, the positions that prompt and label leave/,
    )
    own.dispose()
    long.dispose()
  })
})
