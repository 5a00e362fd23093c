// Gradients of each method against central differences in float64.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  type ActivationName,
  createPrompt,
  METHOD_NAMES,
  type MethodName,
  type Prompt,
} from '../../lib/prompt/index.js'
import {
  Generator,
  noGrad,
  randn,
  type Tensor,
  tensor,
  tidy,
} from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
})
afterAll(() => backbone.dispose())

const STEP = 1e-6

/** A smooth function of all that the prompt contributes, which weighs every element otherwise. */
function objective(prompt: Prompt): Tensor {
  const { inputs, embeddingDelta, past = [] } = prompt.contribution()
  const given = [inputs, embeddingDelta, ...past].filter((X) => X !== undefined)
  const terms = given.map((X, seed) => {
    const generator = new Generator({ seed: seed + 3 })
    const weights = randn(X.shape, { generator, dtype: 'float64' })
    return X.mul(weights).sum().add(X.square().sum())
  })
  return terms.reduce((sum, term) => sum.add(term))
}

async function centralDifference(
  prompt: Prompt,
  parameter: Tensor,
  at: number,
): Promise<number> {
  const direction = tensor(
    Array.from({ length: parameter.numel }, (_, i) => (i === at ? STEP : 0)),
    { dtype: 'float64' },
  ).reshape([...parameter.shape])
  return await noGrad(async () => {
    await parameter.add_(direction)
    const above = objective(prompt).item()
    await parameter.add_(direction.mul(-2))
    const below = objective(prompt).item()
    await parameter.add_(direction)
    return (above - below) / (2 * STEP)
  })
}

describe('the gradient is the slope of', () => {
  test.each([
    ['lopt-1', 'relu'],
    ['lopt-2', 'relu'],
    ['lopt-2', 'soft-threshold'],
    ['lopt-2', 'tanh'],
    ['lopt-2', 'gelu'],
    ['lopt-2', 'identity'],
    ...METHOD_NAMES.filter((name) => name !== 'lopt-2').map((name) => [name, 'relu']),
  ] as [MethodName, ActivationName][])('%s with σ %s', async (method, activation) => {
    await tidy(async () => {
      const prompt = createPrompt(backbone, {
        method,
        activation,
        length: 4,
        rank: 3,
        init: 'random',
        activationThreshold: 0.01,
      })
      // DePT's B starts at zero, where A has no slope.
      if (method === 'dept') await prompt.parameters.B?.add_(0.1)
      await objective(prompt).backward()
      for (const [name, parameter] of Object.entries(prompt.parameters)) {
        const gradient = ((await parameter.grad()) as Tensor).reshape([-1])
        const slopes = gradient.toArray() as number[]
        const scale = Math.max(...slopes.map(Math.abs))
        expect(scale, name).toBeGreaterThan(0)
        for (let at = 0; at < parameter.numel; at += 7) {
          const expected = await centralDifference(prompt, parameter, at)
          const error = Math.abs((slopes[at] as number) - expected) / scale
          expect(error, `${name}[${at}]`).toBeLessThan(1e-6)
        }
      }
      prompt.dispose()
    })
  })

  test('LoPT-2 by X0 is never taken', async () => {
    await tidy(async () => {
      const prompt = createPrompt(backbone, { method: 'lopt-2' })
      await objective(prompt).backward()
      expect(await prompt.buffers.X0?.grad()).toBeNull()
      prompt.dispose()
    })
  })
})
