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
