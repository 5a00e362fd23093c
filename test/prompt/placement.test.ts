import { describe, expect, test } from 'vitest'
import { arrange } from '../../lib/prompt/index.js'

// 0, 1, 2 are the prompt's vectors; 3, 4, 5, 6 the text's tokens; 7, 8 the label's.
const P = 3
const text = 4
const all = 6

describe('placement', () => {
  test('prefix puts P vectors before text and label', () => {
    expect(arrange('prefix', P, text, all)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  test('suffix puts P vectors between text and label', () => {
    expect(arrange('suffix', P, text, all)).toEqual([3, 4, 5, 6, 0, 1, 2, 7, 8])
  })

  test('after-first-token puts P vectors behind the first token of the text', () => {
    expect(arrange('after-first-token', P, text, all)).toEqual([
      3, 0, 1, 2, 4, 5, 6, 7, 8,
    ])
  })

  test.each(['prefix', 'suffix', 'after-first-token'] as const)(
    '%s keeps every vector and every token once',
    (placement) => {
      for (const tokens of [1, 2, 5]) {
        const order = arrange(placement, P, 1, tokens)
        expect([...order].sort((a, b) => a - b)).toEqual([...Array(P + tokens).keys()])
      }
    },
  )

  test('without a prompt the tokens stand as they are', () => {
    for (const placement of ['prefix', 'suffix', 'after-first-token'] as const) {
      expect(arrange(placement, 0, 2, 3)).toEqual([0, 1, 2])
    }
  })
})
