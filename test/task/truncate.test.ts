import { describe, expect, it } from 'vitest'
import { fillTemplate } from '../../lib/task/template.js'
import { fillTokens, fillTokensOfAll } from '../../lib/task/truncate.js'
import { decode, encode } from './toy-tokenizer.js'

const words = (
  'the there theory lodging longer stations nation and another cat concatenation 北京 ' +
  'w antidisestablishmentarianism fond for 1234 😀 naïve ... (re)'
).split(' ')

/** Texts that a seed chooses. */
function textOf(seed: number, count: number): string {
  let state = seed * 2654435761 + 12345
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    const word = words[(state >>> 8) % words.length] as string
    return word + (state % 7 === 0 ? '\n' : ' ')
  }).join('')
}

/** The longest beginning of `text` that fits, by trying all of them. */
function bestByTrying(template: string, text: string, limit: number): number {
  for (let length = text.length; length >= 0; length--) {
    const last = text.charCodeAt(length - 1)
    if (last >= 0xd800 && last <= 0xdbff) continue
    if (encode(fillTemplate(template, { text: text.slice(0, length) })).length <= limit)
      return length
  }
  throw new Error('nothing fits')
}

describe('fillTokens', () => {
  it('encodes the whole filled text when it fits', () => {
    // in pieces, "the" and "re" would be two tokens
    expect(fillTokens('{text}re', { text: ' the' }, encode, 1)).toEqual({
      ids: encode(' there'),
      truncated: 0,
    })
  })

  it('keeps the longest beginning of the field that fits, whatever the limit', {
    timeout: 30_000,
  }, () => {
    for (let seed = 0; seed < 6; seed++) {
      const template = seed % 2 ? 'Text: {text}nger. It was' : '{text}\nThis is a kind of'
      const text = textOf(seed, 14)
      const own = encode(fillTemplate(template, { text: '' })).length
      const whole = encode(fillTemplate(template, { text })).length
      for (let limit = own; limit < whole; limit += 3) {
        const { ids, truncated } = fillTokens(template, { text }, encode, limit)
        const best = text.slice(0, bestByTrying(template, text, limit))
        expect(decode(ids)).toBe(fillTemplate(template, { text: best }))
        expect(truncated).toBe(whole - ids.length)
      }
    }
  })

  it('shortens the longest field only, as long as it is the longest', () => {
    const long = textOf(1, 60)
    const template = 'Premise: {premise} Hypothesis: {hypothesis} True?'
    const { ids } = fillTokens(
      template,
      { premise: long, hypothesis: 'the cat and there' },
      encode,
      80,
    )
    expect(ids.length).toBe(80)
    const match = /^Premise: (.*) Hypothesis: the cat and there True\?$/s.exec(
      decode(ids),
    )
    expect(long.startsWith(match?.[1] ?? 'none')).toBe(true)
  })

  it('shortens fields to the same length when one is not enough', () => {
    const template = '{a}|{b}|{c}'
    const [a, b] = ['cat '.repeat(200), 'the and '.repeat(200)]
    const { ids } = fillTokens(template, { a, b, c: 'the' }, encode, 60)
    expect(ids.length).toBe(60)
    const [first = '', second = '', third] = decode(ids).split('|')
    expect(third).toBe('the')
    expect(a.startsWith(first) && b.startsWith(second)).toBe(true)
    expect(Math.abs(encode(first).length - encode(second).length)).toBeLessThanOrEqual(2)
  })

  it('never cuts a character in two', () => {
    const text = '😀'.repeat(30)
    for (let limit = 2; limit < 40; limit++) {
      const filled = decode(fillTokens('{text}.', { text }, encode, limit).ids)
      expect(filled).toMatch(/^(😀)*\.$/u)
    }
  })

  it('can leave nothing of a field, and never less than the template', () => {
    expect(decode(fillTokens('the{text}.', { text: ' cat' }, encode, 2).ids)).toBe('the.')
    expect(() => fillTokens('the{text}.', { text: ' cat' }, encode, 1)).toThrow(
      new RangeError(
        "The template's own words are 2 tokens, more than the 1 that are left: shorten the " +
          'template, or allow longer inputs',
      ),
    )
  })

  it('cuts a text of a hundred thousand characters in few encodings', () => {
    let characters = 0
    const counting = (text: string) => {
      characters += text.length
      return Array.from(text.matchAll(/\s*\S{1,4}/g), () => 1)
    }
    const text = textOf(3, 20_000)
    expect(fillTokens('{text} It was', { text }, counting, 100).ids).toHaveLength(100)
    expect(characters).toBeLessThan(12 * text.length)
  })

  it('holds its limit with a tokenizer that gives a space no token of its own', () => {
    const trimming = (text: string) => (text.trim() === '' ? [] : [...text].map(() => 1))
    expect(fillTokens('a{text}b', { text: '     ' }, trimming, 4).ids).toHaveLength(4)
  })

  it.each([0, 1.5, Number.NaN])('refuses a limit of %d', (limit) => {
    expect(() => fillTokens('{text}', { text: 'a' }, encode, limit)).toThrow(
      new RangeError(
        `Expected maxTokens to be an integer of 1 or more but received ${limit}`,
      ),
    )
  })
})

