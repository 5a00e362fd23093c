import { describe, expect, it } from 'vitest'
import { completeVerbalizer, labelTokens } from '../../lib/task/verbalizer.js'
import { encode } from './toy-tokenizer.js'

describe('verbalizer', () => {
  it('lets a label without words stand for itself', () => {
    expect(completeVerbalizer(['0', '1', 'ham'], { 0: 'bad', 1: 'good' })).toEqual({
      0: 'bad',
      1: 'good',
      ham: 'ham',
    })
  })

  it('encodes words with the space that continues a text, in the order of the labels', () => {
    const tokens = labelTokens({
      labels: ['b', 'a'],
      verbalizer: { a: 'the', b: 'and' },
      encode,
    })
    expect(tokens.words).toEqual([' and', ' the'])
    expect(tokens.ids).toEqual([encode(' and'), encode(' the')])
    expect(tokens.singleToken).toBe(true)
  })

  it('says when a label takes several tokens', () => {
    expect(labelTokens({ labels: ['the', 'zebra'], encode }).singleToken).toBe(false)
  })

  it('leaves the space out where the model puts its own', () => {
    const tokens = labelTokens({ labels: ['the', 'cat'], encode, prefixSpace: false })
    expect(tokens.words).toEqual(['the', 'cat'])
  })

  it('refuses labels that are the same to the model', () => {
    const blind = () => [3, 1]
    expect(() => labelTokens({ labels: ['yes', 'no'], encode: blind })).toThrow(
      new RangeError(
        'Labels "yes" and "no" are the same tokens (3 1); give them other words',
      ),
    )
    expect(() => labelTokens({ labels: ['yes', 'no'], encode: () => [] })).toThrow(
      new RangeError('The words of label "yes" have no tokens'),
    )
  })

  it.each([
    [{ c: 'x' }, 'The verbalizer names the label "c", but the labels are "a", "b"'],
    [{ a: 'b' }, 'Labels "a" and "b" have the same words, "b"'],
    [
      { a: ' x' },
      'Expected the words of label "a" to be text without white space around it but received " x"',
    ],
    [
      { b: '' },
      'Expected the words of label "b" to be text without white space around it but received ""',
    ],
  ])('refuses %j', (verbalizer, message) => {
    expect(() =>
      completeVerbalizer(['a', 'b'], verbalizer as Record<string, string>),
    ).toThrow(new RangeError(message))
  })
})
