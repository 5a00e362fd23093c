import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { openSafetensors } from '../../lib/torch/index.js'
import {
  backbone,
  jsonLines,
  lopt,
  type Outcome,
  quick,
  reviews,
  temporaryFolder,
  writeRows,
} from './run-cli.js'

const PROMPT_FILE = 'prompt.lopt.safetensors'
const folder = temporaryFolder()
const data = writeRows(folder, 'rows.jsonl', reviews(60))
let runs = 0
const newOut = () => join(folder, `run${++runs}`)

function train(...args: string[]): Promise<Outcome> {
  return lopt(['train', ...quick, ...args])
}

function configOf(out: string): unknown {
  return JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))
}

let json: Outcome
const jsonOut = newOut()
beforeAll(async () => {
  json = await train(
    '--data',
    data,
    '--steps',
    '10',
    '--seed',
    '7',
    '--out',
    jsonOut,
    '--json',
  )
})

test('prints the events of a run as JSON lines', () => {
  expect(json.code).toBe(0)
  const { events } = json
  expect(events[0]).toMatchObject({
    type: 'start',
    steps: 10,
    trainableParameters: 2 * (5 + 32),
    trainRows: 54,
    devRows: 6,
    heldOut: 6,
    truncated: 0,
  })
  const steps = events.filter(({ type }) => type === 'step')
  expect(steps.map(({ step }) => step)).toEqual(
    Array.from({ length: 10 }, (_, i) => i + 1),
  )
  for (const { loss } of steps) expect(loss).toBeTypeOf('number')
  // a tenth of the steps apart
  expect(events.filter(({ type }) => type === 'eval').map(({ step }) => step)).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
  ])
  expect(events.at(-1)).toMatchObject({
    type: 'done',
    steps: 10,
    path: join(jsonOut, PROMPT_FILE),
  })
})

test('writes configuration, events and prompt to the run folder', () => {
  expect(readdirSync(jsonOut).sort()).toEqual([
    'checkpoint',
    'config.json',
    expect.stringMatching(/^events\.out\.tfevents\./),
    'metrics.jsonl',
    PROMPT_FILE,
  ])
  expect(jsonLines(readFileSync(join(jsonOut, 'metrics.jsonl'), 'utf8'))).toEqual(
    json.events.filter(({ type }) => type !== 'checkpoint'),
  )
  expect(configOf(jsonOut)).toMatchObject({ training: { steps: 10, seed: 7 } })
  const { metadata } = openSafetensors(join(jsonOut, PROMPT_FILE))
  expect(metadata).toMatchObject({
    method: 'lopt-1',
    template: '{text} It was',
    rank: '2',
  })
})

test('writes everything needed to run it again to config.json', async () => {
  expect(configOf(jsonOut)).toMatchObject({
    versions: { lopt: expect.any(String), torch: expect.stringMatching(/^2\./) },
    backbone: { source: backbone, dtype: 'float32', device: 'cpu' },
    prompt: { method: 'lopt-1', rank: 2, start: { init: 'vocab', seed: 7 } },
    task: {
      template: '{text} It was',
      labels: { bad: 'bad', good: 'good' },
      rows: { train: 54, dev: 6, test: 0, heldOut: 6 },
      source: { data, labelField: 'label', seed: 7, devFraction: 0.1 },
    },
    training: { maxLength: 64 - 5 - 1, learningRate: 0.3, evalEvery: 1 },
  })
  const dev = writeRows(folder, 'dev-rows.jsonl', reviews(6))
  const out = newOut()
  const start = join(jsonOut, PROMPT_FILE)
  const { code } = await lopt(
    ['train', ...quick, '--data', 'rows.jsonl', '--eval-data', 'dev-rows.jsonl'].concat([
      '--init',
      `run1/${PROMPT_FILE}`,
      '--steps',
      '1',
      '--out',
      out,
    ]),
    { cwd: folder },
  )
  expect(code).toBe(0)
  expect(configOf(out)).toMatchObject({
    prompt: { start: { init: start, seed: 0 } },
    task: { source: { data, evalData: dev, labelField: 'label', seed: 0 } },
  })
})

