import { expect, test } from 'vitest'
import {
  backbone,
  lopt,
  type Outcome,
  otherBackbone,
  reviews,
  trainedPrompt,
  writeRows,
} from './run-cli.js'

const { folder, data, prompt } = trainedPrompt()

function evaluate(...args: string[]): Promise<Outcome> {
  return lopt(['eval', '--backbone', backbone, ...args])
}

test('ends with the result as JSON', async () => {
  const { code, events, stderr } = await evaluate(
    '--prompt',
    prompt,
    '--data',
    data,
    '--json',
  )
  expect(code).toBe(0)
  const result = events.at(-1) as { accuracy: number; confusion: number[][] }
  expect(result).toMatchObject({
    type: 'result',
    split: null,
    rows: 60,
    truncated: 0,
    labels: ['bad', 'good'],
    majority: { label: 'good', from: 'data', accuracy: 40 / 60 },
  })
  const [[a, b], [c, d]] = result.confusion as [[number, number], [number, number]]
  expect([a + b, c + d]).toEqual([20, 40])
  expect(result.accuracy).toBeCloseTo((a + d) / 60, 12)
  expect(stderr).toMatch(/^lopt-1 +74 +\d+\.\d %/m)
})

test.each([
  ['--prompt', prompt],
  ['--hard', '--template', '{text} It was'],
])('evaluates the rows of standard input as those of a file, with %s', async (...how) => {
  const rows = reviews(60)
  const stdin = rows.map((row) => `${JSON.stringify(row)}\n`).join('')
  const args = ['eval', '--backbone', backbone, ...how, '--data', '-', '--json']
  const piped = await lopt(args, { stdin })
  const file = await evaluate(...how, '--data', data, '--json')
  expect([piped.code, file.code]).toEqual([0, 0])
  const [result, expected] = [piped.events.at(-1), file.events.at(-1)]
  expect(result).toEqual({
    ...expected,
    task: 'standard input',
    seconds: expect.any(Number),
  })
})

test('names the line of standard input whose label the prompt was not trained for', async () => {
  const rows = [...reviews(1), { text: 'The film was', label: 'excellent' }]
  const { code, stderr } = await lopt(
    ['eval', '--backbone', backbone, '--prompt', prompt, '--data', '-'],
    { stdin: rows.map((row) => JSON.stringify(row)).join('\n') },
  )
  expect(code).toBe(1)
  expect(stderr).toContain('standard input:2')
})

test('prints a table with the majority beside it, and the confusion', async () => {
  const { code, stdout } = await evaluate('--prompt', prompt, '--data', data)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^lopt-1 +74 +\d+\.\d % +\d+\.\d % +\d+\.\d{4}$/m)
  expect(stdout).toMatch(/^always good +0 +66\.7 % +40\.0 %$/m)
  expect(stdout).toMatch(/^label \\ predicted +bad +good$/m)
  expect(stdout).toContain(
    '"always good" gives every row the most frequent label of these very rows\n',
  )
  expect(stdout).toMatch(/^60 rows, /m)
})

test('evaluates the template alone with --hard', async () => {
  const args = [
    '--hard',
    '--data',
    data,
    '--template',
    '{text} It was',
    '--labels',
    'good,bad',
  ]
  const { code, stdout, stderr } = await evaluate(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^hard prompt +0 +\d+\.\d %/m)
  expect(stdout).toMatch(/^label \\ predicted +good +bad$/m)
})

test('evaluates a split of a bundled task', async () => {
  const args = [
    '--hard',
    '--task',
    'topics',
    '--split',
    'dev',
    '--batch-size',
    '64',
    '--json',
  ]
  const { code, events, stderr } = await evaluate(...args)
  expect(code).toBe(0)
  expect(events.at(-1)).toMatchObject({
    type: 'result',
    task: 'topics',
    split: 'dev',
    majority: { from: 'train' },
  })
  expect(stderr).toMatch(/^"always .*" gives every row .* label of the training rows$/m)
})

test('gives the same figures with --no-fast-paths', async () => {
  const args = ['--prompt', prompt, '--data', data, '--json']
  const [fast, full] = [
    await evaluate(...args),
    await evaluate(...args, '--no-fast-paths'),
  ]
  expect([fast.code, full.code]).toEqual([0, 0])
  const [a, b] = [fast, full].map(({ events }) => events.at(-1) as { loss: number })
  expect(b).toMatchObject({ confusion: expect.any(Array) })
  expect(b?.loss).toBeCloseTo(a?.loss as number, 4)
})

test('exits 2 where the words of the template leave no room for a text', async () => {
  const args = ['--hard', '--data', data, '--template', `{text} ${'late '.repeat(70)}`]
  const { code, stderr } = await evaluate(...args)
  expect(code).toBe(2)
  expect(stderr).toMatch(
    /^lopt: The template's own words are \d+ tokens, more than the 63/,
  )
})

test.each([
  [[], 'Give either --prompt FILE, or --weights FILE'],
  [['--hard', '--prompt', 'x'], 'Give either --prompt FILE, or --weights FILE'],
  [
    ['--hard', '--data', 'x.jsonl', '--split', 'dev'],
    '--split has no meaning with --data',
  ],
  [['--hard'], 'Give --data FILE, or --task NAME'],
])('exits 2 for %j', async (args, message) => {
  const { code, stderr } = await evaluate(...args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test('refuses a label that the prompt was not trained for, with its line', async () => {
  const rows = writeRows(folder, 'other.jsonl', [
    ...reviews(4),
    { text: 'x', label: 'maybe' },
  ])
  const { code, stderr } = await evaluate('--prompt', prompt, '--data', rows)
  expect(code).toBe(1)
  expect(stderr).toContain(
    `lopt: ERR_DATA: ${rows}:5: The label "maybe" is not one of "bad", "good"`,
  )
})

test('refuses a prompt of another backbone, naming both', async () => {
  const args = ['eval', '--backbone', otherBackbone, '--prompt', prompt, '--data', data]
  const { code, stderr } = await lopt(args)
  expect(code).toBe(1)
  expect(stderr).toMatch(/^lopt: ERR_PROMPT_FILE: .*hidden size 32.*has 24\n$/)
})

test('refuses a file that is no prompt', async () => {
  const { code, stderr } = await evaluate('--prompt', data, '--data', data)
  expect(code).toBe(1)
  expect(stderr).toMatch(/^lopt: ERR_PROMPT_FILE: /)
  expect(stderr).toContain(data)
})
