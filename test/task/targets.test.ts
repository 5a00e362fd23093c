// Rows that texts answer: what they are read from, and what is refused.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetWriteFile } from 'hyparquet-writer'
import { describe, expect, test } from 'vitest'
import { createTask, loadTask } from '../../lib/task/index.js'
import { temporaryFolder } from '../backbone/temporary.js'

const rows = [
  { text: 'a dog', target: 'an animal' },
  { text: 'a rose', target: 'a plant, and it smells' },
]

/** A file of that name and content. */
function written(name: string, content: string): string {
  const file = join(temporaryFolder(), name)
  writeFileSync(file, content)
  return file
}

const jsonl = (some: readonly object[]) =>
  some.map((row) => `${JSON.stringify(row)}\n`).join('')

describe('rows that texts answer', () => {
  test('are those with a target; no label is looked for', () => {
    const task = createTask({ train: rows, devFraction: 0 })
    expect(task).toMatchObject({
      labels: [],
      metric: 'perplexity',
      target: { end: true },
      train: [
        { fields: { text: 'a dog' }, label: 'an animal', targets: ['an animal'] },
        { fields: { text: 'a rose' }, label: 'a plant, and it smells' },
      ],
    })
  })

  test('have several right texts in a list, the first of which is learned', () => {
    const [row] = createTask({
      train: [{ text: 'a dog', targets: ['an animal', 'a pet'] }],
      devFraction: 0,
    }).train
    expect(row).toMatchObject({ label: 'an animal', targets: ['an animal', 'a pet'] })
  })

  test('are made of named fields by two templates', () => {
    const task = createTask({
      template: '{article}\nTL;DR:',
      targetTemplate: ' {summary} ({by})',
      train: [{ article: 'Long.', summary: 'Short', by: 'me', label: 'none of this' }],
      devFraction: 0,
    })
    expect(task.train[0]).toMatchObject({
      fields: { article: 'Long.' },
      label: ' Short (me)',
    })
    expect(task.target).toEqual({ template: ' {summary} ({by})', end: true })
  })

  test('come from JSON Lines, CSV, TSV and Parquet alike', async () => {
    const parquet = join(temporaryFolder(), 'rows.parquet')
    parquetWriteFile({
      filename: parquet,
      columnData: [
        { name: 'text', data: rows.map(({ text }) => text), type: 'STRING' },
        { name: 'target', data: rows.map(({ target }) => target), type: 'STRING' },
      ],
    })
    const files = [
      written('rows.jsonl', jsonl(rows)),
      written(
        'rows.csv',
        'text,target\na dog,an animal\na rose,"a plant, and it smells"\n',
      ),
      written(
        'rows.tsv',
        'text\ttarget\na dog\tan animal\na rose\ta plant, and it smells\n',
      ),
      parquet,
    ]
    for (const file of files) {
      const task = await loadTask(file, { devFraction: 0 })
      expect(task.train.map(({ label }) => label)).toEqual(
        rows.map(({ target }) => target),
      )
    }
  })

  test('leave a field called target to a template that reads it', () => {
    const train = [
      { text: 'a', target: 'x', label: 'yes' },
      { text: 'b', target: 'x', label: 'no' },
    ]
    const task = createTask({ template: '{text} {target}', train, devFraction: 0 })
    expect(task.labels).toEqual(['yes', 'no'])
  })

  test('take a function as their metric', () => {
    const metric = () => 1
    const task = createTask({ train: rows, metric, devFraction: 0 })
    expect(task).toMatchObject({ metric: 'own', judge: metric })
  })
})

describe('refused, with file and line, is', () => {
  test.each([
    [{ text: 'a', target: '' }, /rows\.jsonl:2: The target is empty/],
    [{ text: 'a', target: ' \n' }, /:2: The target is empty/],
    [{ text: 'a', target: 'b', label: 'c' }, /:2: The row has both "label" and "target"/],
    [
      { text: 'a', targets: [] },
      /:2: Expected "targets" to be a list of one text or more/,
    ],
    [{ text: 'a', targets: ['b', 3.5, {}] }, /:2: Expected field "target" to be text/],
    [
      { text: 'a', label: 'b' },
      /:2: The row has a label, and those before it have targets/,
    ],
    [{ target: 'b' }, /:2: Missing field "text", which the template uses/],
    [{ text: 'a' }, /:2: Missing label field "label"/],
  ])('a row %j', async (row, message) => {
    const file = written('rows.jsonl', jsonl([{ text: 'x', target: 'y' }, row]))
    const loading = loadTask(file, { devFraction: 0 })
    await expect(loading).rejects.toMatchObject({ code: 'ERR_DATA' })
    await expect(loading).rejects.toThrow(message)
  })

  test('a target template that names a missing field', async () => {
    const file = written('rows.jsonl', jsonl(rows))
    await expect(loadTask(file, { targetTemplate: ' {summary}' })).rejects.toThrow(
      /rows\.jsonl:1: Missing field "summary", which the target template uses; the row has "text", "target"/,
    )
  })
})

test('what is for labels alone is refused beside targets, and the other way round', () => {
  const labelled = [
    { text: 'a', label: 'b' },
    { text: 'c', label: 'd' },
  ]
  const wrong = (options: object) => () =>
    createTask({ devFraction: 0, ...options } as Parameters<typeof createTask>[0])
  expect(wrong({ train: rows, labels: ['a', 'b'] })).toThrow(/labels are for rows/)
  expect(wrong({ train: rows, metric: 'macro-f1' })).toThrow(
    /one of perplexity, exact-match/,
  )
  expect(wrong({ train: rows, metric: 'own' })).toThrow(/own is a function/)
  expect(wrong({ train: labelled, metric: 'bleu' })).toThrow(/one of accuracy/)
  expect(wrong({ train: labelled, targetEnd: false })).toThrow(/targetEnd are for texts/)
})
