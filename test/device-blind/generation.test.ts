// Generation on `meta`, of every backbone and placement: its first and its later steps, greedily, by
// sampling and by beam search.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backbone } from '../../lib/backbone/index.js'
import { type GenerateOptions, generate } from '../../lib/inference/index.js'
import { METHOD_NAMES, PLACEMENTS } from '../../lib/prompt/index.js'
import { BACKBONE_NAMES, onMeta, promptFor } from './backbones.js'
import { watched } from './watch.js'

const STEPS = 3

async function generated(options: Omit<GenerateOptions, 'text' | 'maxNewTokens'>) {
  return await watched(async () => {
    const all = { ...options, text: 'the dog', maxNewTokens: STEPS, minNewTokens: STEPS }
    for await (const event of generate(all))
      if (event.type === 'done') return event.tokens
    return []
  })
}

describe.each(BACKBONE_NAMES)('on meta, %s', (name) => {
  let backbone: Backbone
  beforeAll(async () => {
    backbone = await onMeta(name)
  })
  afterAll(() => backbone.dispose())

  const combinations = METHOD_NAMES.flatMap((method) =>
    PLACEMENTS.map((placement) => [method, placement] as const),
  )
  test.each(combinations)(
    'continues a text behind %s as %s',
    async (method, placement) => {
      const prompt = promptFor(backbone, method, placement)
      if (prompt === null) return
      for (const cache of [true, false]) {
        // A prompt that is kept is known by what it holds: that is read once a text, and again when it was prepared.
        const tensors = cache ? { ...prompt.parameters, ...prompt.buffers } : {}
        const held = Object.values(tensors).map(({ shape }) => shape)
        const greedy = await generated({
          backbone,
          prompt,
          cache,
          repetitionPenalty: 1.2,
        })
        expect(greedy.cpuInputs).toEqual([])
        expect(greedy.value).toHaveLength(STEPS)
        // Whether the logits are finite, and the token.
        expect(greedy.reads).toEqual([...held, ...held, ...Array(STEPS).fill([1, 2])])

        const beams = await generated({
          backbone,
          prompt,
          cache,
          numBeams: 3,
          repetitionPenalty: 1.2,
        })
        expect(beams.cpuInputs).toEqual([])
        // The scores and places of the six best continuations at each step.
        expect(beams.reads).toEqual([...held, ...Array(2 * STEPS).fill([6])])
      }
      prompt.dispose()
    },
  )

  test('samples by draws that come from the CPU', async () => {
    const rules = { temperature: 0.7, topK: 20, topP: 0.9, repetitionPenalty: 1.2 }
    const sampled = await generated({ backbone, ...rules })
    const N = backbone.config.vocabSize
    const [drawn, moved] = [`float32 [1, ${N}]`, 'aten::to|aten::_to_copy|aten::copy_']
    for (const one of sampled.cpuInputs) {
      const isDraw = /^aten::(exponential_|cat) /.test(one) && one.includes(drawn)
      const isTransfer = new RegExp(`^(${moved}) reads `).test(one) && one.includes(drawn)
      expect([one, isDraw || isTransfer]).toEqual([one, true])
    }
    expect(sampled.cpuInputs.length).toBeGreaterThanOrEqual(2 * STEPS)
    // The largest probability too.
    expect(sampled.reads).toEqual(Array(STEPS).fill([1, 3]))
  })
})
