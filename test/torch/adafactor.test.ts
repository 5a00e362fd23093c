// Golden values: test/fixtures/make_adafactor.py (transformers 5.18, float64).

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  Adafactor,
  type AdafactorOptions,
  memory,
  openSafetensors,
  type ParameterGroup,
  parameter,
  type Tensor,
  tidy,
  zeros,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

const path = (name: string) =>
  fileURLToPath(new URL(`../fixtures/adafactor/adafactor.${name}`, import.meta.url))

interface Options {
  lr?: number
  weight_decay?: number
  beta1?: number
  clip_threshold?: number
  decay_rate?: number
  eps?: [number, number]
}

const golden = JSON.parse(readFileSync(path('json'), 'utf8')) as {
  steps: number
  parameters: Record<string, number[]>
  cases: { key: string; groups: (Options & { params: string[] })[]; options: Options }[]
}
const file = openSafetensors(path('safetensors'))

type Named = Record<string, Tensor>

function started(): Named {
  const all = Object.keys(golden.parameters).map((name) => [
    name,
    parameter(file.tensor(`${name}.start`).clone()),
  ])
  return Object.fromEntries(all) as Named
}

function options(given: Options): AdafactorOptions {
  return {
    lr: given.lr as number,
    weightDecay: given.weight_decay as number,
    beta1: given.beta1 as number,
    clipThreshold: given.clip_threshold as number,
    decayRate: given.decay_rate as number,
    eps: given.eps?.[0] as number,
  }
}

function made(parameters: Named, { groups, options: shared }: (typeof golden.cases)[0]) {
  const own = groups.map(
    ({ params, ...more }): ParameterGroup<AdafactorOptions> => ({
      ...options(more),
      params: params.map((name) => parameters[name] as Tensor),
    }),
  )
  return new Adafactor(own, options(shared))
}

async function stepped(
  adafactor: Adafactor,
  parameters: Named,
  step: number,
): Promise<void> {
  await tidy(async () => {
    await adafactor.zeroGrad()
    for (const [name, p] of Object.entries(parameters)) {
      const slope = file.tensor(`${name}.slopes`).select(0, step)
      await p.square().sum().mul(0.5).add(slope.mul(p).sum()).backward()
    }
    await adafactor.step()
  })
}

function distance(a: Tensor, b: Tensor): number {
  return tidy(() => a.detach().sub(b).abs().amax().item())
}

describe('Adafactor takes the steps of transformers', () => {
  test.each(golden.cases)('$key', async (each) => {
    await tidy(async () => {
      const parameters = started()
      using adafactor = made(parameters, each)
      for (let step = 0; step < golden.steps; step += 1) {
        await stepped(adafactor, parameters, step)
        for (const [name, p] of Object.entries(parameters)) {
          const expected = file.tensor(`${each.key}.${name}.path`).select(0, step + 1)
          expect(distance(p, expected), `${name}, step ${step}`).toBeLessThan(1e-8)
        }
      }
      const { parameters: states } = await adafactor.state()
      const names = each.groups.flatMap(({ params }) => params)
      names.forEach((name, i) => {
        const { step, tensors } = states[i] as NonNullable<(typeof states)[0]>
        expect(step).toBe(golden.steps)
        const prefix = `${each.key}.${name}.state.`
        const kept = file.names.filter((key) => key.startsWith(prefix))
        expect(Object.keys(tensors).sort()).toEqual(
          kept.map((key) => key.slice(prefix.length)).sort(),
        )
        for (const [part, value] of Object.entries(tensors)) {
          expect(distance(value, file.tensor(prefix + part)), part).toBeLessThan(1e-8)
        }
      })
    })
  })
})

