import { describe, expect, it } from 'vitest'
import { fillTemplate, parseTemplate } from '../../lib/task/template.js'

describe('template', () => {
  it('names its fields once each, in order of appearance', () => {
    expect(parseTemplate('{b} and {a}, {b}').fields).toEqual(['b', 'a'])
  })

  it('puts values in place and leaves braces in them alone', () => {
    expect(fillTemplate('{a} + {b}', { a: '{b}', b: '{{1}}' })).toBe('{b} + {{1}}')
  })

  it('writes {{ and }} as braces', () => {
    expect(fillTemplate('{{"q": {q}}}', { q: '1' })).toBe('{"q": 1}')
    expect(fillTemplate('{{{q}}}', { q: '1' })).toBe('{1}')
  })

  it('takes a column name with spaces', () => {
    expect(fillTemplate('{review text}!', { 'review text': 'Good' })).toBe('Good!')
  })

  it.each([
    [
      'Text: {text',
      'Template "Text: {text", character 7: { is not closed; write {{ for a brace',
    ],
    ['{a{b}}', 'Template "{a{b}}", character 1: { is not closed; write {{ for a brace'],
    ['a} {b}', 'Template "a} {b}", character 2: } closes nothing; write }} for a brace'],
    ['x {} {a}', 'Template "x {} {a}", character 3: {} names no field'],
    ['It was', 'Template "It was" has no {field}: every row would read the same'],
  ])('refuses %j with its place', (template, message) => {
    expect(() => parseTemplate(template)).toThrow(new RangeError(message))
  })

  it('refuses what is no text', () => {
    expect(() => parseTemplate(7 as unknown as string)).toThrow(
      new TypeError('Expected template to be text but received number'),
    )
  })

  it('names a field that a row does not have', () => {
    expect(() => fillTemplate('{a} {toString}', { a: '', b: '' })).toThrow(
      new RangeError('The template\'s field "toString" is missing; the row has "a", "b"'),
    )
  })
})
