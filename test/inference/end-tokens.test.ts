// Golden values: test/fixtures/make_end_tokens.py (transformers 5.18).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { type GenerateOptions, generate } from '../../lib/inference/index.js'
import { fixture } from '../backbone/golden.js'
import { copyOf, editJson } from '../backbone/temporary.js'

interface Case {
  backbone: string
  inputIds: number[]
  ends: number[]
  options: { max_new_tokens: number; min_new_tokens?: number; num_beams?: number }
  newIds: number[]
  stopped: boolean
}

const path = join(fixture('generation'), 'end-tokens.json')
const { cases } = JSON.parse(readFileSync(path, 'utf8')) as { cases: Case[] }

/** The fixture's backbone, whose files list these ends. */
async function ending(name: string, ends: readonly number[]): Promise<Backbone> {
  const folder = copyOf(name)
  editJson(folder, 'generation_config.json', { eos_token_id: ends })
  return await loadBackbone(folder)
}

async function done(options: GenerateOptions) {
  const streamed: number[] = []
  for await (const event of generate(options)) {
    if (event.type === 'done') return { ...event, streamed }
    streamed.push(event.token)
  }
  throw new Error('no done event')
}

describe.each([...new Set(cases.map(({ backbone }) => backbone))])('%s', (name) => {
  const own = cases.filter(({ backbone }) => backbone === name)
  const lists = [...new Set(own.map(({ ends }) => JSON.stringify(ends)))]

  test.each(lists)('ends where transformers does, with the ends %s', async (list) => {
    const backbone = await ending(name, JSON.parse(list))
    for (const { inputIds, ends, options, newIds, stopped } of own) {
      if (JSON.stringify(ends) !== list) continue
      backbone.tokenizer.encode = () => [...inputIds]
      for (const cache of [true, false]) {
        const found = await done({
          backbone,
          text: 'the ids of the fixture',
          maxNewTokens: options.max_new_tokens,
          minNewTokens: options.min_new_tokens ?? 0,
          numBeams: options.num_beams ?? 1,
          cache,
        })
        expect(found.tokens).toEqual(newIds)
        expect(found.streamed).toEqual(newIds)
        expect(found.finishReason).toBe(stopped ? 'stop' : 'length')
      }
    }
    backbone.dispose()
  })

  test('sampling ends at each, and not before minNewTokens', async () => {
    const ends = Array.from({ length: 100 }, (_, i) => 20 + i)
    const backbone = await ending(name, ends)
    for (let seed = 0; seed < 5; seed++) {
      const sampling = { temperature: 2, seed, maxNewTokens: 40, minNewTokens: 6 }
      const found = await done({ backbone, text: 'a dog', ...sampling })
      expect(found.tokens.filter((id) => ends.includes(id))).toEqual([])
      expect(found.tokens.length).toBeGreaterThanOrEqual(6)
      expect(found.finishReason).toBe('stop')
    }
    backbone.dispose()
  })
})
