import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { backbone, lopt, type Outcome } from './run-cli.js'

function generate(args: readonly string[], stdin?: string): Promise<Outcome> {
  return lopt(['generate', '--backbone', backbone, ...args], { stdin })
}

test('streams the text', async () => {
  const args = ['--text', 'The film was', '--max-new-tokens', '8']
  const plain = await generate(args)
  const json = await generate([...args, '--json'])
  expect([plain.code, json.code]).toEqual([0, 0])
  const tokens = json.events.filter(({ type }) => type === 'token')
  expect(tokens).toHaveLength(8)
  expect(Object.keys(tokens[0] ?? {})).toEqual(['type', 'token', 'text'])
  const done = json.events.at(-1)
  expect(done).toMatchObject({ type: 'done', finishReason: 'length' })
  expect(plain.stdout).toBe(`${done?.text}\n`)
  expect(plain.stderr).toBe('')
})

test('reads the text from standard input without its last line break', async () => {
  const args = ['--max-new-tokens', '5', '--json']
  const piped = await generate(args, 'The film was\n')
  const given = await generate([...args, '--text', 'The film was'])
  expect(piped.code).toBe(0)
  expect(piped.stdout).toBe(given.stdout)
})

test('reads the text from standard input where --text says so', async () => {
  const args = ['--max-new-tokens', '5', '--json']
  const piped = await generate([...args, '--text', '-'], 'The film was\n')
  const given = await generate([...args, '--text', 'The film was'])
  expect(piped.code).toBe(0)
  expect(piped.stdout).toBe(given.stdout)
})

test.each([
  ['a folder', '<.', 'it is a folder'],
  ['open for writing only', '>/dev/null', 'EBADF'],
])('says why standard input cannot be read: %s', async (_, opened, why) => {
  const launcher = ['sh', '-c', `exec "$@" 0${opened}`, 'sh']
  const args = ['generate', '--backbone', backbone]
  const { code, stdout, stderr } = await lopt(args, { launcher, stdin: null })
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toContain(`lopt: ERR_IO: Cannot read standard input: ${why}`)
})

test('samples by seed', async () => {
  const args = ['--text', 'The film', '--max-new-tokens', '12', '--json']
  const sampling = ['--temperature', '1.5', '--top-k', '50', '--top-p', '0.95']
  const more = ['--repetition-penalty', '1.2', '--min-new-tokens', '3']
  const run = (seed: string) => generate([...args, ...sampling, ...more, '--seed', seed])
  const [first, same, other] = await Promise.all([run('1'), run('1'), run('2')])
  expect(first.code).toBe(0)
  expect(same.stdout).toBe(first.stdout)
  expect(other.stdout).not.toBe(first.stdout)
})

test('ends where the positions end', async () => {
  const { events } = await generate([
    '--text',
    'a',
    '--min-new-tokens',
    '99',
    '--max-new-tokens',
    '99',
    '--json',
  ])
  expect(events.at(-1)).toMatchObject({ type: 'done', finishReason: 'positions' })
})

test.each([
  [['--top-p', '1.5'], 'Expected a number above 0, at most 1.'],
  [['--temperature', '-1'], 'Expected a number of 0 or more.'],
  [['--max-new-tokens', '0'], 'Expected an integer of 1 or more.'],
  [['--text', 'late '.repeat(99)], 'Expected a text of 1..63 tokens'],
])('exits 2 for %j', async (args, message) => {
  const { code, stdout, stderr } = await generate(['--text', 'a', ...args])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(message)
})

test('continues several texts together, each as it is continued alone', async () => {
  const args = ['--max-new-tokens', '5', '--json']
  const both = await generate([...args, '--text', 'The film', '--text', 'A dog was'])
  expect(both.code).toBe(0)
  for (const [row, text] of ['The film', 'A dog was'].entries()) {
    const alone = await generate([...args, '--text', text])
    const own = both.events.find((event) => event.type === 'done' && event.row === row)
    expect({ ...own, row: undefined }).toEqual({ ...alone.events.at(-1), row: undefined })
  }
})

test('continues the rows of a file, and goes on behind those that are there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lopt-generate-'))
  const data = join(folder, 'rows.jsonl')
  const out = join(folder, 'out.jsonl')
  const rows = ['The film', 'A dog was', 'It']
  writeFileSync(
    data,
    rows.map((title) => `${JSON.stringify({ title, n: null })}\n`).join(''),
  )
  const args = ['--data', data, '--template', '{title} was', '--max-new-tokens', '4']
  const whole = await generate([...args, '--batch-size', '2'])
  expect(whole.code).toBe(0)
  const sorted = (text: string) => text.trimEnd().split('\n').sort()
  const lines = sorted(whole.stdout)
  const alone = await generate(['--text', 'It was', '--max-new-tokens', '4'])
  expect(JSON.parse(lines[2] as string)).toEqual({
    row: 2,
    title: 'It',
    generated: alone.stdout.slice(0, -1),
    finishReason: 'length',
  })
  // stopped behind a row, in the middle of the next line
  writeFileSync(out, `${lines[1]}\n{"row": 0, "ti`)
  const rest = await generate([...args, '--out', out])
  expect(rest).toMatchObject({ code: 0, stdout: '' })
  expect(rest.stderr).toContain('1 of 3 rows are in')
  expect(sorted(readFileSync(out, 'utf8'))).toEqual(lines)
  rmSync(folder, { recursive: true })
})
