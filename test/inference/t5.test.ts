// What only encoder-decoder models have; test/parity holds their golden values.

import { describe, expect, test } from 'vitest'
import { loadBackbone } from '../../lib/backbone/index.js'
import { encodeLabels, textLimit } from '../../lib/inference/encode.js'
import {
  candidateScores,
  createPromptSet,
  labelLogProbabilities,
  score,
} from '../../lib/inference/index.js'
import type { LabelTokens } from '../../lib/task/index.js'
import { noGrad, tidy } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { goldenT5, loadT5 } from '../backbone/golden-t5.js'
import { goldenPrompt, promptGolden } from '../parity/golden.js'
import { distance } from './golden-prompts.js'

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
        const prepared = createPromptSet(backbone, [
          goldenPrompt(promptGolden('t5-gated'), place, backbone),
        ])
        const labels: LabelTokens = {
          labels: golden.labels,
          words: golden.labels,
          ids: golden.labelIds,
          singleToken: false,
        }
        const scores = await candidateScores(
          backbone,
          prepared.layouts,
          golden.textIds.map((text) => ({ text, candidates: labels.ids, prompt: 0 })),
        )(prepared)
        expect(scores.shape).toEqual([3, 3])
        for (const [i, text] of golden.textIds.entries()) {
          for (const [j, label] of golden.labelIds.entries()) {
            const row = { text, labels: [label], prompt: 0 }
            const each = await labelLogProbabilities(backbone, prepared.layouts, [row])(
              prepared,
            )
            const own = scores.select(0, i).select(0, j)
            expect(distance(own, each.sum())).toBeLessThan(1e-10)
          }
        }
      }),
    )
    backbone.dispose()
  })

  test.each([
    ['t5-plain', 'float32', true, ['decodeEncoded', 'decodeEncoded', 'decodeEncoded']],
    ['t5-plain', 'float32', false, ['crossKeyValues', 'decode', 'decode', 'decode']],
    ['t5-plain', 'bfloat16', true, ['crossKeyValues', 'decode', 'decode', 'decode']],
    [
      'torchscript/t5-gated.pt',
      'float32',
      true,
      ['crossKeyValues', 'decode', 'decode', 'decode'],
    ],
  ] as const)(
    'of %s in %s, fast paths %s, project what was encoded once or not at all',
    async (name, dtype, fastPaths, expected) => {
      const backbone = await loadBackbone(fixture(name), { dtype })
      if (backbone.kind !== 'encoder-decoder') throw new Error('no T5')
      const calls: string[] = []
      const watched = new Proxy(backbone, {
        get(target, key) {
          const value: unknown = Reflect.get(target, key)
          if (typeof value !== 'function') return value
          return (...given: unknown[]) => {
            if (/cross|decode/.test(String(key))) calls.push(String(key))
            return value.apply(target, given)
          }
        },
      })
      await tidy(async () => {
        const prepared = createPromptSet(watched, [null], { fastPaths })
        const labels = [[5], [6, 7], [8]]
        const row = {
          text: Array.from({ length: 30 }, (_, i) => 3 + i),
          labels,
          prompt: 0,
        }
        await labelLogProbabilities(watched, prepared.layouts, [row])(prepared)
      })
      expect(calls).toEqual(expected)
      backbone.dispose()
    },
  )

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
