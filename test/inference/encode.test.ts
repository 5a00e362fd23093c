// From texts to rows of ids: what is cut, what comes first, what is refused.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { encodeLabels, encodeTexts, textLimit } from '../../lib/inference/index.js'
import { score } from '../../lib/inference/score.js'
import { createPrompt, type Prompt } from '../../lib/prompt/index.js'
import { fixture } from '../backbone/golden.js'

const format = {
  template: '{text}',
  labels: ['good', 'bad'],
  verbalizer: { good: 'good', bad: 'bad' },
}
const POSITIONS = 64
const P = 4

let backbone: Backbone
let prompt: Prompt
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'))
  prompt = createPrompt(backbone, { length: P, rank: 2 })
})
afterAll(() => {
  prompt.dispose()
  backbone.dispose()
})

const texts = (...all: string[]) => all.map((text) => ({ fields: { text } }))

describe('the limit of a text', () => {
  test('is what prompt and longest label leave of the positions', () => {
    const labels = encodeLabels(backbone, format)
    const longest = Math.max(...labels.ids.map(({ length }) => length))
    expect(textLimit(backbone, prompt, labels, {})).toBe(POSITIONS - P - longest)
  })

  test("is the caller's own, which must fit", () => {
    const labels = encodeLabels(backbone, format)
    expect(textLimit(backbone, prompt, labels, { maxLength: 5 })).toBe(5)
    expect(() => textLimit(backbone, prompt, labels, { maxLength: 64 })).toThrow(
      /Expected maxLength in 1\.\.\d+, .* but received 64/,
    )
  })

  test('that a prompt was trained with counts as far as it fits', () => {
    const labels = encodeLabels(backbone, format)
    const left = textLimit(backbone, prompt, labels, {})
    expect(textLimit(backbone, prompt, labels, { trained: 7 })).toBe(7)
    expect(textLimit(backbone, prompt, labels, { trained: 1000 })).toBe(left)
  })
})

describe('encoded texts', () => {
  test('are cut to the limit, and say by how much', async () => {
    const [short, long] = await encodeTexts(
      backbone,
      '{text}',
      texts('the dog', 'the dog '.repeat(30)),
      10,
    )
    expect(short).toEqual({ ids: backbone.tokenizer.encode('the dog'), truncated: 0 })
    expect(long?.ids.length).toBeLessThanOrEqual(10)
    expect(long?.truncated).toBeGreaterThan(0)
  })

  test('begin with the token that the tokenizer puts first, within the limit', async () => {
    const firstTokenId = 7
    const dressed: Backbone = Object.create(backbone, {
      tokenizer: {
        value: Object.create(backbone.tokenizer, {
          firstTokenId: { value: firstTokenId },
          tokenize: { value: (all: string[]) => backbone.tokenizer.tokenize(all) },
          encode: { value: (text: string) => backbone.tokenizer.encode(text) },
        }),
      },
    })
    const [short, long] = await encodeTexts(
      dressed,
      '{text}',
      texts('the dog', 'the dog '.repeat(30)),
      10,
    )
    expect(short?.ids).toEqual([firstTokenId, ...backbone.tokenizer.encode('the dog')])
    expect(long?.ids[0]).toBe(firstTokenId)
    expect(long?.ids.length).toBeLessThanOrEqual(10)
  })

  test('that are very long are cut as if all of them had been looked at', async () => {
    const { tokenizer } = backbone
    const unbounded: Backbone = Object.create(backbone, {
      tokenizer: {
        value: Object.create(tokenizer, {
          charactersPerToken: { value: undefined },
          tokenize: { value: (all: string[]) => tokenizer.tokenize(all) },
        }),
      },
    })
    const words = [
      'the',
      'dog',
      'antidisestablishmentarianism',
      '世界',
      '',
      'x'.repeat(300),
    ]
    const long = Array.from({ length: 40 }, (_, i) =>
      Array.from({ length: 800 }, (_, j) => words[(i * j + j * j) % words.length]).join(
        ' ',
      ),
    )
    for (const [template, examples] of [
      ['{text} It was', texts(...long)],
      ['{a} and {b}', long.map((a, i) => ({ fields: { a, b: words[i % 4] as string } }))],
    ] as const) {
      const own = await encodeTexts(backbone, template, examples, 20)
      expect(own).toEqual(await encodeTexts(unbounded, template, examples, 20))
    }
  })

  test('without a token are refused with file and line', async () => {
    const example = { fields: { text: '' }, source: { file: 'rows.jsonl', line: 3 } }
    await expect(encodeTexts(backbone, '{text}', [example], 10)).rejects.toMatchObject({
      code: 'ERR_DATA',
      message: 'rows.jsonl:3: the text has no tokens',
    })
  })
})

test('scores that are not finite are an error, not a prediction', async () => {
  const broken = createPrompt(backbone, { method: 'full', length: P })
  await broken.parameters.X?.fill_(Number.NaN)
  await expect(
    score({ backbone, prompt: broken, task: format, texts: ['the dog'] }),
  ).rejects.toMatchObject({ code: 'ERR_NON_FINITE_LOSS' })
  broken.dispose()
})
