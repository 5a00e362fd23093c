// Golden values: test/fixtures/make_lopt.py (PyTorch 2.13, transformers 5.18, float64).

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  candidateLogits,
  candidateScores,
  createPromptSet,
  labelLogProbabilities,
} from '../../lib/inference/index.js'
import type { Prompt } from '../../lib/prompt/index.js'
import type { LabelTokens } from '../../lib/task/index.js'
import {
  crossEntropy,
  noGrad,
  stack,
  type Tensor,
  tensor,
  tidy,
} from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { distance, golden, goldenPrompt, relativeError, value } from './golden-prompts.js'

let backbone: Backbone
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
})
afterAll(() => backbone.dispose())

const texts = golden.rows.map(({ textIds }) => textIds)
const rows = golden.rows.map(({ textIds, labelIds }) => ({
  text: textIds,
  labels: [labelIds],
  prompt: 0,
}))
const int64 = (values: number[]) => tensor(values, { dtype: 'int64' })
const targets = golden.rows.map(({ verbalizerTarget }) => verbalizerTarget)

function labelsOf(names: string[], ids: number[][]): LabelTokens {
  const singleToken = ids.every((one) => one.length === 1)
  return { labels: names, words: names, ids, singleToken }
}

const { verbalizer, candidates } = golden
const words = labelsOf(
  verbalizer.words,
  verbalizer.ids.map((id) => [id]),
)
const choices = labelsOf(candidates.labels, candidates.ids)

const asked = texts.map((text) => ({ text, prompt: 0 }))
const answered = ({ ids }: LabelTokens) =>
  asked.map((row) => ({ ...row, candidates: ids }))

/** Each row's loss, [4], all rows in one padded batch. */
async function rowLosses(
  prompt: Prompt,
  objective: 'lm' | 'verbalizer',
  fastPaths: boolean,
): Promise<Tensor> {
  const prepared = createPromptSet(backbone, [prompt], { fastPaths })
  if (objective === 'verbalizer') {
    const logits = await candidateLogits(
      backbone,
      prepared.layouts,
      asked,
      words.ids,
    )(prepared)
    return crossEntropy(logits, int64(targets), { reduction: 'none' })
  }
  const each = await labelLogProbabilities(backbone, prepared.layouts, rows)(prepared) // [M]
  const owner = rows.flatMap(({ labels }, row) => labels.flat().map(() => row))
  const own = rows.map((_, row) => [...owner.keys()].filter((i) => owner[i] === row))
  return stack(own.map((indices) => each.indexSelect(0, int64(indices)).sum().neg()))
}

describe.each([{ fastPaths: true }, { fastPaths: false }])(
  'in one padded batch, as each row alone in PyTorch, $fastPaths',
  ({ fastPaths }) => {
    test.each(golden.cases)(
      'the losses and gradients of $key',
      async ({ key, method, placement, objective, trainable }) => {
        await tidy(async () => {
          const prompt = goldenPrompt(method, placement, backbone)
          const losses = await rowLosses(prompt, objective, fastPaths)
          expect(relativeError(losses, value(`${key}.rowLosses`))).toBeLessThan(1e-10)
          await losses.mean().backward()
          for (const name of trainable) {
            const gradient = (await prompt.parameters[name]?.grad()) as Tensor
            const error = relativeError(gradient, value(`${key}.grad.${name}`))
            expect(error, name).toBeLessThan(1e-9)
          }
          for (const parameter of backbone.parameters().values()) {
            expect(await parameter.grad()).toBeNull()
          }
          prompt.dispose()
        })
      },
    )
  },
)

describe('scores', () => {
  test.each(golden.scores)(
    'of labels of several tokens: $key',
    async ({ key, method, placement, predictions }) => {
      await tidy(async () => {
        const prompt = goldenPrompt(method, placement, backbone)
        const scores = await noGrad(async () => {
          const prepared = createPromptSet(backbone, [prompt])
          return await candidateScores(
            backbone,
            prepared.layouts,
            answered(choices),
          )(prepared)
        })
        expect(distance(scores, value(key))).toBeLessThan(1e-9)
        const best = scores.argmax(1).toArray() as number[]
        expect(best.map((i) => candidates.labels[i])).toEqual(predictions)
        prompt.dispose()
      })
    },
  )

  test('of labels of one token are over the whole vocabulary too', async () => {
    await tidy(async () => {
      const prompt = goldenPrompt('lopt-1', 'prefix', backbone)
      const prepared = createPromptSet(backbone, [prompt])
      const single = labelsOf(
        [' good', ' maybe'],
        [[candidates.ids[0]?.[0] as number], [candidates.ids[3]?.[0] as number]],
      )
      const scores = await candidateScores(
        backbone,
        prepared.layouts,
        answered(single),
      )(prepared)
      const expected = value('lopt-1.prefix.scores').indexSelect(1, int64([0, 3]))
      expect(distance(scores, expected)).toBeLessThan(1e-9)
      prompt.dispose()
    })
  })
})