test('keeps what people read on stderr with --json', () => {
  expect(json.stderr).toMatch(
    /^prompt +lopt-1, 5 x 32, rank 2: 74 trainable parameters$/m,
  )
  expect(json.stderr).toMatch(/^lopt-1 +74 +\d+\.\d %/m)
})

test('says what is trained, on what, how it goes and where the prompt is', async () => {
  const out = newOut()
  const { code, stdout, stderr } = await train(
    ...[
      '--data',
      data,
      '--method',
      'lopt-2',
      '--steps',
      '10',
      '--eval-every',
      '5',
      '--out',
      out,
    ],
  )
  expect(code).toBe(0)
  expect(stderr).toContain(`backbone       ${backbone} (3 layers, float32, cpu)\n`)
  expect(stderr).toContain(
    'prompt         lopt-2, 5 x 32, rank 2: 128 trainable parameters\n',
  )
  expect(stderr).toContain('train rows     54, 0 of them cut to fit\n')
  expect(stderr).toContain('eval rows      6, held out of --data by seed 0\n')
  expect(stderr).toMatch(/^step 1\/10 {2}loss \d+\.\d{4} {2}.*steps?.* left$/m)
  expect(stderr).toMatch(/^eval at step 5: accuracy \d+\.\d %, macro-F1 .* best so far$/m)
  expect(stdout).toMatch(/^lopt-2 +128 +\d+\.\d % +\d+\.\d % +(5|10)\/10 /m)
  expect(stdout).toMatch(/^always good +0 +\d+\.\d %/m)
  expect(stdout).toMatch(/^"always good" gives .* label of the training rows$/m)
  expect(stdout).toContain(`prompt:     ${join(out, PROMPT_FILE)}\nrun folder: ${out}\n`)
})

test('gives the same losses again in another process', async () => {
  const out = newOut()
  const again = await train(
    '--data',
    data,
    '--steps',
    '10',
    '--seed',
    '7',
    '--out',
    out,
    '--json',
  )
  const losses = ({ events }: Outcome) => events.map(({ loss }) => loss)
  expect(losses(again)).toEqual(losses(json))
})

test('takes the options of the method, the start and the optimizer', async () => {
  const out = newOut()
  const { code, events } = await lopt([
    ...['train', '--backbone', backbone, '--data', data, '--template', '{text} It was'],
    ...[
      '--method',
      'lopt-2',
      '--activation',
      'soft-threshold',
      '--activation-threshold',
      '0.05',
    ],
    ...[
      '--length',
      '6',
      '--rank',
      '3',
      '--placement',
      'suffix',
      '--init',
      'text:The film was good',
    ],
    ...[
      '--objective',
      'verbalizer',
      '--optimizer',
      'adamw',
      '--weight-decay',
      '0.01',
      '--lr',
      '0.02',
    ],
    ...[
      '--schedule',
      'cosine',
      '--warmup-steps',
      '2',
      '--batch-size',
      '8',
      '--accumulate',
      '2',
    ],
    ...[
      '--clip',
      '0.5',
      '--no-shuffle',
      '--no-fast-paths',
      '--max-length',
      '30',
      '--eval-every',
      '0',
      '--steps',
      '4',
    ],
    ...['--dtype', 'float64', '--device', 'cpu', '--seed', '3', '--out', out, '--json'],
  ])
  expect(code).toBe(0)
  expect(configOf(out)).toMatchObject({ training: { shuffle: false, fastPaths: false } })
  expect(events.map(({ type }) => type)).toEqual([
    'start',
    ...['step', 'checkpoint', 'step', 'checkpoint', 'step', 'checkpoint', 'step'],
    'done',
  ])
  const rates = events
    .filter(({ type }) => type === 'step')
    .map((event) => event.learningRate)
  expect(rates.slice(0, 2)).toEqual([0, 0.01])
  expect(rates[2]).toBeCloseTo(0.02, 12)
})

