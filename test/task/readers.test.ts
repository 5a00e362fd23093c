import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { LoptError } from '../../lib/errors.js'
import { readRows } from '../../lib/task/readers/index.js'
import type { Row } from '../../lib/task/readers/row.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-readers-'))
afterAll(() => rmSync(folder, { recursive: true }))

let files = 0
function fileOf(extension: string, content: string | Uint8Array): string {
  const file = join(folder, `data${files++}${extension}`)
  writeFileSync(file, content)
  return file
}

async function rowsOf(
  file: string,
  options?: Parameters<typeof readRows>[1],
): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of readRows(file, options)) rows.push(row)
  return rows
}

/** The message of the error that reading throws, without the folder, and its code. */
async function failure(file: string, options?: Parameters<typeof readRows>[1]) {
  const error = await rowsOf(file, options).then(
    () => undefined,
    (thrown: unknown) => thrown as LoptError,
  )
  return [error?.code, error?.message.replaceAll(file, 'FILE')]
}

describe('JSON Lines', () => {
  it('gives fields, label and line, and passes over blank lines', async () => {
    const file = fileOf(
      '.jsonl',
      '{"text":"a","label":"x"}\n\n  \n{"text":"b","label":"y","n":2}',
    )
    expect(await rowsOf(file)).toEqual([
      { fields: { text: 'a' }, label: 'x', line: 1 },
      { fields: { text: 'b', n: '2' }, label: 'y', line: 4 },
    ])
  })

  it('reads a byte order mark, CRLF, and characters that lie across chunks', async () => {
    const long = 'ü€😀'.repeat(30_000)
    const file = fileOf(
      '.jsonl',
      `\uFEFF{"text":"${long}","label":"x"}\r\n{"text":"b","label":"y"}\r\n`,
    )
    const rows = await rowsOf(file)
    expect(rows.map((row) => row.fields.text)).toEqual([long, 'b'])
    expect(rows.map((row) => row.line)).toEqual([1, 2])
  })

  it('makes text of numbers and booleans, and drops white space around labels', async () => {
    const file = fileOf(
      '.ndjson',
      '{"text":1.5,"label":true}\n{"text":false,"label":" 0 "}\n',
    )
    expect(await rowsOf(file)).toEqual([
      { fields: { text: '1.5' }, label: 'true', line: 1 },
      { fields: { text: 'false' }, label: '0', line: 2 },
    ])
  })

  it('keeps the fields that are asked for and looks at no others', async () => {
    const file = fileOf('.json', '{"a":"1","b":{"c":[]},"sentiment":"x"}')
    expect(await rowsOf(file, { fields: ['a'], labelField: 'sentiment' })).toEqual([
      { fields: { a: '1' }, label: 'x', line: 1 },
    ])
  })

  it('allows rows without a label where labels are optional', async () => {
    const file = fileOf(
      '.jsonl',
      '{"text":"a"}\n{"text":"b","label":""}\n{"text":"c","label":"x"}',
    )
    expect(await rowsOf(file, { label: 'optional' })).toEqual([
      { fields: { text: 'a' }, line: 1 },
      { fields: { text: 'b' }, line: 2 },
      { fields: { text: 'c' }, label: 'x', line: 3 },
    ])
  })

  it('keeps a field called __proto__ as a field', async () => {
    const [row] = await rowsOf(fileOf('.jsonl', '{"__proto__":"a","label":"x"}'))
    expect(Object.entries(row?.fields ?? {})).toEqual([['__proto__', 'a']])
  })

  const good = '{"text":"a","label":"x"}\n'
  it.each([
    [
      `${good}{"text":"b","label"`,
      'FILE:2: Expected a JSON object but the line is not valid JSON',
    ],
    [
      '[\n{"text":"b"}]',
      'FILE:1: Expected a JSON object but the line is not valid JSON (is the file one JSON array? It should be one object a line)',
    ],
    ['["a"]', 'FILE:1: Expected a JSON object but received an array'],
    ['null', 'FILE:1: Expected a JSON object but received null'],
    ['\n"a"', 'FILE:2: Expected a JSON object but received a string'],
    [
      `${good}{"sentence":"b","label":"x"}`,
      'FILE:2: Missing field "text", which the template uses; the row has "sentence", "label"',
    ],
    [
      '{"text":{"a":1},"label":"x"}',
      'FILE:1: Expected field "text" to be text but received an object',
    ],
    [
      '{"text":["a"],"label":"x"}',
      'FILE:1: Expected field "text" to be text but received an array',
    ],
    [
      '{"text":null,"label":"x"}',
      'FILE:1: Expected field "text" to be text but received null',
    ],
    [`${good}{"text":"a"}`, 'FILE:2: Missing label field "label"; the row has "text"'],
    [
      '{"text":"a","label":null}',
      'FILE:1: Missing label field "label"; the row has "text", "label"',
    ],
    [
      '{"text":"a","label":["x"]}',
      'FILE:1: Expected field "label" to be text but received an array',
    ],
    ['{"text":"a","label":" "}', 'FILE:1: The label is empty'],
    ['', 'FILE: The file has no rows'],
    ['\n\r\n', 'FILE: The file has no rows'],
  ])('refuses %j', async (content, message) => {
    expect(await failure(fileOf('.jsonl', content), { fields: ['text'] })).toEqual([
      'ERR_DATA',
      message,
    ])
  })

  it('refuses bytes that are not UTF-8, with their line', async () => {
    const latin = Buffer.concat([Buffer.from(good), Buffer.from([0x7b, 0xe9, 0x7d])])
    expect(await failure(fileOf('.jsonl', latin))).toEqual([
      'ERR_DATA',
      'FILE:2: The line is not UTF-8 text',
    ])
    expect(
      await failure(fileOf('.jsonl', Buffer.from(`\uFEFF${good}`, 'utf16le'))),
    ).toEqual(['ERR_DATA', 'FILE:1: The file is UTF-16; save it as UTF-8'])
  })

  it('refuses what is beyond a limit', async () => {
    const file = fileOf('.jsonl', good.repeat(20))
    expect(await failure(file, { limits: { fileBytes: 100 } })).toEqual([
      'ERR_DATA',
      'FILE: The file is larger than 100 bytes, and all rows are kept in memory; take a part of it',
    ])
    expect(await failure(file, { limits: { rows: 3 } })).toEqual([
      'ERR_DATA',
      'FILE:4: The file has more than 3 rows, and all are kept in memory; take a part of it',
    ])
    const long = fileOf('.jsonl', `${good}{"text":"${'a'.repeat(300_000)}"}`)
    expect(await failure(long, { limits: { lineBytes: 200_000 } })).toEqual([
      'ERR_DATA',
      'FILE:2: The line is longer than 200000 bytes; is this a text file with one row a line?',
    ])
  })
})

