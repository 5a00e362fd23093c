// Parquet files of three row groups, made by test/fixtures/make_datasets.mjs, whole and damaged.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, expect, test } from 'vitest'
import { LoptError } from '../../lib/errors.js'
import { loadTask, readExamples } from '../../lib/task/index.js'

const folder = 'test/fixtures/datasets/parquet'
const temporary = mkdtempSync(join(tmpdir(), 'lopt-parquet-'))
afterAll(() => rmSync(temporary, { recursive: true }))

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
})

test('a small file that unpacks to more than the limit is refused', async () => {
  const file = join(temporary, 'packed.parquet')
  const rows = Array.from({ length: 20 }, (_, row) => `${row} ${'a'.repeat(5000)}`)
  const bytes = parquetWriteBuffer({
    columnData: [
      { name: 'text', data: rows, type: 'STRING' },
      { name: 'label', data: rows.map(() => 'good'), type: 'STRING' },
    ],
  })
  writeFileSync(file, Buffer.from(bytes))
  expect(bytes.byteLength).toBeLessThan(20_000)
  const read = (fileBytes: number) => readExamples(file, { limits: { fileBytes } })
  await expect(read(50_000)).rejects.toMatchObject({
    code: 'ERR_DATA',
    message: expect.stringMatching(/The rows unpack to 10\d{4} bytes, more than 50000/),
  })
  expect(await read(200_000)).toHaveLength(20)
})

test('a file that is cut short, or no Parquet at all, is an error of the data', async () => {
  const bytes = readFileSync(`${folder}/snappy.parquet`)
  for (const [index, some] of [
    bytes.subarray(0, 500),
    Buffer.from('{"text": "a"}'),
    Buffer.alloc(0),
  ].entries()) {
    const file = join(temporary, `cut-${index}.parquet`)
    writeFileSync(file, some)
    await expect(readExamples(file)).rejects.toMatchObject({ code: 'ERR_DATA' })
  }
})

// Decodes a copy of snappy.parquet with the bits of one byte turned over. One that loops is given up.
async function readDamaged(offset: number, bits: number): Promise<unknown> {
  const bytes = Buffer.from(readFileSync(`${folder}/snappy.parquet`))
  bytes[offset] = (bytes[offset] ?? 0) ^ bits
  const file = join(temporary, `damaged-${offset}-${bits}.parquet`)
  writeFileSync(file, bytes)
  return readExamples(file, { limits: { decodeMs: 1500 } })
}

test('a damaged file of which the decoder would loop, abort or reject unseen is an error of the data', async () => {
  const damages = [
    [8, 0xff], // the page's length
    [21, 0xff], // the length of a run of levels
    [255, 0x80], // the count of a page's values
    [397, 0xff], // where a column begins: rejected where nobody waits
  ] as const
  const ends = damages.map(([offset, bits]) =>
    expect(readDamaged(offset, bits)).rejects.toMatchObject({
      code: 'ERR_DATA',
      message: expect.stringContaining('Cannot be read as Parquet'),
    }),
  )
  await Promise.all(ends)
})

test('whichever byte is damaged, a file gives rows or an error of the data', async () => {
  const { length } = readFileSync(`${folder}/snappy.parquet`)
  const offsets = Array.from({ length: Math.ceil(length / 53) }, (_, index) => index * 53)
  const ends = offsets.map(async (offset) => {
    const end = await readDamaged(offset, 0xff).catch((error: unknown) => error)
    return Array.isArray(end) || (end instanceof LoptError && end.code === 'ERR_DATA')
  })
  expect(await Promise.all(ends)).toEqual(offsets.map(() => true))
})
