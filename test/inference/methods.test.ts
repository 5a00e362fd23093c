// Every method's prompt through scoring and generation: with and without what a frozen model allows to
// share, with and without a cache, and against what it must equal.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Backbone,
  type CausalBackbone,
  loadBackbone,
} from '../../lib/backbone/index.js'
import { type GenerateOptions, generate, score } from '../../lib/inference/index.js'
import { createPrompt, METHOD_NAMES, Prompt } from '../../lib/prompt/index.js'
import {
  arange,
  Generator,
  memory,
  noGrad,
  randn,
  setNumThreads,
  stack,
  type Tensor,
  tidy,
} from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

const names = ['gpt2-plain', 't5-gated']
const backbones: Record<string, Backbone> = {}
beforeAll(async () => {
  await setNumThreads(1)
  for (const name of names) {
    backbones[name] = await loadBackbone(fixture(name), { dtype: 'float64' })
  }
})
afterAll(() => {
  for (const backbone of Object.values(backbones)) backbone.dispose()
})

const texts = ['It was', 'The film was good.', 'Every animal eats a plant']
const task = {
  template: '{text}',
  labels: ['good', 'bad'],
  verbalizer: { good: 'good', bad: 'maybe it was bad' },
}

/** Far enough from its start that it matters. */
async function moved(backbone: Backbone, method: (typeof METHOD_NAMES)[number]) {
  const prompt = createPrompt(backbone, {
    method,
    length: 4,
    rank: 2,
    init: 'random',
    ...(method === 'dept' && { textTokens: 3 }),
  })
  const { B } = prompt.parameters
  if (B !== undefined && method === 'dept') {
    // It starts at zero. (One number for a whole row would be lost to the layer norm.)
    const generator = new Generator({ seed: 5 })
    await tidy(() => B.copy_(randn(B.shape, { generator, dtype: 'float64' })))
  }
  return prompt
}

async function tokens(options: GenerateOptions): Promise<readonly number[]> {
  for await (const event of generate(options)) {
    if (event.type === 'done') return event.tokens
  }
  throw new Error('generate ended without its last event')
}

describe.each(names)('on %s', (name) => {
  test.each(METHOD_NAMES)('%s scores the same whatever is shared', async (method) => {
    const backbone = backbones[name] as Backbone
    const prompt = await moved(backbone, method)
    const scored = async (fastPaths: boolean, batchSize: number) => {
      const all = await score({ backbone, prompt, task, texts, fastPaths, batchSize })
      return all.flatMap(({ scores }) => Object.values(scores))
    }
    const [plain, shared, without] = [
      await scored(false, 1),
      await scored(true, 3),
      (await score({ backbone, prompt: null, task, texts })).flatMap(({ scores }) =>
        Object.values(scores),
      ),
    ]
    shared.forEach((value, i) => {
      expect(value).toBeCloseTo(plain[i] as number, 10)
      expect(Math.abs(value - (without[i] as number))).toBeGreaterThan(1e-3)
    })
    prompt.dispose()
  })

  test.each(METHOD_NAMES)(
    '%s generates the same with a cache as without',
    async (method) => {
      const backbone = backbones[name] as Backbone
      const prompt = await moved(backbone, method)
      const ways = [
        {},
        { temperature: 0.7, seed: 3 },
        { numBeams: 3 },
        { numBeams: 2, minNewTokens: 4 },
      ]
      for (const way of ways) {
        const given = {
          backbone,
          prompt,
          text: texts[1] as string,
          maxNewTokens: 6,
          ...way,
        }
        const cached = await tokens(given)
        expect(await tokens({ ...given, cache: false })).toEqual(cached)
      }
      prompt.dispose()
    },
  )
})

describe.each(names)('tensors stay flat on %s', (name) => {
  test.each(METHOD_NAMES)('with %s', async (method) => {
    const backbone = backbones[name] as Backbone
    const prompt = await moved(backbone, method)
    const { tensors: before } = await settledMemory()
    for (const numBeams of [1, 2]) {
      await tokens({ backbone, prompt, text: 'It was', maxNewTokens: 3, numBeams })
    }
    await score({ backbone, prompt, task, texts })
    expect(memory().tensors).toBe(before)
    prompt.dispose()
  })
})

describe('dept', () => {
  test('shifts the first S tokens of a text and no others', async () => {
    const backbone = backbones['gpt2-plain'] as Backbone
    const prompt = await moved(backbone, 'dept')
    const scored = async (text: string) => {
      const [row] = await score({ backbone, prompt, task, texts: [text] })
      return row?.scores.good as number
    }
    const long = 'The film was good and the cat sat'
    const before = [await scored('It'), await scored(long)]
    // A's last row moves the third token: a text of fewer has none.
    const last = prompt.parameters.A as Tensor
    await tidy(async () => {
      const mask = arange(0, 3, { dtype: 'float64' }).ge(2).to('float64').unsqueeze(1)
      await last.add_(mask.expand([...last.shape]).contiguous())
    })
    const after = [await scored('It'), await scored(long)]
    expect(after[0]).toBe(before[0])
    expect(after[1]).not.toBe(before[1])
    prompt.dispose()
  })
})

describe('prefix', () => {
  test('of the keys and values of vectors is those vectors as a prefix', async () => {
    await noGrad(() =>
      tidy(async () => {
        const backbone = backbones['gpt2-plain'] as CausalBackbone
        const vectors = createPrompt(backbone, { method: 'full', length: 4 })
        const { present } = await backbone.run({
          x: vectors.inputs().unsqueeze(0),
          positions: arange(0, 4).unsqueeze(0),
        })
        // [1, heads, P, D] each, k and v in turn -> [L, P, heads * D]
        const joined = (from: number) =>
          stack(
            present
              .filter((_, i) => i % 2 === from)
              .map((one) => one.squeeze(0).transpose(0, 1).reshape([4, -1])),
          )
        const { config } = createPrompt(backbone, { method: 'prefix', length: 4 })
        const prefix = new Prompt(config, { K: joined(0), V: joined(1) })
        const one = await score({ backbone, prompt: vectors, task, texts })
        const other = await score({ backbone, prompt: prefix, task, texts })
        one.forEach(({ scores }, i) => {
          expect(other[i]?.scores.good).toBeCloseTo(scores.good as number, 10)
          expect(other[i]?.scores.bad).toBeCloseTo(scores.bad as number, 10)
        })
        const given = { backbone, text: 'The film', maxNewTokens: 8 }
        expect(await tokens({ ...given, prompt: prefix })).toEqual(
          await tokens({ ...given, prompt: vectors }),
        )
      }),
    )
  })
})
