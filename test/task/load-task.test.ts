import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { LoptError } from '../../lib/errors.js'
import { loadTask, readExamples } from '../../lib/task/load-task.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-load-task-'))
afterAll(() => rmSync(folder, { recursive: true }))

function fileOf(name: string, content: string): string {
  const file = join(folder, name)
  writeFileSync(file, content)
  return file
}

const jsonl = (rows: object[]) => rows.map((row) => JSON.stringify(row)).join('\n')
const many = Array.from({ length: 30 }, (_, i) => ({
  text: `row ${i}`,
  label: i % 2 ? 'odd' : 'even',
}))

describe('loadTask', () => {
  it('holds a tenth of a data file out, and knows the line of each row', async () => {
    const file = fileOf('train.jsonl', jsonl(many))
    const task = await loadTask(file, { seed: 1 })
    expect(task.name).toBe(file)
    expect([task.train.length, task.dev.length, task.test.length, task.heldOut]).toEqual([
      27, 3, 0, 3,
    ])
    for (const { fields, source } of [...task.train, ...task.dev]) {
      expect(source).toEqual({ file, line: Number(fields.text?.slice(4)) + 1 })
    }
  })

  it('takes dev and test rows from files of their own, of any kind', async () => {
    const task = await loadTask(fileOf('a.jsonl', jsonl(many)), {
      evalData: fileOf('b.csv', 'label,text\nodd,"one, two"\n'),
      testData: fileOf('c.tsv', 'text\tlabel\nthree\teven\n'),
    })
    expect([task.train.length, task.heldOut]).toEqual([30, 0])
    expect(task.dev.map((one) => one.fields.text)).toEqual(['one, two'])
    expect(task.test.map((one) => one.label)).toEqual(['even'])
  })

  it('names file and line of a label that is not among the labels', async () => {
    const evalData = fileOf('d.tsv', 'text\tlabel\na\todd\nb\tugly\n')
    await expect(loadTask(fileOf('a.jsonl', jsonl(many)), { evalData })).rejects.toThrow(
      new LoptError(
        'ERR_DATA',
        `${evalData}:3: The label "ugly" is not one of "even", "odd"`,
      ),
    )
  })

  it('names file and line of a row without a field of the template', async () => {
    const file = fileOf(
      'e.jsonl',
      jsonl([
        { a: '1', b: '2', label: 'x' },
        { a: '1', label: 'y' },
      ]),
    )
    await expect(loadTask(file, { template: '{a} {b}' })).rejects.toThrow(
      new LoptError(
        'ERR_DATA',
        `${file}:2: Missing field "b", which the template uses; the row has "a", "label"`,
      ),
    )
  })

  it('can leave all rows in one split, for an evaluation', async () => {
    const task = await loadTask(fileOf('a.jsonl', jsonl(many)), {
      devFraction: 0,
      labels: ['odd', 'even'],
    })
    expect([task.train.length, task.dev.length]).toEqual([30, 0])
    expect(task.labels).toEqual(['odd', 'even'])
  })

  it('says where its rows were taken from, and how', async () => {
    const data = fileOf('all.jsonl', many.map((row) => JSON.stringify(row)).join('\n'))
    const own = { data, labelField: 'label', seed: 0, devFraction: 0.1 }
    expect((await loadTask(relative('', data))).source).toEqual(own)
    const split = await loadTask(data, { evalData: data, seed: 4, limit: 20 })
    expect(split.source).toEqual({
      data,
      evalData: data,
      labelField: 'label',
      seed: 4,
      limit: 20,
    })
    const bundled = await loadTask('topics', { limit: { train: 9 } })
    expect(bundled.source).toEqual({ task: 'topics', seed: 0, limit: { train: 9 } })
  })

  it('refuses a name that is neither a task nor a data file', async () => {
    await expect(loadTask('sst3')).rejects.toThrow(
      /^Expected a task's name \(spam, topics, kinds, sst2, .*wsc\) or a data file \(\.jsonl, .*\.parquet\) but received "sst3"$/,
    )
    await expect(loadTask('toString')).rejects.toThrow(RangeError)
    await expect(loadTask('rows.parquet')).rejects.toMatchObject({ code: 'ERR_IO' })
  })

  it('refuses an empty file', async () => {
    const file = fileOf('empty.jsonl', '')
    await expect(loadTask(file)).rejects.toThrow(
      new LoptError('ERR_DATA', `${file}: The file has no rows`),
    )
  })

  it('reads examples of a file by themselves', async () => {
    const file = fileOf('f.csv', 'review,stars\ngood,5\n')
    expect(
      await readExamples(file, { template: '{review}', labelField: 'stars' }),
    ).toEqual([{ fields: { review: 'good' }, label: '5', source: { file, line: 2 } }])
  })
})
