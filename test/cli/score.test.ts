import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSafetensors, writeSafetensors } from '../../lib/torch/index.js'
import {
  backbone,
  lopt,
  type Outcome,
  reviews,
  trainedPrompt,
  writeRows,
} from './run-cli.js'

const { folder, data, prompt } = trainedPrompt()

function score(...args: string[]): Promise<Outcome> {
  return lopt(['score', '--backbone', backbone, ...args])
}

test('prints a JSON line a row, with the template and labels of the prompt file', async () => {
  const texts = ['The film was', 'The dog was late and nobody knows', 'It was']
  const rows = writeRows(
    folder,
    'new.jsonl',
    texts.map((text) => ({ text })),
  )
  const { code, events, stderr } = await score(
    '--prompt',
    prompt,
    '--data',
    rows,
    '--json',
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(events.map(({ row }) => row)).toEqual([0, 1, 2])
  for (const event of events) {
    const { scores, prediction } = event as {
      scores: Record<string, number>
      prediction: string
    }
    expect(Object.keys(event)).toEqual(['row', 'scores', 'prediction'])
    expect(Object.keys(scores)).toEqual(['bad', 'good'])
    for (const value of Object.values(scores)) expect(value).toBeLessThan(0)
    expect(scores[prediction]).toBe(Math.max(...Object.values(scores)))
  }
})

test('scores more rows than are read at once, and counts the labelled ones that are right', async () => {
  const rows = writeRows(folder, 'many.jsonl', [...reviews(300), { text: 'It was' }])
  const { code, events, stderr } = await score(
    '--prompt',
    prompt,
    '--data',
    rows,
    '--json',
  )
  expect(code).toBe(0)
  expect(events.map(({ row }) => row)).toEqual(Array.from({ length: 301 }, (_, i) => i))
  const right = reviews(300).filter(
    ({ label }, i) => events[i]?.prediction === label,
  ).length
  expect(stderr).toBe(
    `${((100 * right) / 300).toFixed(1)} % of 300 labelled rows are right\n`,
  )
})

test('prints a table for people', async () => {
  const { code, stdout } = await score('--prompt', prompt, '--data', data)
  expect(code).toBe(0)
  const lines = stdout.trimEnd().split('\n')
  expect(lines).toHaveLength(61)
  expect(lines[0]).toMatch(/^ +row {2}prediction +bad +good {2}text$/)
  expect(lines[1]).toMatch(
    /^ +0 {2}(good|bad) +-\d+\.\d{4} +-\d+\.\d{4} {2}The film was late/,
  )
})

test('takes template and labels from the command line, with or without a prompt', async () => {
  const rows = writeRows(folder, 'fields.jsonl', [{ who: 'dog', how: 'late' }])
  const format = ['--template', 'The {who} was {how}, and', '--labels', 'good,bad,maybe']
  for (const file of [[], ['--prompt', prompt]]) {
    const { code, events } = await score(...file, '--data', rows, ...format, '--json')
    expect(code).toBe(0)
    const { scores } = events[0] as { scores: Record<string, number> }
    expect(Object.keys(scores)).toEqual(['good', 'bad', 'maybe'])
  }
})

test('counts the rows that are cut to fit', async () => {
  const rows = writeRows(folder, 'long.jsonl', [
    { text: 'and late '.repeat(99) },
    { text: 'a' },
  ])
  const { code, stderr } = await score('--prompt', prompt, '--data', rows)
  expect(code).toBe(0)
  expect(stderr).toBe('1 of 2 rows were cut to fit\n')
})

test.each([
  [['--labels', 'good,bad'], 'Without --prompt give --template'],
  [['--template', '{text}'], 'Without --prompt give --labels'],
  [['--template', '{text}', '--labels', 'good,good'], 'have the same words, "good"'],
])('exits 2 for %j without a prompt file', async (args, message) => {
  const { code, stderr } = await score('--data', data, ...args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test('names file and line of a row without a field', async () => {
  const rows = writeRows(folder, 'wrong.jsonl', [{ text: 'a' }, { review: 'b' }])
  const { code, stderr, events } = await score(
    '--prompt',
    prompt,
    '--data',
    rows,
    '--json',
  )
  expect(code).toBe(1)
  const message = `${rows}:2: Missing field "text", which the template uses; the row has "review"`
  expect(stderr).toBe(`lopt: ERR_DATA: ${message}\n`)
  expect(events).toEqual([{ type: 'error', code: 'ERR_DATA', message }])
})

test('names file and line of a text without tokens, and scores the rows read before', async () => {
  const rows = writeRows(folder, 'empty-text.jsonl', [
    ...reviews(300),
    { text: 'a' },
    { text: '' },
  ])
  const format = ['--template', '{text}', '--labels', 'good,bad']
  const { code, stderr, events } = await score('--data', rows, ...format, '--json')
  expect(code).toBe(1)
  const message = `${rows}:302: the text has no tokens`
  expect(stderr).toBe(`lopt: ERR_DATA: ${message}\n`)
  expect(events).toHaveLength(256 + 1)
  expect(events.at(-1)).toEqual({ type: 'error', code: 'ERR_DATA', message })
})

test('scores texts from the command line, and one from standard input', async () => {
  const texts = ['The film was', 'It was']
  const rows = writeRows(
    folder,
    'texts.jsonl',
    texts.map((text) => ({ text })),
  )
  const expected = await score('--prompt', prompt, '--data', rows, '--json')
  expect(expected.code).toBe(0)
  const given = ['--text', 'The film was', '--text']
  const typed = await score('--prompt', prompt, ...given, 'It was', '--json')
  expect(typed).toMatchObject({ code: 0, stderr: '', events: expected.events })
  const piped = await lopt(
    ['score', '--backbone', backbone, '--prompt', prompt, ...given, '-', '--json'],
    { stdin: 'It was\n' },
  )
  expect(piped).toMatchObject({ code: 0, stderr: '', events: expected.events })
})

test.each([
  [
    'jsonl',
    (rows: { text: string; label: string }[]) => rows.map((row) => JSON.stringify(row)),
  ],
  [
    'csv',
    (rows) => ['text,label', ...rows.map(({ text, label }) => `"${text}",${label}`)],
  ],
  [
    'tsv',
    (rows) => ['label\ttext', ...rows.map(({ text, label }) => `${label}\t${text}`)],
  ],
])('reads rows from standard input as %s', async (format, lines) => {
  const expected = await score('--prompt', prompt, '--data', data, '--json')
  const named = format === 'jsonl' ? [] : ['--format', format]
  const piped = await lopt(
    [
      'score',
      '--backbone',
      backbone,
      '--prompt',
      prompt,
      '--data',
      '-',
      ...named,
      '--json',
    ],
    { stdin: `${lines(reviews(60)).join('\n')}\n` },
  )
  expect(piped.code).toBe(0)
  expect(piped.events).toEqual(expected.events)
  expect(piped.stderr).toBe(expected.stderr)
})

test.each([
  ['{"text": "a"}\n{"review": "b"}\n', 'standard input:2: Missing field "text"'],
  ['{"text": "a"}\nb\n', 'standard input:2: Expected a JSON object'],
  ['{"text": ""}\n', 'standard input:1: the text has no tokens'],
  ['', 'standard input: The file has no rows'],
])('names the line of standard input: %j', async (stdin, message) => {
  const format = ['--template', '{text}', '--labels', 'good,bad']
  const args = ['score', '--backbone', backbone, '--data', '-', ...format]
  const { code, stderr } = await lopt(args, { stdin })
  expect(code).toBe(1)
  expect(stderr).toContain(`lopt: ERR_DATA: ${message}`)
})

test.each([
  [['--text', 'a', '--data', 'b.jsonl'], 'Give either --data or --text, not both'],
  [['--text', 'a', '--split', 'dev'], '--split has no meaning with --text'],
  [['--text', 'a', '--splits', 'official'], '--splits has no meaning with --text'],
  [['--text', '-', '--text', '-'], 'give it once'],
  [['--text', 'a', '--template', '{a} {b}'], 'for a template of one field'],
  [['--data', 'b.csv', '--format', 'csv'], "--format is for --data -: a file's name"],
  [['--text', 'a', '--format', 'csv'], '--format is for --data -\n'],
  [['--data', '-', '--format', 'parquet'], 'Allowed choices are jsonl, csv, tsv'],
])('exits 2 for %j', async (args, message) => {
  const { code, stderr } = await score('--prompt', prompt, ...args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test.each([
  ['--text', '-', '--text', '-'],
  ['--text', 'a', '--template', '{a} {b}'],
])('says what is wrong with texts before it opens a model: %j', async (...args) => {
  const { code, stdout } = await lopt(['score', '--backbone', 'nowhere', ...args])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
})

test("says before the table that a prompt file's template has two fields", async () => {
  const file = openSafetensors(prompt)
  const two = join(folder, 'two-fields.lopt.safetensors')
  const tensors = Object.fromEntries(file.names.map((name) => [name, file.tensor(name)]))
  const metadata = { ...file.metadata, template: '{a} {b}' }
  await writeSafetensors(two, tensors, { metadata })
  const { code, stdout, stderr } = await score('--prompt', two, '--text', 'a')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain('--text is for a template of one field')
})

test('gives the same scores with --no-fast-paths', async () => {
  const args = ['--prompt', prompt, '--data', data, '--json']
  const [fast, full] = [await score(...args), await score(...args, '--no-fast-paths')]
  expect([fast.code, full.code]).toEqual([0, 0])
  const goodOf = ({ events }: Outcome) =>
    events.map(({ scores }) => (scores as Record<string, number>).good as number)
  const expected = goodOf(fast)
  goodOf(full).forEach((value, i) => {
    expect(value).toBeCloseTo(expected[i] as number, 3)
  })
})

test('takes a prompt of another backbone of the same size only when told to', async () => {
  const other = join(folder, 'other')
  cpSync(backbone, other, { recursive: true })
  const weights = join(backbone, 'model.safetensors')
  const file = openSafetensors(weights)
  const tensors = Object.fromEntries(
    file.names.map((name) => [name, file.tensor(name).mul(1.5)]),
  )
  await writeSafetensors(join(other, 'model.safetensors'), tensors)
  const args = [
    'score',
    '--backbone',
    other,
    '--prompt',
    prompt,
    '--data',
    data,
    '--json',
  ]
  const refused = await lopt(args)
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(
    /^lopt: ERR_PROMPT_FILE: .* was trained on the backbone [0-9a-f]{64}, but /,
  )
  expect(refused.stderr).toContain(
    ': load it with --allow-other-backbone if that is wanted\n',
  )
  const taken = await lopt([...args, '--allow-other-backbone'])
  expect(taken.code).toBe(0)
})

test('warns in one line about a prompt that does not name its backbone', async () => {
  const file = openSafetensors(prompt)
  const { backbone: _, ...metadata } = file.metadata
  const unnamed = join(folder, 'unnamed.lopt.safetensors')
  const tensors = Object.fromEntries(file.names.map((name) => [name, file.tensor(name)]))
  await writeSafetensors(unnamed, tensors, { metadata })
  const rows = writeRows(folder, 'one.jsonl', [{ text: 'It was' }])
  const { code, stderr } = await score('--prompt', unnamed, '--data', rows, '--json')
  expect(code).toBe(0)
  expect(stderr).toMatch(/^lopt: warning: .*does not say which backbone.*\n$/)
})
