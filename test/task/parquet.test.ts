// Parquet files of three row groups, made by test/fixtures/make_datasets.mjs.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadTask, readExamples } from '../../lib/task/index.js'

const folder = 'test/fixtures/datasets/parquet'

test.each(['snappy', 'uncompressed', 'zstd', 'gzip'])('%s is read', async (codec) => {
  const file = `${folder}/${codec}.parquet`
  const examples = await readExamples(file)
  expect(examples.map(({ source }) => source?.line)).toEqual([1, 2, 3, 4, 5, 6, 7])
  expect(examples[6]).toEqual({
    fields: { text: 'Row 7, an invented sentence.' },
    label: 'bad',
    source: { file, line: 7 },
  })
})

test('a task is made of one', async () => {
  const task = await loadTask(`${folder}/snappy.parquet`, {
    evalData: `${folder}/zstd.parquet`,
  })
  expect([task.labels, task.dev.length]).toEqual([['bad', 'good'], 7])
})

test('a row without a label is named', async () => {
  const file = `${folder}/missing-label.parquet`
  await expect(readExamples(file)).rejects.toMatchObject({
    code: 'ERR_DATA',
    message: expect.stringContaining(`${file}:5: Missing label field "label"`),
  })
})

test('what is beyond a limit is refused before it is read', async () => {
  const file = `${folder}/snappy.parquet`
  const read = (limits: object) => readExamples(file, { limits })
  await expect(read({ rows: 6 })).rejects.toThrow('more than 6 rows')
  await expect(read({ fileBytes: 100 })).rejects.toThrow('larger than 100 bytes')
  const { length } = readFileSync(`${folder}/gzip.parquet`)
  // no larger than the limit itself, but with more in it
  const limits = { fileBytes: length }
  const packed = readExamples(`${folder}/gzip.parquet`, { limits })
  await expect(packed.then(() => 'read')).resolves.toBe('read')
})

test('a file that is cut short, or no Parquet at all, is an error of the data', async () => {
  const temporary = mkdtempSync(join(tmpdir(), 'lopt-parquet-'))
  const bytes = readFileSync(`${folder}/snappy.parquet`)
  const file = join(temporary, 'rows.parquet')
  for (const some of [
    bytes.subarray(0, 500),
    Buffer.from('{"text": "a"}'),
    Buffer.alloc(0),
  ]) {
    writeFileSync(file, some)
    await expect(readExamples(file)).rejects.toMatchObject({ code: 'ERR_DATA' })
  }
  rmSync(temporary, { recursive: true })
})
