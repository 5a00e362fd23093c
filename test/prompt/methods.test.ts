// Parameter counts of every method at two models' shapes, worked out by hand from the papers' formulas;
// how each starts; what is refused.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, createBackbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  type CreatePromptOptions,
  createPrompt,
  loadPrompt,
  METHOD_NAMES,
  type Prompt,
  savePrompt,
} from '../../lib/prompt/index.js'
import { METHODS } from '../../lib/prompt/methods/index.js'
import type { MethodName, PromptSizes } from '../../lib/prompt/methods/method.js'
import { type Tensor, tidy } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { temporaryFolder } from '../backbone/temporary.js'

function count(method: MethodName, sizes: Partial<PromptSizes>): number {
  const none = { P: 0, H: 0, R: 0, M: 0, S: 0, L: 0, heads: 0, D: 0 }
  const shapes = Object.values(METHODS[method].trainable({ ...none, ...sizes }))
  return shapes
    .map((shape) => shape.reduce((product, size) => product * size, 1))
    .reduce((sum, size) => sum + size, 0)
}

const t5Base = { H: 768, P: 100, L: 12, heads: 12, D: 64 }
const gpt2Large = { H: 1280, P: 20, L: 36, heads: 20, D: 64 }

describe('trainable parameters', () => {
  test.each([
    ['full', {}, 76_800],
    ['lopt-1', { R: 2 }, 1_736],
    ['lopt-1', { R: 4 }, 3_472],
    ['lopt-1', { R: 5 }, 4_340],
    ['lopt-1', { R: 10 }, 8_680],
    ['lopt-2', { R: 2 }, 3_072],
    ['lopt-2', { R: 10 }, 15_360],
    ['dpt', { R: 10 }, 8_680],
    ['dept', { P: 40, R: 45, S: 256 }, 76_800],
    ['dept', { P: 60, R: 30, S: 256 }, 76_800],
    ['dept', { P: 80, R: 15, S: 256 }, 76_800],
    ['ulpt', { R: 2 }, 1_736],
    ['ulpt', { R: 64 }, 7_936],
    ['residual', { M: 400 }, 693_904],
    ['p-tuning', {}, 1_848_576],
    ['prefix', {}, 1_843_200],
  ] as const)('%s at T5-base with P = 100, %o: %i', (method, sizes, expected) => {
    expect(count(method, { ...t5Base, ...sizes })).toBe(expected)
  })

  test.each([
    ['full', {}, 25_600],
    ['lopt-1', { R: 2 }, 2_600],
    ['lopt-1', { R: 4 }, 5_200],
    ['lopt-1', { R: 10 }, 13_000],
    ['lopt-2', { R: 2 }, 5_120],
    ['lopt-2', { R: 10 }, 25_600],
    ['dpt', { R: 10 }, 13_000],
    // P H + R (S + H)
    ['dept', { R: 10, S: 256 }, 25_600 + 10 * (256 + 1280)],
    ['ulpt', { R: 2 }, 2_600],
    ['ulpt', { R: 64 }, 3_840],
    // P H + (H M + M) + (M H + H) + 2 H
    ['residual', { M: 400 }, 25_600 + 512_400 + 513_280 + 2_560],
    ['p-tuning', {}, 4_944_640],
    ['prefix', {}, 1_843_200],
  ] as const)('%s at GPT-2 large with P = 20, %o: %i', (method, sizes, expected) => {
    expect(count(method, { ...gpt2Large, ...sizes })).toBe(expected)
  })

  test('are counted at both shapes for every method', () => {
    // The tables above name each of them.
    const counted = [
      'full',
      'lopt-1',
      'lopt-2',
      'dpt',
      'dept',
      'ulpt',
      'residual',
      'p-tuning',
      'prefix',
    ]
    expect([...METHOD_NAMES].sort()).toEqual(counted.sort())
  })
})

const backbones: Record<string, Backbone> = {}
beforeAll(async () => {
  for (const name of ['gpt2-plain', 't5-gated']) {
    backbones[name] = await loadBackbone(fixture(name))
  }
})
afterAll(() => {
  for (const backbone of Object.values(backbones)) backbone.dispose()
})

function gpt2(): Backbone {
  return backbones['gpt2-plain'] as Backbone
}

/** A prompt [4, H] with every option that its method has. */
function small(
  method: MethodName,
  options: CreatePromptOptions = {},
  backbone = gpt2(),
): Prompt {
  return createPrompt(backbone, { method, length: 4, rank: 2, ...options })
}

function bytes(prompt: Prompt): Record<string, string> {
  const all = Object.entries({ ...prompt.parameters, ...prompt.buffers })
  return Object.fromEntries(
    all.map(([name, t]) => [
      name,
      Buffer.from((t.data() as Float32Array).buffer).toString('hex'),
    ]),
  )
}

function distance(a: Tensor, b: Tensor): number {
  return tidy(() => a.detach().sub(b.detach()).abs().amax().item())
}

