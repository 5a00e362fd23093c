import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  type CreatePromptOptions,
  createPrompt,
  type Prompt,
} from '../../lib/prompt/index.js'
import { memory, type Tensor } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

let backbone: Backbone // H 32, 64 positions, N 512
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'))
})
afterAll(() => backbone.dispose())

function made<R>(options: CreatePromptOptions, use: (prompt: Prompt) => R): R {
  const prompt = createPrompt(backbone, options)
  try {
    return use(prompt)
  } finally {
    prompt.dispose()
  }
}

const bytes = (prompt: Prompt) =>
  Object.values({ ...prompt.parameters, ...prompt.buffers }).map((t) =>
    Buffer.from((t.data() as Float32Array).buffer).toString('hex'),
  )

describe('trainable numbers', () => {
  test('of LoPT-1 are R (P + H)', () => {
    made({ method: 'lopt-1', length: 20, rank: 4 }, (prompt) => {
      expect(prompt.trainableParameters).toBe(4 * (20 + 32))
      expect(prompt.parameters.U?.shape).toEqual([20, 4])
      expect(prompt.parameters.V?.shape).toEqual([4, 32])
      expect(prompt.buffers).toEqual({})
    })
  })

  test('of LoPT-2 are 2 R H; X0 [P, H] is fixed', () => {
    made({ method: 'lopt-2', length: 20, rank: 4 }, (prompt) => {
      expect(prompt.trainableParameters).toBe(2 * 4 * 32)
      expect(prompt.parameters.U?.shape).toEqual([32, 4])
      expect(prompt.parameters.V?.shape).toEqual([4, 32])
      expect(prompt.buffers.X0?.shape).toEqual([20, 32])
      expect(prompt.buffers.X0?.requiresGrad).toBe(false)
    })
  })

  test('of a full prompt are P H', () => {
    made({ method: 'full', length: 20 }, (prompt) => {
      expect(prompt.trainableParameters).toBe(20 * 32)
    })
  })
})

test('a prompt is float32 leaves that require a gradient, float64 for a float64 backbone', async () => {
  made({}, (prompt) => {
    for (const parameter of Object.values(prompt.parameters)) {
      expect([parameter.dtype, parameter.isLeaf, parameter.requiresGrad]).toEqual([
        'float32',
        true,
        true,
      ])
    }
    expect(prompt.inputs().shape).toEqual([20, 32])
  })
  const double = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
  const prompt = createPrompt(double)
  expect(prompt.inputs().dtype).toBe('float64')
  prompt.dispose()
  double.dispose()
})

test.each(['lopt-1', 'lopt-2', 'full'] as const)(
  'the same seed gives the same %s to the bit, another seed another one',
  (method) => {
    for (const init of ['random', 'vocab']) {
      const of = (seed: number) => made({ method, init, seed }, bytes)
      expect(of(5)).toEqual(of(5))
      expect(of(5)).not.toEqual(of(6))
    }
  },
)

test('making and disposing of prompts leaves no tensor behind', async () => {
  made({}, () => 0)
  const { tensors: before } = await settledMemory()
  for (const method of ['lopt-1', 'lopt-2', 'full'] as const) {
    for (const init of ['random', 'vocab', 'text:A dog and a cat']) {
      made({ method, init }, (prompt) => prompt.inputs().dispose())
    }
  }
  expect(memory().tensors).toBeLessThanOrEqual(before)
})

describe('refused:', () => {
  const cases: [string, unknown, string | RegExp][] = [
    ['a rank above P', { rank: 21 }, 'Expected rank in 1..20 but received 21'],
    [
      'a rank above H',
      { length: 40, rank: 33 },
      'Expected rank in 1..32 but received 33',
    ],
    ['rank 0', { rank: 0 }, 'Expected rank in 1..20 but received 0'],
    ['half a rank', { rank: 1.5 }, 'Expected rank in 1..20 but received 1.5'],
    ['no length', { length: 0 }, 'Expected length in 1..62 but received 0'],
    [
      'more length than positions allow',
      { length: 63 },
      'Expected length in 1..62 but received 63',
    ],
    ['a NaN length', { length: Number.NaN }, /length/],
    ['another method', { method: 'lopt-3' }, /method/],
    ['another activation', { method: 'lopt-2', activation: 'swish' }, /activation/],
    ['another placement', { placement: 'middle' }, /placement/],
    ['a misspelt option', { ranks: 3 }, /ranks/],
    ['a negative seed', { seed: -1 }, /Expected seed/],
    [
      'a negative threshold',
      { activationThreshold: -1 },
      'Expected activationThreshold to be 0 or more but received -1',
    ],
    ['labels without words', { init: 'labels' }, /labels/],
    ['a text without words', { init: 'text:' }, /text:/],
  ]
  test.each(cases)('%s', async (_, options, message) => {
    const { tensors: before } = await settledMemory()
    let thrown: unknown
    try {
      createPrompt(backbone, options as CreatePromptOptions)
    } catch (error) {
      thrown = error
    }
    expect(thrown instanceof RangeError || thrown instanceof TypeError).toBe(true)
    expect((thrown as Error).message).toMatch(message)
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })

  test('a rank is not looked at where the method has none', () => {
    made({ method: 'full', rank: 400 }, (prompt) => expect(prompt.config.rank).toBe(0))
  })

  test('after-first-token on a tokenizer that puts no first token', () => {
    expect(() => createPrompt(backbone, { placement: 'after-first-token' })).toThrow(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED',
        message: expect.stringMatching(/first token/),
      }),
    )
  })

  test('a threshold that nothing of a random start passes', () => {
    const options = {
      method: 'lopt-2',
      init: 'random',
      activation: 'soft-threshold',
      activationThreshold: 1e6,
    } as const
    expect(() => createPrompt(backbone, options)).toThrow(/threshold/)
  })

  test('an init file that is not there', () => {
    expect(() => createPrompt(backbone, { init: '/nowhere/p.safetensors' })).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/ERR_/),
        message: expect.stringContaining('/nowhere/p.safetensors'),
      }),
    )
  })
})

test.each(['lopt-1', 'lopt-2', 'full'] as const)(
  'disposing of what inputs() gave leaves the %s prompt as it is',
  (method) => {
    made({ method }, (prompt) => {
      prompt.inputs().dispose()
      expect(prompt.inputs().shape).toEqual([20, 32])
    })
  },
)

test('X is what its equation says', () => {
  made({ method: 'lopt-1', init: 'random' }, (prompt) => {
    const { U, V } = prompt.parameters as { U: Tensor; V: Tensor }
    expect(prompt.inputs().sub(U.matmul(V)).abs().amax().item()).toBe(0)
  })
})
