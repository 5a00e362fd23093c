import { Command, CommanderError } from 'commander'
import { expect, test } from 'vitest'
import {
  addOptions,
  choice,
  flag,
  integer,
  list,
  notNegative,
  type OptionTable,
  type OptionValues,
  optional,
  optionValues,
  positive,
  required,
  text,
  withDefault,
  withFlags,
} from '../../lib/cli/options.js'

function parse<Table extends OptionTable>(
  table: Table,
  ...args: string[]
): OptionValues<Table> {
  const command = new Command('x')
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {} })
  addOptions(command, table)
  command.parse(args, { from: 'user' })
  return optionValues(command, table)
}

function messageOf(table: OptionTable, ...args: string[]): string {
  try {
    parse(table, ...args)
  } catch (error) {
    if (error instanceof CommanderError) return error.message
    throw error
  }
  throw new Error('expected a refusal')
}

const table = {
  name: required('--name <text>', 'a name', text),
  maxSteps: withDefault('--max-steps <n>', 'steps', integer(1), 100),
  lr: optional('--lr <rate>', 'rate', positive),
  clip: withDefault('--clip <norm>', 'norm', notNegative, 1),
  kind: withDefault('--kind <kind>', 'kind', choice(['a', 'b']), 'a'),
  labels: optional('--labels <names>', 'labels', list),
  shuffle: flag('--no-shuffle', 'keep the order'),
  json: flag('--json', 'lines'),
}

test('gives typed values and defaults', () => {
  expect(parse(table, '--name', 'x')).toEqual({
    name: 'x',
    maxSteps: 100,
    lr: undefined,
    clip: 1,
    kind: 'a',
    labels: undefined,
    shuffle: true,
    json: false,
  })
  const given = [
    '--name',
    'x',
    '--max-steps',
    '5',
    '--lr',
    '1e-3',
    '--clip',
    '0',
    '--kind',
    'b',
  ]
  expect(
    parse(table, ...given, '--labels', 'good, bad', '--no-shuffle', '--json'),
  ).toEqual({
    name: 'x',
    maxSteps: 5,
    lr: 0.001,
    clip: 0,
    kind: 'b',
    labels: ['good', 'bad'],
    shuffle: false,
    json: true,
  })
})

test.each([
  ['--max-steps', '0', 'Expected an integer of 1 or more.'],
  ['--max-steps', '1.5', 'Expected an integer of 1 or more.'],
  ['--max-steps', '0x10', 'Expected an integer of 1 or more.'],
  ['--max-steps', '99999999999999999999', 'Expected an integer of 1 or more.'],
  ['--max-steps', '', 'Expected an integer of 1 or more.'],
  ['--lr', '0', 'Expected a number above 0.'],
  ['--lr', 'NaN', 'Expected a number above 0.'],
  ['--lr', '1e999', 'Expected a number above 0.'],
  ['--clip', '-1', 'Expected a number of 0 or more.'],
  ['--kind', 'c', 'Allowed choices are a, b.'],
  ['--labels', 'a,,b', 'Expected names with commas between them.'],
  ['--name', '', 'Expected text'],
])('refuses %s %j and says what it expects', (flags, value, message) => {
  const args = flags === '--name' ? [] : ['--name', 'x']
  expect(messageOf(table, ...args, `${flags}=${value}`)).toContain(message)
})

test('refuses a missing required option', () => {
  expect(messageOf(table)).toContain("required option '--name <text>' not specified")
})

test('refuses a table whose key is not the option name', () => {
  expect(() => addOptions(new Command(), { other: flag('--json', 'lines') })).toThrow(
    'The option --json is json, not other',
  )
})

test.each([
  [
    'Expected maxSteps in 1..9 but received 10',
    'Expected --max-steps in 1..9 but received 10',
  ],
  ['Expected clip to be 0 or more', 'Expected --clip to be 0 or more'],
  [
    'Expected steps to be a number; Expected clip to be a number above 0 but received 0',
    'Expected steps to be a number; Expected --clip to be a number above 0 but received 0',
  ],
  ['Expected learningRate in 0..1', 'Expected --lr in 0..1'],
  ['needs names: give `labels`', 'needs names: give --labels'],
  ['it was refused: give maxSteps.', 'it was refused: give --max-steps.'],
  // words and names that are no options
  ['Two labels have the same name', 'Two labels have the same name'],
  ['Expected a kind of text', 'Expected a kind of text'],
  ['Expected dim in 1..2', 'Expected dim in 1..2'],
  ['/a/maxSteps/b.jsonl:3: no "maxSteps"', '/a/maxSteps/b.jsonl:3: no "maxSteps"'],
])('says %j as %j', (message, said) => {
  const command = new Command('x')
  addOptions(command, table)
  expect(withFlags(message, command)).toBe(said)
})