describe('Adafactor', () => {
  const [plain, beta1] = golden.cases as [
    (typeof golden.cases)[0],
    (typeof golden.cases)[0],
  ]

  test('continues from its state to the same numbers, to the bit', async () => {
    await tidy(async () => {
      const whole = started()
      using one = made(whole, beta1)
      for (let step = 0; step < 6; step += 1) await stepped(one, whole, step)

      const parts = started()
      using first = made(parts, beta1)
      for (let step = 0; step < 3; step += 1) await stepped(first, parts, step)
      const state = await first.state()
      using second = made(parts, { ...beta1, options: { lr: 7, beta1: 0.9 } })
      await second.loadState(state)
      expect(second.learningRates).toEqual(first.learningRates)
      for (let step = 3; step < 6; step += 1) await stepped(second, parts, step)
      for (const name of Object.keys(whole)) {
        expect(distance(whole[name] as Tensor, parts[name] as Tensor), name).toBe(0)
      }
    })
  })

  test('carries out its calls in their order, though none is awaited', async () => {
    await tidy(async () => {
      const awaited = started()
      using one = made(awaited, plain)
      await stepped(one, awaited, 0)
      await one.setLearningRate(0)
      await one.step()

      const hurried = started()
      using other = made(hurried, plain)
      for (const [name, p] of Object.entries(hurried)) {
        const slope = file.tensor(`${name}.slopes`).select(0, 0)
        await p.square().sum().mul(0.5).add(slope.mul(p).sum()).backward()
      }
      await Promise.all([other.step(), other.setLearningRate(0), other.zeroGrad()])
      for (const name of Object.keys(awaited)) {
        expect(distance(awaited[name] as Tensor, hurried[name] as Tensor), name).toBe(0)
        expect(await hurried[name]?.grad()).toBeNull()
      }
    })
  })

  test('leaves alone what has no gradient', async () => {
    await tidy(async () => {
      const parameters = started()
      using adafactor = made(parameters, plain)
      await adafactor.step()
      for (const [name, p] of Object.entries(parameters)) {
        expect(distance(p, file.tensor(`${name}.start`))).toBe(0)
      }
      expect((await adafactor.state()).parameters).toEqual([null, null, null])
    })
  })

  test('keeps live tensors flat', async () => {
    await tidy(async () => {
      const parameters = started()
      using adafactor = made(parameters, beta1)
      for (let step = 0; step < 2; step += 1) await stepped(adafactor, parameters, step)
      const { tensors: before } = await settledMemory()
      for (let step = 2; step < 12; step += 1) await stepped(adafactor, parameters, step)
      expect(memory().tensors).toBe(before)
    })
  })

  test.each([
    [{ lr: -1 }, 'lr'],
    [{ eps: -1 }, 'eps'],
    [{ clipThreshold: 0 }, 'Expected clipThreshold above 0 but received 0'],
    [{ decayRate: 1 }, 'Expected decayRate to be 0 or less but received 1'],
    [{ beta1: 1 }, 'Expected beta1 below 1 but received 1'],
  ])('refuses %o', (given, message) => {
    tidy(() => {
      const p = parameter(zeros([2]))
      expect(() => new Adafactor([p], given)).toThrow(message)
    })
  })

  test('refuses a state that does not fit', async () => {
    await tidy(async () => {
      const parameters = started()
      using adafactor = made(parameters, plain)
      await stepped(adafactor, parameters, 0)
      const state = await adafactor.state()
      await expect(adafactor.loadState({ ...state, kind: 'adam' })).rejects.toThrow(
        'Expected the state of adafactor but received that of adam',
      )
      using withAverage = made(parameters, beta1)
      await expect(withAverage.loadState({ ...state, parameters: [] })).rejects.toThrow(
        'Expected the state of 3 parameters but received 0',
      )
      const [first, ...rest] = state.parameters
      const broken = { step: 1, tensors: { exp_avg_sq: zeros([5]) } }
      await expect(
        adafactor.loadState({ ...state, parameters: [broken, ...rest] }),
      ).rejects.toThrow('exp_avg_sq of parameter 0 has shape [5] but [4] is expected')
      await expect(
        adafactor.loadState({
          ...state,
          parameters: [{ step: 1, tensors: {} }, ...rest],
        }),
      ).rejects.toThrow('parameter 0 lacks exp_avg_sq')
      expect(first).not.toBeNull()
    })
  })
})
