// Steps that are captured. On a CPU a captured step is run again from inputs that stay: it must give the bits of the step
// that is not, whatever comes between, and keep nothing.

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { LoptError } from '../../lib/errors.js'
import {
  encodeLabels,
  Inputs,
  promptLayouts,
  StepGraphs,
} from '../../lib/inference/index.js'
import { native } from '../../lib/native.js'
import {
  createPrompt,
  METHOD_NAMES,
  PLACEMENTS,
  type Prompt,
} from '../../lib/prompt/index.js'
import { selectWeights } from '../../lib/run/index.js'
import { CapturedGraph } from '../../lib/torch/graph.js'
import { noGrad, tensor, tidy } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { type TrainingRow, trainingLosses } from '../../lib/train/loss.js'
import { promptFor } from '../device-blind/backbones.js'
import { settledMemory } from '../live.js'
import {
  capturedBackbones,
  captureNothing,
  eventsOf,
  expectNear,
  figuresOf,
  lossesOf,
} from './captured-runs.js'
import { bytesOf, small, task } from './small-runs.js'

const made = capturedBackbones()

describe('a captured step', () => {
  const cases = METHOD_NAMES.flatMap((method) =>
    PLACEMENTS.flatMap((placement) =>
      (['gpt2', 't5'] as const).map((model) => [method, placement, model] as const),
    ),
  )
  test.each(cases)('gives what one that is not gives: %s as %s, %s', async (...given) => {
    const [method, placement, model] = given
    // A suffix stands behind texts that are kept, or in its rows.
    const ways = placement === 'suffix' ? [true, false] : [true]
    const objectives = ['lm', 'verbalizer'] as const
    for (const [objective, fastPaths] of objectives.flatMap((one) =>
      ways.map((way) => [one, way] as const),
    )) {
      const found: number[][] = []
      for (const isCaptured of [false, true]) {
        const prompt = promptFor(made.exact[model], method, placement)
        if (prompt === null) return
        if (!isCaptured) captureNothing()
        const options = { backbone: made.exact[model], prompt, objective, fastPaths }
        const events = await eventsOf({ ...options, graphs: true })
        vi.restoreAllMocks()
        const start = events.find(({ type }) => type === 'start')
        expect(start).toMatchObject({ graphs: { captured: true } })
        found.push(lossesOf(events))
        prompt.dispose()
      }
      expect(found[1]?.length).toBe(12)
      expectNear(found[1] as number[], found[0] as number[])
    }
  })

  test.each(['gpt2', 't5'] as const)('gives the same bits: %s', async (model) => {
    const backbone = model === 'gpt2' ? made.gpt2 : made.t5
    const found: unknown[] = []
    for (const isCaptured of [false, true]) {
      if (!isCaptured) captureNothing()
      const prompt = small(backbone)
      const events = await eventsOf({ backbone, prompt, graphs: true, steps: 50 })
      vi.restoreAllMocks()
      found.push([figuresOf(events), bytesOf(prompt)])
    }
    expect(found[1]).toEqual(found[0])
  })

  test.each(['adam', 'adamw', 'sgd'] as const)(
    'takes the optimizer with it: %s, in parts, with a schedule',
    async (optimizer) => {
      const found: unknown[] = []
      for (const isCaptured of [false, true]) {
        if (!isCaptured) captureNothing()
        const prompt = small(made.gpt2)
        const events = await eventsOf({
          ...{ backbone: made.gpt2, prompt, optimizer, graphs: true, accumulate: 2 },
          ...{ weightDecay: 0.1, clip: 0.5, schedule: 'cosine', warmupSteps: 3 },
        })
        vi.restoreAllMocks()
        found.push([figuresOf(events), bytesOf(prompt)])
      }
      expect(found[1]).toEqual(found[0])
    },
  )

  test('gives what a step without buckets gives, but for rounding', async () => {
    const losses: number[][] = []
    for (const graphs of [false, true]) {
      losses.push(
        lossesOf(
          await eventsOf({
            backbone: made.exact.gpt2,
            prompt: small(made.exact.gpt2),
            graphs,
          }),
        ),
      )
    }
    const [without, within] = losses as [number[], number[]]
    expect(within.length).toBe(12)
    expectNear(within, without)
  })

  test.each([0, 2 ** 20])(
    'stands behind kept texts, of which %i bytes stay',
    async (budgetBytes) => {
      const found: unknown[] = []
      const replay = vi.spyOn(CapturedGraph.prototype, 'replay')
      for (const isCaptured of [false, true]) {
        if (!isCaptured) captureNothing()
        const prompts = [0, 1].map((seed) =>
          createPrompt(made.gpt2, { length: 3, rank: 2, seed, placement: 'suffix' }),
        )
        const trained = prompts.map((prompt) => ({ prompt, learningRate: 0.1 }))
        const options = { backbone: made.gpt2, prompts: trained, reuse: { budgetBytes } }
        const events = await eventsOf({ ...options, graphs: true, steps: 30 })
        if (!isCaptured) expect(replay.mock.calls.length).toBe(0)
        vi.mocked(StepGraphs.prototype.run).mockRestore?.()
        found.push([figuresOf(events), prompts.map(bytesOf)])
      }
      expect(replay.mock.calls.length).toBeGreaterThan(10)
      expect(found[1]).toEqual(found[0])
    },
  )

  test('is one of several prompts too', async () => {
    const found: unknown[] = []
    for (const isCaptured of [false, true]) {
      if (!isCaptured) captureNothing()
      const prompts = [0, 1, 2].map((seed) =>
        createPrompt(made.gpt2, { length: 3 + seed, rank: 2, seed }),
      )
      const trained = prompts.map((prompt, seed) => ({ prompt, seed, learningRate: 0.1 }))
      const events = await eventsOf({
        backbone: made.gpt2,
        prompts: trained,
        graphs: true,
      })
      vi.restoreAllMocks()
      found.push([figuresOf(events), prompts.map(bytesOf)])
    }
    expect(found[1]).toEqual(found[0])
  })

  test('goes on from a checkpoint to the same bits', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lopt-graphs-'))
    const common = { backbone: made.gpt2, steps: 12, checkpointEvery: 3, graphs: true }
    const straight = small(made.gpt2)
    const all = await eventsOf({ ...common, prompt: straight, out: join(folder, 'a') })
    const out = join(folder, 'b')
    const aborted = new AbortController()
    const { signal } = aborted
    const part = train({
      ...{ task, batchSize: 4, evalEvery: 5, ...common, out, signal },
      prompt: small(made.gpt2),
    })
    const stopped = (async () => {
      for await (const event of part) {
        if (event.type === 'step' && event.step === 7) aborted.abort()
      }
    })()
    // The step that is launched by then is taken.
    await expect(stopped).rejects.toThrow('after step 8 of 12')
    const resumed = small(made.gpt2)
    const rest = await eventsOf({ ...common, prompt: resumed, out, resume: true })
    expect(lossesOf(rest)).toEqual(lossesOf(all).slice(8))
    expect(bytesOf(resumed)).toEqual(bytesOf(straight))
  })

  test('that is not finite changes nothing that is gone back to', async () => {
    const kept: unknown[] = []
    for (const graphs of [false, true]) {
      const prompt = small(made.exact.gpt2)
      const run = train({
        ...{
          backbone: made.exact.gpt2,
          prompt,
          task,
          steps: 12,
          batchSize: 4,
          evalEvery: 0,
          graphs,
        },
      })
      const found = { error: undefined as unknown, steps: 0 }
      // A captured step is launched by the time that the one before it is told of.
      const lastSound = graphs ? 8 : 9
      try {
        for await (const event of run) {
          if (event.type !== 'step') continue
          found.steps += 1
          if (found.steps < lastSound) continue
          const [broken] = Object.values(prompt.parameters)
          await noGrad(() => broken?.copy_(tensor(Number.NaN).expand(broken.shape)))
        }
      } catch (error) {
        found.error = (error as { code?: string }).code
      }
      expect(found).toEqual({ error: 'ERR_NON_FINITE_LOSS', steps: 9 })
      for (const one of Object.values(prompt.parameters)) {
        expect(one.isfinite().logicalNot().sum().item()).toBe(0)
      }
      kept.push(Object.values(prompt.parameters).map((one) => one.sum().item()))
    }
    const [without, within] = kept as [number[], number[]]
    expectNear(within, without)
  })

  test('keeps neither tensors nor memory', async () => {
    const prompt: Prompt = small(made.gpt2)
    const before = await settledMemory()
    await eventsOf({ backbone: made.gpt2, prompt, graphs: true, steps: 40 })
    expect((await settledMemory()).tensors).toBe(before.tensors)
  })
})