describe.each(['gpt2-plain', 't5-gated'])('a prompt file on %s', (name) => {
  test.each(METHOD_NAMES)('gives %s back to the bit', async (method) => {
    const backbone = backbones[name] as Backbone
    const folder = temporaryFolder()
    const path = `${folder}/prompt.lopt.safetensors`
    const own = {
      ...(method === 'dept' && { textTokens: 7, alpha: 2.5 }),
      ...(method === 'residual' && { bottleneck: 3 }),
    }
    const saved = small(method, { ...own, init: 'random' }, backbone)
    await savePrompt(path, saved)
    const loaded = loadPrompt(path, backbone)
    expect(bytes(loaded)).toEqual(bytes(saved))
    expect(loaded.config).toEqual({ ...loaded.config, ...saved.config })
    expect(loaded.trainableParameters).toBe(saved.trainableParameters)

    // As a start for a prompt of the same method and shapes it is taken as it is.
    const again = small(method, { ...own, init: path, seed: 9 }, backbone)
    expect(bytes(again)).toEqual(bytes(saved))
    for (const prompt of [saved, loaded, again]) prompt.dispose()
  })
})

describe('a given X', () => {
  // Their X is the sampled tokens' embeddings themselves.
  test.each(['full', 'residual', 'dept'] as const)('is where %s starts', (method) => {
    tidy(() => {
      const wanted = small('full')
      const prompt = small(method)
      expect(distance(prompt.inputs(), wanted.inputs())).toBe(0)
    })
  })

  test('is where ulpt starts once its projection spans H', () => {
    tidy(() => {
      const prompt = small('ulpt', { rank: 32 })
      expect(distance(prompt.inputs(), small('full').inputs())).toBeLessThan(1e-5)
    })
  })

  test('is fitted by least squares by ulpt of a lower rank', () => {
    tidy(() => {
      const X = small('full').inputs()
      const far = X.sub(X.mean(0)).norm().item() // what the shift alone leaves
      const near = small('ulpt', { rank: 16 }).inputs().sub(X).norm().item()
      expect(near).toBeLessThan(far)
    })
  })

  test('is what the network of p-tuning reads', () => {
    tidy(() => {
      const { E } = small('p-tuning').parameters
      expect(distance(E as Tensor, small('full').inputs())).toBe(0)
    })
  })

  test('shifts no text of dept yet', () => {
    tidy(() => {
      const { embeddingDelta } = small('dept').contribution()
      expect(embeddingDelta?.abs().amax().item()).toBe(0)
    })
  })

  test('is nothing that prefix could start from', () => {
    expect(() => small('prefix', { init: 'vocab' })).toThrow(
      'Expected init to be random, or a file of a prefix prompt of these shapes, but received vocab',
    )
  })
})

describe('a random start', () => {
  test.each(['ulpt', 'p-tuning'] as const)(
    'of %s has the scale of the embeddings',
    (method) => {
      tidy(() => {
        const wanted = gpt2().tokenEmbedding.detach().std().item()
        const found = small(method, { init: 'random' }).inputs().std().item()
        expect(found / wanted).toBeCloseTo(1, 1)
      })
    },
  )

  test('of dpt draws both factors from -0.5..0.5, with R = 10', () => {
    tidy(() => {
      const prompt = createPrompt(gpt2(), { method: 'dpt' })
      expect(prompt.config.rank).toBe(10)
      for (const factor of Object.values(prompt.parameters)) {
        expect(factor.abs().amax().item()).toBeLessThanOrEqual(0.5)
        expect(factor.detach().std().item()).toBeCloseTo(1 / Math.sqrt(12), 1)
      }
    })
  })
})

describe('is refused:', () => {
  test.each([
    ['full', { alpha: 2 }, 'alpha has no meaning with the method full'],
    ['lopt-1', { bottleneck: 2 }, 'bottleneck has no meaning with the method lopt-1'],
    ['prefix', { textTokens: 2 }, 'textTokens has no meaning with the method prefix'],
    ['dept', { alpha: 0 }, 'Expected alpha to be above 0 but received 0'],
    ['dept', { textTokens: 60 }, 'Expected textTokens in 1..59 but received 60'],
    ['dept', { textTokens: 5, rank: 6 }, 'Expected rank in 1..5 but received 6'],
    ['residual', { bottleneck: 0 }, 'Expected bottleneck in 1..65536 but received 0'],
    ['ulpt', { rank: 33 }, 'Expected rank in 1..32 but received 33'],
  ] as const)('%s with %o', (method, options, message) => {
    expect(() => small(method, options)).toThrow(message)
  })

  test('prefix behind the text', () => {
    expect(() => small('prefix', { placement: 'suffix' })).toThrow(
      'The method prefix has no placement suffix: keys and values stand before every token',
    )
  })

  test('the vectors of a prefix', () => {
    tidy(() => {
      expect(() => small('prefix').inputs()).toThrow(
        'A prompt of the method prefix has no vectors among the tokens',
      )
    })
  })

  test('another method from what is more than vectors', async () => {
    const folder = temporaryFolder()
    for (const method of ['dept', 'prefix'] as const) {
      const path = `${folder}/${method}.lopt.safetensors`
      await savePrompt(path, small(method))
      expect(() => small('full', { init: path })).toThrow(
        `${path} holds a prompt of the method ${method}, which is more than vectors`,
      )
    }
  })

  test('a prefix for layers of another shape', async () => {
    const folder = temporaryFolder()
    const path = `${folder}/prefix.lopt.safetensors`
    const sizes = { layers: 2, heads: 2, hiddenSize: 32, positions: 64 }
    const { tokenizer } = gpt2()
    const other = await createBackbone(sizes, { seed: 0, tokenizer })
    const prompt = small('prefix', {}, other)
    await savePrompt(path, prompt)
    expect(() => loadPrompt(path, gpt2(), { allowOtherBackbone: true })).toThrow(
      `${path} has keys and values for 2 layers of 2 heads of 16`,
    )
    other.dispose()
  })
})
