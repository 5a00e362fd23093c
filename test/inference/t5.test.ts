// Golden values: test/fixtures/make_t5.py (PyTorch 2.13, transformers 5.18, float64): each row alone.

import { describe, expect, test } from 'vitest'
import type { EncoderDecoderBackbone, Tokenizer } from '../../lib/backbone/index.js'
import { encodeLabels, textLimit } from '../../lib/inference/encode.js'
import {
  generate,
  labelLogProbabilities,
  labelScores,
  preparePrompt,
  score,
} from '../../lib/inference/index.js'
import { type Placement, Prompt } from '../../lib/prompt/index.js'
import { createTask, type LabelTokens } from '../../lib/task/index.js'
import { noGrad, type Tensor, tidy } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { goldenT5, loadT5, T5_CHECKPOINTS } from '../backbone/golden-t5.js'
import { distance, relativeError } from './golden-prompts.js'

type Method = 'full' | 'lopt-1'
const FACTORS = { full: ['X'], 'lopt-1': ['U', 'V'] }
const CASES = (['full', 'lopt-1'] as const).flatMap((method) =>
  (['prefix', 'suffix'] as const).map((placement) => ({ method, placement })),
)

function promptOf(
  { value }: ReturnType<typeof goldenT5>,
  { method, placement }: { method: Method; placement: Placement },
  backbone: EncoderDecoderBackbone,
): Prompt {
  const factors = FACTORS[method].map((name) => [
    name,
    value(`${method}.${name}`).clone(),
  ])
  const { hiddenSize } = backbone.config
  const config = { method, placement, hiddenSize, backbone: backbone.fingerprint }
  return new Prompt(
    {
      ...config,
      length: 4,
      rank: method === 'full' ? 0 : 2,
      activation: 'relu',
      activationThreshold: 0.1,
    },
    Object.fromEntries(factors) as Record<string, Tensor>,
  )
}

describe.each(T5_CHECKPOINTS)('with %s', (name) => {
  const golden = goldenT5(name)
  const rows = golden.textIds.map((text, i) => ({
    text,
    label: golden.labelIds[i] as number[],
  }))

  test.each(CASES)(
    'losses and gradients of $method as a $placement are those of PyTorch',
    async (of) => {
      const backbone = await loadT5(name, { dtype: 'float64' })
      await tidy(async () => {
        const prompt = promptOf(golden, of, backbone)
        const prepared = await preparePrompt(backbone, prompt)
        const each = await labelLogProbabilities(backbone, prepared, rows) // all in one batch
        const key = `${of.method}.${of.placement}`
        const expected = golden.value(`${key}.losses`)
        let at = 0
        for (const [i, { label }] of rows.entries()) {
          const own = each
            .slice(0, at, at + label.length)
            .sum()
            .neg()
          expect(relativeError(own, expected.select(0, i))).toBeLessThan(1e-10)
          at += label.length
        }
        await each.sum().div(-rows.length).backward()
        for (const factor of FACTORS[of.method]) {
          const gradient = (await prompt.parameters[factor]?.grad()) as Tensor
          const wanted = golden.value(`${key}.grad.${factor}`)
          expect(relativeError(gradient, wanted), factor).toBeLessThan(1e-9)
        }
        for (const parameter of backbone.parameters().values()) {
          expect(await parameter.grad()).toBeNull()
        }
      })
      backbone.dispose()
    },
  )

  test('30 steps of Adam have the losses of PyTorch', async () => {
    const backbone = await loadT5(name, { dtype: 'float64' })
    const prompt = promptOf(golden, { method: 'lopt-1', placement: 'prefix' }, backbone)
    const task = createTask({
      train: golden.texts.map((text, i) => ({ text, label: golden.labels[i] as string })),
      devFraction: 0,
    })
    const losses: number[] = []
    for await (const event of train({
      backbone,
      prompt,
      task,
      steps: 30,
      batchSize: 3,
      shuffle: false,
      learningRate: golden.learningRate,
      clip: 0,
    })) {
      if (event.type === 'step') losses.push(event.loss)
    }
    const expected = golden.value('trace').toArray() as number[]
    const worst = Math.max(
      ...losses.map((loss, i) => Math.abs(loss / (expected[i] as number) - 1)),
    )
    expect(losses.length).toBe(30)
    expect(worst).toBeLessThan(1e-8)
    prompt.dispose()
    backbone.dispose()
  })

  test('generation gives the tokens of transformers: greedy, penalised, beams', async () => {
    const backbone = await loadT5(name, { dtype: 'float64' })
    const prompt = promptOf(golden, { method: 'lopt-1', placement: 'prefix' }, backbone)
    for (const { inputIds, options, newIds, stopped } of golden.generated) {
      for (const cache of [true, false]) {
        const done = await last(
          generate({
            backbone: withIds(backbone, inputIds),
            prompt,
            text: 'x',
            maxNewTokens: 20,
            minNewTokens: options.min_new_tokens ?? 0,
            numBeams: options.num_beams ?? 1,
            lengthPenalty: options.length_penalty ?? 1,
            repetitionPenalty: options.repetition_penalty ?? 1,
            cache,
          }),
        )
        expect(done.tokens, JSON.stringify(options)).toEqual(newIds)
        expect(done.finishReason).toBe(stopped ? 'stop' : 'length')
      }
    }
    prompt.dispose()
    backbone.dispose()
  })
})

