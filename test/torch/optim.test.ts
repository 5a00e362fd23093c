// Optimizers against PyTorch's, and their state.
// Golden values: test/fixtures/optim, written by test/fixtures/make_optim.py with PyTorch in Python.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  Adam,
  AdamW,
  memory,
  type OptimizerState,
  ones,
  openSafetensors,
  parameter,
  SGD,
  type Tensor,
  tensor,
  tidy,
  writeSafetensors,
  zeros,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

interface Case {
  key: string
  optimizer: 'adam' | 'adamw' | 'sgd'
  groups: {
    parameters: string[]
    options: {
      lr: number
      weightDecay: number
      beta1: number
      beta2: number
      eps: number
    }
  }[]
  setLearningRate: { beforeStep: number; group: number; lr: number } | null
  finalState: Record<string, Record<string, string>>
}

const folder = new URL('../fixtures/optim/', import.meta.url)
const { cases, steps } = JSON.parse(
  readFileSync(new URL('optim.json', folder), 'utf8'),
) as {
  cases: Case[]
  steps: number
}
const golden = openSafetensors(new URL('optim.safetensors', folder).pathname)
const kinds = { adam: Adam, adamw: AdamW, sgd: SGD }

/** Starts of a case, from the fixture's own copies: mapped pages would be changed in place. */
const startOf = (name: string) => parameter(golden.tensor(`${name}.start`).clone())

function make(c: Case, parameters: Map<string, Tensor>) {
  const groups = c.groups.map(
    ({ parameters: names, options: { beta1, beta2, ...rest } }) => ({
      params: names.map((name) => parameters.get(name) as Tensor),
      betas: [beta1, beta2] as const,
      ...rest,
    }),
  )
  return new kinds[c.optimizer](groups)
}

/** Sum over parameters of ½ pᵀ M p + s · p, with the slope s of the step. */
function lossAt(step: number, parameters: Map<string, Tensor>): Tensor {
  let total: Tensor = zeros([], { dtype: 'float64' })
  for (const [name, p] of parameters) {
    const flat = p.flatten()
    const matrix = golden.tensor(`${name}.matrix`)
    const slope = golden.tensor(`${name}.slopes`).select(0, step)
    total = total
      .add(flat.mul(matrix.matmul(flat)).sum().mul(0.5))
      .add(slope.mul(p).sum())
  }
  return total
}

async function train(
  optimizer: Adam | AdamW | SGD,
  parameters: Map<string, Tensor>,
  from: number,
  to: number,
  before?: (step: number) => Promise<void>,
): Promise<number[]> {
  const losses: number[] = []
  for (let step = from; step < to; step++) {
    await before?.(step)
    await tidy(async () => {
      await optimizer.zeroGrad()
      const loss = lossAt(step, parameters)
      await loss.backward()
      losses.push(loss.item())
      await optimizer.step()
    })
  }
  return losses
}

function expectNear(got: Tensor, expected: Tensor) {
  expect(got.shape).toEqual(expected.shape)
  expect(got.allclose(expected, { rtol: 1e-10, atol: 1e-12 })).toBe(true)
}

describe('20 steps', () => {
  test.each(cases.map((c) => [c.key, c] as const))(
    'of %s equal PyTorch',
    async (_, c) => {
      const names = c.groups.flatMap((group) => group.parameters)
      const parameters = new Map(names.map((name) => [name, startOf(name)]))
      const optimizer = make(c, parameters)
      const change = c.setLearningRate
      const losses = await train(optimizer, parameters, 0, steps, async (step) => {
        if (step === change?.beforeStep)
          await optimizer.setLearningRate(change.lr, change.group)
      })
      expectNear(tensor(losses, { dtype: 'float64' }), golden.tensor(`${c.key}.losses`))
      const state = await optimizer.state()
      for (const [i, name] of names.entries()) {
        const path = golden.tensor(`${c.key}.${name}.path`)
        expectNear(parameters.get(name) as Tensor, path.select(0, steps))
        const tensors = state.parameters[i]?.tensors ?? {}
        const expected = c.finalState[name] ?? {}
        expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort())
        for (const [part, key] of Object.entries(expected)) {
          expectNear(tensors[part] as Tensor, golden.tensor(key))
        }
        if (c.optimizer !== 'sgd') expect(state.parameters[i]?.step).toBe(steps)
      }
      optimizer.dispose()
    },
  )
})

