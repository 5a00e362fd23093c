import { describe, expect, it } from 'vitest'
import { LoptError } from '../../lib/errors.js'
import { type CreateTaskOptions, createTask } from '../../lib/task/create-task.js'
import { seededOrder } from '../../lib/task/sample.js'

const rows = (count: number, labels = ['good', 'bad']) =>
  Array.from({ length: count }, (_, i) => ({
    text: `row ${i}`,
    label: labels[i % labels.length] as string,
  }))
const textsOf = (examples: readonly { fields: Readonly<Record<string, string>> }[]) =>
  examples.map((example) => example.fields.text)

describe('createTask', () => {
  it('takes labels in order of first appearance, and the template {text}', () => {
    const task = createTask({ train: rows(6, ['z', 'a', 'm']), dev: rows(2, ['a', 'z']) })
    expect(task.labels).toEqual(['z', 'a', 'm'])
    expect(task.verbalizer).toEqual({ z: 'z', a: 'a', m: 'm' })
    expect(task.template).toBe('{text}')
    expect(task.fields).toEqual(['text'])
    expect(task.metric).toBe('accuracy')
    expect(task.test).toEqual([])
    expect(task.heldOut).toBe(0)
  })

  it('keeps the fields of the template only', () => {
    const task = createTask({
      template: '{premise} {hypothesis}?',
      labelField: 'gold',
      train: [
        { premise: 'a', hypothesis: 1, gold: 'yes', id: {} },
        { premise: 'b', hypothesis: true, gold: 0, id: {} },
      ],
      dev: [{ premise: 'c', hypothesis: 'd', gold: 'yes' }],
    })
    expect(task.train).toEqual([
      { fields: { premise: 'a', hypothesis: '1' }, label: 'yes' },
      { fields: { premise: 'b', hypothesis: 'true' }, label: '0' },
    ])
  })

  it('holds a tenth out by seed, says how many, and loses no row', () => {
    const task = createTask({ train: rows(50), seed: 3 })
    expect(task.heldOut).toBe(5)
    expect([task.train.length, task.dev.length]).toEqual([45, 5])
    expect([...textsOf(task.train), ...textsOf(task.dev)].sort()).toEqual(
      textsOf(createTask({ train: rows(50), devFraction: 0 }).train).sort(),
    )
    expect(createTask({ train: rows(50), seed: 3 })).toEqual(task)
    expect(textsOf(createTask({ train: rows(50), seed: 4 }).dev)).not.toEqual(
      textsOf(task.dev),
    )
  })

  it('holds out what it is told to, nothing among that', () => {
    expect(createTask({ train: rows(40), devFraction: 0.25 }).heldOut).toBe(10)
    const all = createTask({ train: rows(40), devFraction: 0 })
    expect([all.train.length, all.dev.length, all.heldOut]).toEqual([40, 0, 0])
  })

  it('keeps a limit of each split by seed, in the order of the rows', () => {
    const splits = { train: rows(100), dev: rows(30), test: rows(20) }
    const task = createTask({ ...splits, limit: 10, seed: 1 })
    expect([task.train.length, task.dev.length, task.test.length]).toEqual([10, 10, 10])
    const numbers = textsOf(task.train).map((text) => Number(text?.slice(4)))
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
    expect(numbers).not.toEqual(Array.from({ length: 10 }, (_, i) => i))
    const some = createTask({ ...splits, limit: { train: 500, test: 5 } })
    expect([some.train.length, some.dev.length, some.test.length]).toEqual([100, 30, 5])
  })

  it('gives labels the words of the verbalizer', () => {
    const task = createTask({ train: rows(20), verbalizer: { good: 'great' } })
    expect(task.verbalizer).toEqual({ good: 'great', bad: 'bad' })
  })

  it.each<[string, Partial<CreateTaskOptions>, RegExp | string]>([
    ['an empty training split', { train: [] }, 'The train split of task "t" has no rows'],
    ['an empty test split', { test: [] }, 'The test split of task "t" has no rows'],
    [
      'labels given twice',
      { labels: ['good', 'bad', 'good'] },
      'The label "good" is given twice',
    ],
    [
      'a label with white space',
      { labels: ['good', 'bad '] },
      'Expected labels[1] to be text without white space around it but received "bad "',
    ],
    [
      'one label alone',
      { train: rows(9, ['good']) },
      'Task "t" needs two labels or more, but its rows have only "good"',
    ],
    [
      'a dev fraction of one',
      { devFraction: 1 },
      'Expected devFraction to be from 0 to below 1 but received 1',
    ],
    [
      'a limit of zero',
      { limit: 0 },
      'Expected limit to be an integer of 1 or more but received 0',
    ],
    [
      'a negative seed',
      { seed: -1 },
      'Expected seed to be an integer of 0 or more but received -1',
    ],
    [
      'too few rows to hold any out',
      { train: rows(2), devFraction: 0.9 },
      'Holding out 2 of 2 training rows leaves none to train on; give dev rows, or more rows',
    ],
    [
      'a metric that there is not',
      { metric: 'f1' as 'accuracy' },
      'Expected metric to be one of accuracy, macro-f1, f1a, answer-f1 but received f1',
    ],
  ])('refuses %s', (_, options, message) => {
    const create = () => createTask({ name: 't', train: rows(20), ...options })
    expect(create).toThrow(RangeError)
    expect(create).toThrow(message)
  })

  it.each<[Partial<CreateTaskOptions>, string]>([
    [
      {
        dev: [
          { text: 'a', label: 'good' },
          { text: 'b', label: 'ugly' },
        ],
      },
      'dev[1]: The label "ugly" is not one of "good", "bad"',
    ],
    [
      { labels: ['good', 'ugly'] },
      'train[1]: The label "bad" is not one of "good", "ugly"',
    ],
    [
      { train: [{ sentence: 'a', label: 'good' }] },
      'train[0]: Missing field "text", which the template uses; the row has "sentence", "label"',
    ],
    [
      { test: [{ text: 'a' }] },
      'test[0]: Missing label field "label"; the row has "text"',
    ],
    [
      { test: [{ text: [], label: 'x' }] },
      'test[0]: Expected field "text" to be text but received an array',
    ],
  ])('names the row that is wrong: %j', (options, message) => {
    expect(() => createTask({ train: rows(20), ...options })).toThrow(
      new LoptError('ERR_DATA', message),
    )
  })

  it('says what it expects of arguments of the wrong kind', () => {
    const create = (options: object) => () => createTask(options as CreateTaskOptions)
    expect(create({ train: 'a.jsonl' })).toThrow(
      new TypeError('Expected train to be an array of rows but received string'),
    )
    expect(create({ train: ['a'] })).toThrow(
      new TypeError('Expected train[0] to be a row but received string'),
    )
    expect(create({ train: rows(9), labels: 'ab' })).toThrow(
      new TypeError('Expected labels to be an array but received string'),
    )
  })
})

describe('seededOrder', () => {
  it('is a permutation that the seed alone decides', () => {
    const order = seededOrder(1000, 7)
    expect(seededOrder(1000, 7)).toEqual(order)
    expect([...order].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 1000 }, (_, i) => i),
    )
    expect(seededOrder(1000, 8)).not.toEqual(order)
    expect(seededOrder(1000, 7 + 2 ** 32)).not.toEqual(order)
  })

  it('gives the same numbers for ever, since runs are resumed by seed', () => {
    expect(seededOrder(8, 0)).toEqual([5, 0, 7, 6, 2, 1, 3, 4])
  })

  it('puts every item in every place about equally often', () => {
    const counts = new Array<number>(5).fill(0)
    for (let seed = 0; seed < 5000; seed++) counts[seededOrder(5, seed)[0] as number]!++
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(120)
  })
})
