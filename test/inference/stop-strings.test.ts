// Strings that end a text. Golden values: test/fixtures/make_stop_strings.py (transformers 5.18).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadBackbone } from '../../lib/backbone/index.js'
import { type GenerateRow, generate } from '../../lib/inference/index.js'
import { StopStrings } from '../../lib/inference/text-pieces.js'
import { fixture } from '../backbone/golden.js'

const golden = JSON.parse(
  readFileSync(join(fixture('generation'), 'stop-strings.json'), 'utf8'),
) as {
  maxNewTokens: number
  cases: { backbone: string; text: string; stop: string; newIds: number[] }[]
}

describe.each(['nano-gpt2', 'nano-t5'])('%s stops', (name) => {
  test('at the token at which transformers stops, each text at its own string', async () => {
    const backbone = await loadBackbone(`builtin:${name}`, { dtype: 'float64' })
    const { maxNewTokens } = golden
    const cases = golden.cases.filter((one) => one.backbone === name)
    expect(cases.length).toBeGreaterThan(8)
    const rows = cases.map(({ text, stop }): GenerateRow => {
      return { text, stop: ['never said', stop], maxNewTokens }
    })
    const pieces = rows.map(() => '')
    for await (const event of generate({ backbone, rows })) {
      const { stop, newIds } = cases[event.row] as (typeof cases)[number]
      if (event.type === 'token') {
        pieces[event.row] += event.text
        continue
      }
      if (event.type === 'failed') throw event.error
      expect(event.tokens).toEqual(newIds)
      expect(event.finishReason).toBe('stop')
      const whole = backbone.tokenizer.decode(newIds)
      expect(event.text).toBe(whole.slice(0, whole.indexOf(stop)))
      expect(pieces[event.row]).toBe(event.text)
    }
    backbone.dispose()
  })

  test('nowhere where the string never comes, and the text is whole', async () => {
    const backbone = await loadBackbone(`builtin:${name}`)
    const text = 'A large animal that'
    const said = async (options: Partial<GenerateRow>) => {
      const pieces: string[] = []
      for await (const event of generate({
        backbone,
        text,
        maxNewTokens: 24,
        ...options,
      })) {
        if (event.type === 'done') return { ...event, pieces: pieces.join('') }
        pieces.push(event.text)
      }
      throw new Error('no done event')
    }
    const whole = await said({})
    // It may have begun at every token's end, and at the very last.
    const stop = [...whole.text]
      .map((_, i) => `${whole.text.slice(i)}\u2603`)
      .slice(0, 16)
    expect(await said({ stop })).toEqual({ ...whole, pieces: whole.text })
    const last = `${whole.text.slice(-3)}\u2603`
    expect(await said({ stop: [last] })).toEqual({ ...whole, pieces: whole.text })
    backbone.dispose()
  })
})

test('the first of several strings that are there ends the text, wherever pieces end', () => {
  for (const cuts of [[1, 1, 1, 1, 1, 1, 1, 1], [3, 5], [8], [2, 2, 4]]) {
    const stops = new StopStrings(['cde', 'bc', 'xyz'])
    const text = 'aabcdefg'
    let at = 0
    let found = ''
    for (const cut of cuts) {
      const piece = stops.push(text.slice(at, at + cut))
      at += cut
      found += piece.text
      if (piece.stopped) break
    }
    expect(found).toBe('aa')
  }
})
