// Steps that are launched before the values of those before them are read: what is told, what stays where a run is left, fails or
// is aborted.

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { noGrad, type Tensor, tensor } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { Trainee } from '../../lib/train/trainee.js'
import { settledMemory } from '../live.js'
import { capturedBackbones, eventsOf, expectNear, numbersOf } from './captured-runs.js'
import { bytesOf, small, task } from './small-runs.js'

const made = capturedBackbones()

describe('a captured step', () => {
  test('is launched before the values of the one before it are read, but where something looks at what that one left', async () => {
    const asked: string[] = []
    const { prototype } = Trainee
    const { update } = prototype
    vi.spyOn(prototype, 'update').mockImplementation(function (this: Trainee, good) {
      asked.push('update')
      return update.call(this, good)
    })
    const prompt = small(made.gpt2)
    const options = { backbone: made.gpt2, prompt, task, batchSize: 4, graphs: true }
    const order: string[] = []
    for await (const event of train({ ...options, steps: 6, evalEvery: 4 })) {
      order.push(...asked.splice(0), event.type)
    }
    const step = ['update', 'step']
    expect(order).toEqual([
      ...['start', 'update', ...step, ...step, ...step, 'step', 'eval'],
      ...['update', ...step, 'step', 'eval', 'done'],
    ])
  })

  test.each([5, 6])('that nobody was told of leaves nothing: %i', async (last) => {
    const options = { backbone: made.gpt2, evalEvery: 0, graphs: true }
    const whole = small(made.gpt2)
    await eventsOf({ ...options, prompt: whole, steps: last })
    const left = small(made.gpt2)
    for await (const event of train({
      ...options,
      task,
      batchSize: 4,
      prompt: left,
      steps: 9,
    })) {
      if (event.type === 'step' && event.step === last) break
    }
    expect(bytesOf(left)).toEqual(bytesOf(whole))
  })

  test('ends well where the prompt is gone by then', async () => {
    const before = await settledMemory()
    const out = join(mkdtempSync(join(tmpdir(), 'lopt-graphs-')), 'run')
    for (let i = 0; i < 2; i += 1) {
      const prompt = small(made.gpt2)
      const options = {
        backbone: made.gpt2,
        task,
        prompt,
        out,
        batchSize: 4,
        evalEvery: 0,
        checkpointEvery: 5,
      }
      const left = (async () => {
        for await (const event of train({
          ...options,
          steps: 9,
          graphs: true,
          resume: i > 0,
        })) {
          if (event.type !== 'step') continue
          prompt.dispose()
          break
        }
      })()
      // The folder is free again: the second run finds it so.
      await expect(left).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
    }
    expect((await settledMemory()).tensors).toBe(before.tensors)
  })

  test('of several prompts one of which fails is taken by the others, which go on from it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lopt-graphs-'))
    const backbone = made.exact.gpt2
    const promptsOf = () =>
      [0, 1].map((seed) => createPrompt(backbone, { length: 3, rank: 2, seed }))
    const often = { steps: 10, evalEvery: 0, checkpointEvery: 8 }
    const common = { backbone, task, ...often, batchSize: 4, graphs: true }
    const alone = promptsOf()[1] as Prompt
    await eventsOf({ ...common, prompt: alone, seed: 1 })
    const prompts = promptsOf()
    const trained = prompts.map((prompt, seed) => ({
      prompt,
      seed,
      out: join(folder, `${seed}`),
    }))
    const told: string[] = []
    for await (const event of train({ ...common, prompts: trained })) {
      const { type, prompt } = event
      if (type === 'step') told.push(`${prompt}: ${event.step}`)
      if (type === 'checkpoint' || type === 'failed')
        told.push(`${prompt}: ${type} ${event.step}`)
      if (type !== 'step' || event.step !== 3 || prompt !== 0) continue
      const [broken] = Object.values((prompts[0] as Prompt).parameters)
      await noGrad(() => broken?.copy_(tensor(Number.NaN).expand(broken.shape)))
    }
    // Step 4 was launched when step 3 was told of, step 6 when step 5 failed.
    expect(told.filter((one) => one.startsWith('0'))).toEqual([
      '0: 1',
      '0: 2',
      '0: 3',
      '0: 4',
      '0: failed 5',
    ])
    expect(told.filter((one) => one.startsWith('1: checkpoint'))).toEqual([
      '1: checkpoint 6',
      '1: checkpoint 8',
    ])
    expect(told.filter((one) => /^1: \d+$/.test(one)).length).toBe(10)
    for (const [name, one] of Object.entries((prompts[1] as Prompt).parameters)) {
      expectNear(numbersOf(one), numbersOf(alone.parameters[name] as Tensor))
    }
    for (const one of Object.values((prompts[0] as Prompt).parameters)) {
      expect(numbersOf(one).every(Number.isFinite)).toBe(true)
    }
  })
})