describe('CSV', () => {
  it('reads quotes, line breaks in values, CRLF and a byte order mark', async () => {
    const file = fileOf(
      '.csv',
      '\uFEFFtext, label\r\n"He said ""no"", twice", bad\r\n\r\n"two\r\nlines",good\r\nplain,good\r\n',
    )
    expect(await rowsOf(file)).toEqual([
      { fields: { text: 'He said "no", twice' }, label: 'bad', line: 2 },
      { fields: { text: 'two\nlines' }, label: 'good', line: 4 },
      { fields: { text: 'plain' }, label: 'good', line: 6 },
    ])
  })

  it.each([
    [
      'text,label\na,x\nb,c,x\n',
      'FILE:3: Expected 2 columns, as in the header row, but received 3; is there a comma inside a value?',
    ],
    [
      'text,label\na\n',
      'FILE:2: Expected 2 columns, as in the header row, but received 1; is there a comma inside a value?',
    ],
    [
      'text,label\na,x\n"b,x\nc,x\n',
      'FILE:3: A quote is opened in this row and never closed',
    ],
    [
      'text,label\na,x\n5" disk,x\n',
      'FILE:3: A quote stands inside a value without quotes; quote the whole value and write "" for each quote in it',
    ],
    [
      'text,label\n"a"b,x\n',
      'FILE:2: Text follows a closing quote; write "" for a quote inside quotes',
    ],
    [
      'I liked it,good\nI did not,bad\n',
      'FILE:2: Missing field "text", which the template uses; the row has "I liked it", "good"',
    ],
    ['text,\na,x\n', 'FILE:1: Column 2 of the header row has no name'],
    ['text,label,text\na,x,b\n', 'FILE:1: The header row names the column "text" twice'],
    ['text\na\n', 'FILE:2: Missing label field "label"; the row has "text"'],
    ['text,label\n', 'FILE: The file has no rows'],
    ['', 'FILE: The file has no rows'],
  ])('refuses %j', async (content, message) => {
    expect(await failure(fileOf('.csv', content), { fields: ['text'] })).toEqual([
      'ERR_DATA',
      message,
    ])
  })

  it('does not read on for ever after a quote that is never closed', async () => {
    const file = fileOf('.csv', `text,label\n"a,x\n${'b,y\n'.repeat(1000)}`)
    expect(await failure(file, { limits: { lineBytes: 500 } })).toEqual([
      'ERR_DATA',
      'FILE:2: The row is too long; is a quote opened in it and never closed?',
    ])
  })
})

describe('TSV', () => {
  it('takes quotes as characters like others', async () => {
    const file = fileOf('.TSV', 'text\tlabel\n"open\tx\n5" disk, "new"\ty\n')
    expect(await rowsOf(file)).toEqual([
      { fields: { text: '"open' }, label: 'x', line: 2 },
      { fields: { text: '5" disk, "new"' }, label: 'y', line: 3 },
    ])
  })

  it('names the line of a row with too many columns', async () => {
    expect(await failure(fileOf('.tsv', 'text\tlabel\na\tx\nb\tc\tx\n'))).toEqual([
      'ERR_DATA',
      'FILE:3: Expected 2 columns, as in the header row, but received 3; is there a tab inside a value?',
    ])
  })
})

describe('a data file', () => {
  it('is refused by name if it is unknown', async () => {
    expect(await failure(fileOf('.xlsx', ''))).toEqual([
      'ERR_UNSUPPORTED',
      'FILE: Expected a data file that ends in .jsonl, .ndjson, .json, .csv, .tsv, .parquet',
    ])
  })

  it('that cannot be read is an ERR_IO', async () => {
    const absent = join(folder, 'absent.csv')
    expect(await failure(absent)).toEqual([
      'ERR_IO',
      'Cannot read FILE: there is no such file',
    ])
    const directory = join(folder, 'folder.csv')
    mkdirSync(directory)
    expect(await failure(directory)).toEqual([
      'ERR_IO',
      'Cannot read FILE: it is a folder',
    ])
  })

  it('that may not be read is an ERR_IO', async ({ skip }) => {
    if (process.getuid?.() === 0) skip('root may read every file')
    const file = fileOf('.jsonl', '{}')
    chmodSync(file, 0)
    expect(await failure(file)).toEqual(['ERR_IO', 'Cannot read FILE: permission denied'])
  })
})
