// What is scored in pieces has the scores of the whole.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Backbone, CausalBackbone } from '../../lib/backbone/index.js'
import {
  createPromptSet,
  encodeCandidates,
  PartialScores,
  scoreRows,
} from '../../lib/inference/index.js'
import { createPrompt, METHOD_NAMES, type Prompt } from '../../lib/prompt/index.js'
import { memory, noGrad, tidy } from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import { loadSmall } from '../train/small-runs.js'

const WORDS = ['good', 'bad film', 'long', 'the dog and the film', 'antidote', 'a']

let backbone: Backbone
let prompts: (Prompt | null)[]
beforeAll(async () => {
  backbone = await loadSmall('float64')
  const made = METHOD_NAMES.flatMap((method, i) =>
    (method === 'prefix' ? (['prefix'] as const) : (['prefix', 'suffix'] as const)).map(
      (placement) =>
        createPrompt(backbone, {
          ...{ method, placement, length: 2 + (i % 4), init: 'random', seed: i },
          ...(['lopt-1', 'lopt-2', 'dpt'].includes(method) && { rank: 2 }),
          ...(method === 'residual' && { bottleneck: 5 }),
          ...(method === 'dept' && { textTokens: 7, rank: 2 }),
        }),
    ),
  )
  prompts = [...made, null]
})
afterAll(() => {
  for (const prompt of prompts) prompt?.dispose()
  backbone.dispose()
})

test('scores of a text that is read in pieces are those of the whole, whatever its prompt', async () => {
  const words = WORDS.map((words) => ({ words, label: words }))
  const [candidates = []] = await encodeCandidates(backbone, [
    { fields: {}, candidates: words },
  ])
  expect(new Set(candidates.map(({ length }) => length)).size).toBeGreaterThan(2)
  const text = backbone.tokenizer.encode('the dog was good and a long film was bad')
  const rows = prompts.map((_, prompt) => ({ text, candidates, prompt }))
  const whole = await scoreRows(rows, { backbone, prompts })
  const before = await settledMemory()
  for (const [i, prompt] of prompts.entries()) {
    const positions = 1 + (i % 6)
    const scores = await noGrad(() =>
      tidy(() => {
        const set = createPromptSet(backbone, [prompt])
        const row = { text, candidates, prompt: 0 }
        return PartialScores.begin(backbone as CausalBackbone, set, row)
      }),
    )
    let found: readonly number[] | undefined
    let pieces = 0
    for (; found === undefined; pieces += 1) found = await scores.read(positions)
    expect(pieces).toBeGreaterThan(text.length / positions)
    for (const [c, score] of found.entries()) {
      expect(score).toBeCloseTo(whole[i]?.[c] as number, 8)
    }
    scores.dispose()
  }
  expect(memory().tensors).toBeLessThanOrEqual(before.tensors)
})