test('evaluates on the rows of --eval-data', async () => {
  const dev = writeRows(folder, 'dev.jsonl', reviews(9))
  const { events, stderr } = await train(
    ...['--data', data, '--eval-data', dev, '--steps', '2', '--out', newOut(), '--json'],
  )
  expect(events[0]).toMatchObject({ trainRows: 60, devRows: 9, heldOut: 0 })
  expect(stderr).toContain('eval rows      9\n')
})

test('counts the rows that are cut to fit the positions', async () => {
  const long = { text: 'and late '.repeat(100), label: 'bad' }
  const rows = writeRows(folder, 'long.jsonl', [...reviews(30), long, long])
  const dev = writeRows(folder, 'short.jsonl', reviews(6))
  const { code, events, stderr } = await train(
    ...['--data', rows, '--eval-data', dev, '--steps', '1', '--out', newOut(), '--json'],
  )
  expect(code).toBe(0)
  expect(events[0]).toMatchObject({ truncated: 2 })
  expect(stderr).toContain('train rows     32, 2 of them cut to fit\n')
})

test('fails with the step and keeps the last good prompt when the loss is not finite', async () => {
  const out = newOut()
  const { code, stderr, events } = await train(
    ...[
      '--data',
      data,
      '--optimizer',
      'sgd',
      '--lr',
      '1e30',
      '--clip',
      '0',
      '--steps',
      '9',
    ],
    ...['--eval-every', '0', '--out', out, '--json'],
  )
  expect(code).toBe(1)
  expect(events.at(-1)).toMatchObject({ type: 'error', code: 'ERR_NON_FINITE_LOSS' })
  expect(stderr).toMatch(/^lopt: ERR_NON_FINITE_LOSS: .* step \d+ is not finite\..*$/m)
  const file = openSafetensors(join(out, PROMPT_FILE))
  expect(file.tensor('U').isfinite().all().item()).toBe(1)
})

test.each([
  [
    ['--steps', '0'],
    "option '--steps <n>' argument '0' is invalid. Expected an integer of 1 or more.",
  ],
  [['--method', 'lora'], 'Allowed choices are lopt-1, lopt-2, full'],
  [['--rank', '6'], 'Expected --rank in 1..5 but received 6'],
  [['--length', '63'], 'Expected --length in 1..62 but received 63'],
  [
    ['--accumulate', '17'],
    'Expected --accumulate in 1..16, the batch size, but received 17',
  ],
  [['--max-length', '60'], 'Expected --max-length in 1..58'],
  [['--template', 'no field'], 'has no {field}'],
  [
    ['--device', 'gpu'],
    'Expected a device: cpu, cuda, cuda:N, mps or meta, but received gpu',
  ],
  [['--method', 'full'], '--rank has no meaning with --method full'],
  [['--alpha', '2'], '--alpha has no meaning with --method lopt-1'],
  [['--trainable', 'bias$'], '--trainable has no meaning with --method lopt-1'],
  [['--method', 'fine-tune', '--trainable', '('], 'Expected a regular expression.'],
  [['--lrs', 'U'], 'Expected names with numbers above 0, such as A=0.005,B=0.1.'],
  [['--lrs', 'W=1'], 'Expected --lrs to name trained tensors (U, V) but received W'],
  [['--activation', 'tanh'], '--activation has no meaning with --method lopt-1'],
  [
    ['--activation-threshold', '1', '--method', 'lopt-2'],
    '--activation-threshold has no meaning with --activation relu',
  ],
  [['--profile-steps', '2'], '--profile-steps has no meaning without --profile'],
  [
    ['--profile', 'x', '--profile-steps', '101'],
    'Expected --profile-steps to be a number of 100 or less but received 101',
  ],
  [['--task', 'spam'], 'Give either --task or --data, not both'],
])('exits 2 for %j, before anything is written', async (args, message) => {
  const out = newOut()
  const { code, stdout, stderr } = await train('--data', data, '--out', out, ...args)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(message)
  expect(stderr.trimEnd().split('\n').at(-1)).toBe('See `npx lopt train --help`.')
  expect(existsSync(out)).toBe(false)
})