describe('state', () => {
  const resumable = cases.filter((c) =>
    ['adam-amsgrad', 'adamw-groups', 'sgd-momentum'].includes(c.key),
  )

  test.each(resumable.map((c) => [c.key, c] as const))(
    'of %s goes through a file, and the run continues to the same bits',
    async (_, c) => {
      const names = c.groups.flatMap((group) => group.parameters)
      const straight = new Map(names.map((name) => [name, startOf(name)]))
      const optimizer = make(c, straight)
      const first = await train(optimizer, straight, 0, 10)
      const saved = await optimizer.state()
      const before = new Map([...straight].map(([name, p]) => [name, p.detach().clone()]))

      const path = join(mkdtempSync(join(tmpdir(), 'lopt-optim-')), 'state.safetensors')
      const flat: Record<string, Tensor> = {}
      for (const [i, entry] of saved.parameters.entries()) {
        for (const [name, t] of Object.entries(entry?.tensors ?? {}))
          flat[`${i}.${name}`] = t
      }
      const plain = {
        ...saved,
        parameters: saved.parameters.map((entry) => entry?.step ?? null),
      }
      await writeSafetensors(path, flat, { metadata: { state: JSON.stringify(plain) } })

      const rest = await train(optimizer, straight, 10, steps)

      const file = openSafetensors(path)
      const read = JSON.parse(file.metadata.state as string) as typeof plain
      const state: OptimizerState = {
        ...read,
        parameters: read.parameters.map((step, i) =>
          step === null
            ? null
            : {
                step,
                tensors: Object.fromEntries(
                  file.names
                    .filter((name) => name.startsWith(`${i}.`))
                    .map((name) => [name.slice(`${i}.`.length), file.tensor(name)]),
                ),
              },
        ),
      }
      const resumed = new Map([...before].map(([name, t]) => [name, parameter(t)]))
      const second = make(c, resumed)
      await second.setLearningRate(123)
      await second.loadState(state)
      expect(second.learningRates).toEqual(optimizer.learningRates)
      expect(await train(second, resumed, 10, steps)).toEqual(rest)
      for (const [name, p] of resumed)
        expect(p.data()).toEqual(straight.get(name)?.data())
      expect(first.length + rest.length).toBe(steps)
      file.dispose()
      rmSync(join(path, '..'), { recursive: true })
    },
  )

  test('is a copy: a later step does not change it', async () => {
    const p = parameter(ones([1]))
    const optimizer = new Adam([p])
    await p.setGrad(ones([1]))
    await optimizer.step()
    const state = await optimizer.state()
    const held = state.parameters[0]?.tensors.exp_avg as Tensor
    const before = held.data()
    await optimizer.step()
    expect(held.data()).toEqual(before)
    await optimizer.loadState(state)
    await optimizer.step()
    expect(held.data()).toEqual(before)
    optimizer.dispose()
  })

  test('is null before the first step', async () => {
    const optimizer = new Adam([parameter(ones([1])), parameter(ones([2]))])
    expect((await optimizer.state()).parameters).toEqual([null, null])
    await optimizer.loadState(await optimizer.state())
    optimizer.dispose()
  })

  test('of another optimizer is refused, and nothing changes', async () => {
    const p = parameter(ones([2]))
    await p.setGrad(ones([2]))
    const optimizer = new Adam([p], { lr: 0.5 })
    await optimizer.step()
    const state = await optimizer.state()
    const sgd = new SGD([p])
    await expect(sgd.loadState(state)).rejects.toThrow(
      new RangeError('Expected the state of sgd but received that of adam'),
    )
    const bare = { ...state, parameters: [{ step: 1, tensors: {} }] }
    await expect(optimizer.loadState(bare)).rejects.toThrow(/parameter 0 lacks exp_avg/)
    const two = new Adam([p, parameter(ones([2]))])
    await expect(two.loadState(state)).rejects.toThrow(
      new RangeError('Expected groups of [2] parameters but received [1]'),
    )
    const other = new Adam([parameter(ones([3]))], { lr: 0.25 })
    await expect(other.loadState(state)).rejects.toThrow(RangeError)
    expect(other.learningRates).toEqual([0.25])
    expect((await other.state()).parameters).toEqual([null])
  })
})