describe('fillTokensOfAll', () => {
  const template = 'Text: {text}nger. {other} It was'
  const rows = Array.from({ length: 50 }, (_, i) => ({
    text: textOf(i, 3 * (i % 9)),
    other: textOf(i + 50, 2 * (i % 7)),
  }))

  it('gives what fillTokens gives for each row', async () => {
    const expected = rows.map((row) => fillTokens(template, row, encode, 30))
    expect(expected.filter(({ truncated }) => truncated > 0).length).toBeGreaterThan(20)
    const many = async (texts: readonly string[]) => texts.map(encode)
    expect(await fillTokensOfAll(template, rows, many, 30)).toEqual(expected)
  })

  it('asks for each text once at a time, in few calls, and for long texts hardly again', async () => {
    const calls: (readonly string[])[] = []
    const long = rows.map(({ text }) => ({ text: text.repeat(20), other: '' }))
    await fillTokensOfAll(
      template,
      long,
      async (texts) => {
        calls.push(texts)
        return texts.map(encode)
      },
      30,
    )
    expect(calls.length).toBeLessThan(100)
    for (const texts of calls) expect(new Set(texts).size).toBe(texts.length)
    const characters = calls.flat().reduce((sum, text) => sum + text.length, 0)
    const whole = long.reduce((sum, { text }) => sum + text.length, 0)
    expect(characters).toBeLessThan(2 * whole)
  })

  it('cuts a long text as its beginning, and lets others have their turn meanwhile', async () => {
    const encodeWords = (text: string) =>
      text.match(/\s*\S{1,4}/g)?.map(vocabularyId) ?? []
    const ids = new Map<string, number>()
    function vocabularyId(piece: string): number {
      ids.set(piece, ids.get(piece) ?? ids.size)
      return ids.get(piece) as number
    }
    const many = async (texts: readonly string[]) => texts.map(encodeWords)
    const text = textOf(5, 40_000).replaceAll('cat', '\t cat \n')
    let turns = 0
    let next = setImmediate(function count() {
      turns += 1
      next = setImmediate(count)
    })
    const [long] = await fillTokensOfAll('Text: {text}.', [{ text }], many, 100)
    clearImmediate(next)
    const [short] = await fillTokensOfAll(
      'Text: {text}.',
      [{ text: text.slice(0, 2000) }],
      many,
      100,
    )
    expect(turns).toBeGreaterThan(text.length / 2 ** 14)
    expect(long?.ids).toHaveLength(100)
    expect(long?.ids).toEqual(short?.ids)
  })

  it('keeps the longest beginning that fits where a text has other tokens than its words', async () => {
    // three characters a token, whatever the words
    const encodeThrees = (text: string) => (text.match(/[\s\S]{1,3}/g) ?? []).map(() => 1)
    const many = async (texts: readonly string[]) => texts.map(encodeThrees)
    const text = 'the cat and the dog '.repeat(9)
    const [filled] = await fillTokensOfAll('{text}', [{ text }], many, 20)
    expect(filled).toEqual({ ids: Array(20).fill(1), truncated: 40 })
  })
})