test.each([
  [[], 'Give --data FILE, or --task NAME with one of spam, topics'],
  [
    ['--task', 'rows.jsonl'],
    'There is no task "rows.jsonl": Expected one of spam, topics, kinds, sst2',
  ],
  [
    ['--task', 'spam', '--eval-data', 'x.jsonl'],
    '--eval-data has no meaning with --task',
  ],
])('exits 2 for a task given as %j', async (args, message) => {
  const { code, stderr } = await train('--out', newOut(), ...args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test.each([
  [
    'malformed.jsonl',
    '{"text": "a", "label": "b"}\n{"text": \n',
    ':2: Expected a JSON object',
  ],
  [
    'no-label.jsonl',
    '{"text": "a", "label": "b"}\n\n{"text": "c"}\n',
    ':3: Missing label field "label"',
  ],
  [
    'no-field.csv',
    'review,label\nfine,good\n',
    ':2: Missing field "text", which the template uses',
  ],
  ['empty.jsonl', '', ': The file has no rows'],
])('names file and line of a wrong row: %s', async (name, content, message) => {
  const file = join(folder, name)
  writeFileSync(file, content)
  const out = newOut()
  const { code, stderr, events } = await train('--data', file, '--out', out, '--json')
  expect(code).toBe(1)
  expect(stderr.split('\n')[0]).toContain(`lopt: ERR_DATA: ${file}${message}`)
  expect(events).toHaveLength(1)
  expect(events[0]).toMatchObject({ type: 'error', code: 'ERR_DATA' })
  expect(existsSync(out)).toBe(false)
})

test('names the line of a label in --eval-data that the training rows do not have', async () => {
  const dev = writeRows(folder, 'other.jsonl', [
    ...reviews(3),
    { text: 'x', label: 'maybe' },
  ])
  const { code, stderr } = await train(
    '--data',
    data,
    '--eval-data',
    dev,
    '--out',
    newOut(),
  )
  expect(code).toBe(1)
  expect(stderr).toBe(
    `lopt: ERR_DATA: ${dev}:4: The label "maybe" is not one of "bad", "good"\n`,
  )
})

test('reports a bug as one, not as bad usage', async () => {
  // what a mistake in the command itself would throw, after the first event
  const broken = 'data:text/javascript,AbortSignal.prototype.addEventListener=undefined'
  const { code, stderr, events } = await lopt(
    ['train', ...quick, '--data', data, '--out', newOut(), '--json'],
    { env: { NODE_OPTIONS: `--import=${broken}` } },
  )
  expect(code).toBe(1)
  const message = 'signal.addEventListener is not a function'
  expect(events.at(-1)).toEqual({ type: 'error', code: 'ERR_UNEXPECTED', message })
  expect(stderr.trimEnd().split('\n').slice(-2)).toEqual([
    `lopt: unexpected error: ${message}`,
    'This is a bug in lopt: LOPT_DEBUG=1 shows where it is.',
  ])
})

test('fails for a device and a model that are not there', async () => {
  const device = await train('--data', data, '--out', newOut(), '--device', 'mps')
  expect(device.code).toBe(1)
  expect(device.stderr).toContain('lopt: ERR_DEVICE: The device mps is not there.')
  const model = await train('--data', data, '--out', newOut(), '--backbone', folder)
  expect(model.code).toBe(1)
  expect(model.stderr).toContain(
    `lopt: ERR_MODEL_FILE: ${folder}: there is no config.json.`,
  )
})