describe('an optimizer', () => {
  test('has PyTorch’s defaults', async () => {
    const p = parameter(ones([1]))
    const options = async (optimizer: Adam | AdamW | SGD) =>
      (await optimizer.state()).groups[0]?.options
    const shared = {
      lr: 0.001,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      amsgrad: false,
      momentum: 0,
      dampening: 0,
      nesterov: false,
    }
    expect(await options(new Adam([p]))).toEqual({ ...shared, weightDecay: 0 })
    expect(await options(new AdamW([p]))).toEqual({ ...shared, weightDecay: 0.01 })
    expect(await options(new SGD([p]))).toEqual({ ...shared, weightDecay: 0 })
  })

  test('leaves a parameter without a gradient as it is', async () => {
    const [a, b] = [parameter(ones([1])), parameter(ones([1]))]
    const optimizer = new SGD([a, b], { lr: 1 })
    await a.setGrad(ones([1]))
    await optimizer.step()
    expect([a.item(), b.item()]).toEqual([0, 1])
    await optimizer.zeroGrad()
    expect(await a.grad()).toBe(null)
  })

  test('sets the learning rate of one group or of all', async () => {
    const groups = [
      { params: [parameter(ones([1]))], lr: 1 },
      { params: [parameter(ones([1]))] },
    ]
    const optimizer = new SGD(groups, { lr: 2 })
    expect(optimizer.learningRates).toEqual([1, 2])
    await optimizer.setLearningRate(5, 1)
    expect(optimizer.learningRates).toEqual([1, 5])
    await optimizer.setLearningRate(0)
    expect(optimizer.learningRates).toEqual([0, 0])
    await expect(optimizer.setLearningRate(-1)).rejects.toThrow(RangeError)
    await expect(optimizer.setLearningRate(Number.NaN)).rejects.toThrow(RangeError)
    await expect(optimizer.setLearningRate('1' as never)).rejects.toThrow(TypeError)
    await expect(optimizer.setLearningRate(1, 2)).rejects.toThrow(
      new RangeError('Expected group in 0..1 but received 2'),
    )
  })

  test('refuses parameters that are none', () => {
    const p = parameter(ones([1]))
    expect(() => new Adam([])).toThrow(RangeError)
    expect(() => new Adam(p as never)).toThrow(TypeError)
    expect(() => new Adam([1] as never)).toThrow(TypeError)
    expect(() => new Adam([p, 1] as never)).toThrow(TypeError)
    expect(() => new Adam([{ params: p }] as never)).toThrow(TypeError)
    expect(() => new Adam([p, p])).toThrow('params[1] is there twice')
    expect(() => new Adam([{ params: [p] }, { params: [p] }])).toThrow(RangeError)
    expect(() => new Adam([p.mul(2)])).toThrow('only leaves can be optimized')
    expect(() => new Adam([ones([1])])).toThrow(RangeError)
    const gone = parameter(ones([1]))
    gone.dispose()
    expect(() => new Adam([gone])).toThrow(
      expect.objectContaining({ code: 'ERR_DISPOSED' }),
    )
  })

  test('refuses options out of range', () => {
    const p = parameter(ones([1]))
    for (const options of [
      { lr: -1 },
      { lr: Number.NaN },
      { lr: Infinity },
      { weightDecay: -0.1 },
      { betas: [1, 0.9] as const },
      { betas: [0.9, -0.1] as const },
      { eps: -1 },
    ]) {
      expect(() => new Adam([p], options)).toThrow(RangeError)
    }
    expect(() => new SGD([p], { momentum: -1 })).toThrow(RangeError)
    expect(() => new SGD([p], { nesterov: true })).toThrow(RangeError)
    expect(() => new Adam([p], { lr: '1' as never })).toThrow(TypeError)
    expect(() => new Adam([p], { betas: 0.9 as never })).toThrow(TypeError)
    expect(() => new Adam([p], { amsgrad: 1 as never })).toThrow(TypeError)
  })

  test('refuses a state that lacks what its options need', async () => {
    const p = parameter(ones([1]))
    await p.setGrad(ones([1]))
    const plain = new Adam([p])
    await plain.step()
    const state = await plain.state()
    const first = state.groups[0] as (typeof state.groups)[0]
    const group = { ...first, options: { ...first.options, amsgrad: true } }
    await expect(plain.loadState({ ...state, groups: [group] })).rejects.toThrow(
      /parameter 0 lacks max_exp_avg_sq/,
    )
    await plain.loadState(state)
    plain.dispose()
  })

  test('keeps its parameters alive when their tensors are disposed of', async () => {
    const p = parameter(ones([1]))
    const optimizer = new SGD([p], { lr: 1 })
    await p.setGrad(ones([1]))
    p.dispose()
    await optimizer.step()
    await optimizer.zeroGrad()
    optimizer.dispose()
    await expect(optimizer.step()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  })

  test('owns no tensor handles', async () => {
    const p = parameter(ones([100]))
    await p.setGrad(ones([100]))
    const { tensors: before } = await settledMemory()
    const optimizer = new Adam([p])
    await optimizer.step()
    expect(memory().tensors).toBeLessThanOrEqual(before)
    optimizer.dispose()
  })
})