describe('steps are not captured, and it is said why', () => {
  test.each([
    ['checkpointLayers', { checkpointLayers: 1 }],
    ['adafactor', { optimizer: 'adafactor' }],
    ['weights', { weights: true }],
  ] as const)('%s', async (word, how) => {
    const { weights, ...options } = how as Record<string, boolean>
    const subject = weights
      ? { weights: selectWeights(made.gpt2, /ln_f/) }
      : { prompt: createPrompt(made.gpt2, { length: 3, rank: 2 }) }
    const given = { backbone: made.gpt2, ...subject, ...options, graphs: true, steps: 2 }
    const [start] = await eventsOf(given as never)
    expect(start).toMatchObject({ type: 'start', graphs: { captured: false } })
    expect((start as { graphs: { reason: string } }).graphs.reason).toContain(word)
  })

  test('and without `graphs` nothing is said on a CPU', async () => {
    const [start] = await eventsOf({
      backbone: made.gpt2,
      prompt: small(made.gpt2),
      steps: 1,
    })
    expect(start).not.toHaveProperty('graphs')
  })
})

describe('graphs of steps', () => {
  test('are others where the same texts and candidates are of other rows', async () => {
    const rowOf = (count: number): TrainingRow => {
      const candidates = Array.from({ length: count }, (_, i) => [5 + i, 6 + i])
      return { text: [1, 2, 3], length: 3, target: [5, 6], label: 0, candidates }
    }
    const few = [rowOf(3), rowOf(3)]
    const many = [rowOf(2), rowOf(2), rowOf(2)]
    const prompts = [small(made.gpt2), small(made.gpt2)]
    const layouts = promptLayouts(made.gpt2, prompts, { once: true })
    const labels = encodeLabels(made.gpt2, task)
    const signatureOf = (batches: TrainingRow[][]) =>
      tidy(() => {
        const inputs = new Inputs('cpu', { bucketed: true })
        const settings = { objective: 'verbalizer', meanOver: 'rows' } as const
        trainingLosses(settings, made.gpt2, layouts, batches, labels, inputs)
        return inputs.signature
      })
    expect(signatureOf([few, many])).toBe(signatureOf([few, many]))
    expect(signatureOf([few, many])).not.toBe(signatureOf([many, few]))
    for (const prompt of prompts) prompt.dispose()
  })

  test('for which there is no memory say what takes less, and can be had later', async () => {
    vi.spyOn(native(), 'graphCaptures').mockReturnValue(true)
    const graphs = new StepGraphs('cpu')
    const run = () =>
      tidy(async () => {
        const inputs = new Inputs('cpu')
        const one = inputs.int64([1, 2])
        return await graphs.run(inputs, async () => [one.sum()])
      })
    const before = await settledMemory()
    await run()
    const full = new LoptError('ERR_OUT_OF_MEMORY', 'no memory left')
    vi.spyOn(native(), 'graphEnd').mockRejectedValueOnce(full)
    await expect(run()).rejects.toMatchObject({
      code: 'ERR_OUT_OF_MEMORY',
      message: expect.stringContaining('without graphs'),
    })
    expect((await settledMemory()).tensors).toBe(before.tensors)
    await run()
    expect(graphs.count).toBe(1)
    await graphs.dispose()
    expect((await settledMemory()).tensors).toBe(before.tensors)
  })

  describe('that find no memory', () => {
    /** Fails once, in its call number `call`. */
    function failIn(name: 'clipGradNorm' | 'optimizerStep', call: number) {
      const bound = native()
      const own = bound[name] as (...given: unknown[]) => Promise<unknown>
      let calls = 0
      return vi.spyOn(bound, name).mockImplementation((async (...given: unknown[]) => {
        calls += 1
        if (calls !== call) return await own(...given)
        throw new LoptError('ERR_OUT_OF_MEMORY', 'no memory left')
      }) as never)
    }

    const trained = async (steps = 6) => {
      const prompt = small(made.gpt2)
      // One shape: the first step is not captured, the second is, the others are replayed.
      const settings = { steps, batchSize: task.train.length, evalEvery: 0, graphs: true }
      try {
        await eventsOf({ backbone: made.gpt2, prompt, ...settings })
        return bytesOf(prompt)
      } finally {
        prompt.dispose()
      }
    }

    /** Graphs that hold memory meanwhile. */
    async function withOthers<T>(work: (others: StepGraphs) => Promise<T>): Promise<T> {
      const others = new StepGraphs('cpu')
      for (let i = 0; i < 2; i += 1) {
        await tidy(async () => {
          const inputs = new Inputs('cpu')
          const one = inputs.int64([1])
          await others.run(inputs, async () => [one.sum()])
        })
      }
      try {
        return await work(others)
      } finally {
        await others.dispose()
      }
    }

    test.each([1, 2])(
      'in step %i, whose gradients are there, are done again with the same numbers',
      async (step) => {
        const expected = await trained()
        await withOthers(async (others) => {
          const clip = failIn('clipGradNorm', step)
          expect(await trained()).toEqual(expected)
          expect(clip).toHaveBeenCalledTimes(7)
          expect(others.count).toBe(0)
        })
      },
    )

    test('while they are captured are captured again, without the gradients of the first time', async () => {
      // As on a GPU, but for the recording: what is captured is computed, and a replay does nothing.
      vi.spyOn(native(), 'graphCaptures').mockReturnValue(true)
      const end = vi.spyOn(native(), 'graphEnd')
      const expected = await trained(2)
      expect(end).toHaveBeenCalledTimes(1)
      await withOthers(async () => {
        end.mockClear()
        failIn('clipGradNorm', 2)
        expect(await trained(2)).toEqual(expected)
        expect(end).toHaveBeenCalledTimes(2)
      })
    })

    test.each([1, 2])(
      'in step %i once it has changed what learns fail: nothing is changed twice',
      async (call) => {
        await withOthers(async (others) => {
          const step = failIn('optimizerStep', call)
          await expect(trained()).rejects.toMatchObject({ code: 'ERR_OUT_OF_MEMORY' })
          expect(step).toHaveBeenCalledTimes(call)
          expect(others.count).toBe(1)
        })
      },
    )
  })

  test('go, those that were used longest ago first', async () => {
    const graphs = new StepGraphs('cpu', { most: 3 })
    const before = await settledMemory()
    const run = (values: number[]) =>
      tidy(async () => {
        const inputs = new Inputs('cpu')
        const one = inputs.int64(values)
        const [sum] = await graphs.run(inputs, async () => [one.sum()])
        return sum?.item()
      })
    for (let length = 1; length <= 5; length += 1) {
      for (let i = 0; i < 3; i += 1) {
        const values = Array.from({ length }, (_, j) => i + j)
        expect(await run(values)).toBe(values.reduce((a, b) => a + b))
      }
      expect(graphs.count).toBe(Math.min(length, 3))
    }
    await graphs.dispose()
    expect(graphs.count).toBe(0)
    expect((await settledMemory()).tensors).toBe(before.tensors)
  })
})