async function last(events: ReturnType<typeof generate>) {
  for await (const event of events) if (event.type === 'done') return event
  throw new Error('generation did not end')
}

/** The backbone with a tokenizer that gives these ids for any text. */
function withIds(
  backbone: EncoderDecoderBackbone,
  ids: number[],
): EncoderDecoderBackbone {
  const tokenizer: Tokenizer = new Proxy(backbone.tokenizer, {
    get: (target, key) => {
      if (key === 'encode') return () => ids
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return new Proxy(backbone, {
    get: (target, key) => {
      if (key === 'tokenizer') return tokenizer
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

describe('labels at a decoder', () => {
  test('start without a space and end with the end token', async () => {
    const backbone = await loadT5('t5-plain')
    const labels = { good: 'good', bad: 'it was bad' }
    const found = encodeLabels(backbone, {
      template: '{text}',
      labels: Object.keys(labels),
      verbalizer: labels,
    })
    const ids = (text: string) => backbone.tokenizer.encode(text)
    expect(found.ids).toEqual([
      [...ids('good'), 1],
      [...ids('it was bad'), 1],
    ])
    expect(textLimit(backbone, null, found, {})).toBe(512)
    expect(textLimit(backbone, null, found, { maxLength: 2000 })).toBe(2000)
    expect(textLimit(backbone, null, found, { trained: 800 })).toBe(800)
    backbone.dispose()
  })

  test('score the same together as one by one, text by text', async () => {
    const golden = goldenT5('t5-gated')
    const backbone = await loadT5('t5-gated', { dtype: 'float64' })
    await noGrad(() =>
      tidy(async () => {
        const place = { method: 'lopt-1', placement: 'suffix' } as const
        const prepared = await preparePrompt(backbone, promptOf(golden, place, backbone))
        const labels: LabelTokens = {
          labels: golden.labels,
          words: golden.labels,
          ids: golden.labelIds,
          singleToken: false,
        }
        const scores = await labelScores(backbone, prepared, golden.textIds, labels)
        expect(scores.shape).toEqual([3, 3])
        for (const [i, text] of golden.textIds.entries()) {
          for (const [j, label] of golden.labelIds.entries()) {
            const row = { text, label }
            const each = await labelLogProbabilities(backbone, prepared, [row])
            const own = scores.select(0, i).select(0, j)
            expect(distance(own, each.sum())).toBeLessThan(1e-10)
          }
        }
      }),
    )
    backbone.dispose()
  })

  test('are scored by the public function, with every text in one order', async () => {
    const backbone = await loadT5('t5-plain')
    const task = {
      template: '{text}',
      labels: ['good', 'bad'],
      verbalizer: { good: 'good', bad: 'bad' },
    }
    const texts = [
      'It was good.',
      'A much longer text than the one before it, they say',
      'a',
    ]
    const together = await score({ backbone, prompt: null, task, texts })
    for (const [i, text] of texts.entries()) {
      const [alone] = await score({ backbone, prompt: null, task, texts: [text] })
      for (const label of task.labels) {
        const difference = (together[i]?.scores[label] ?? 0) - (alone?.scores[label] ?? 0)
        expect(Math.abs(difference)).toBeLessThan(1e-5)
      }
    }
    backbone.dispose()
  })
})
