// Rows that texts answer, on the command line: trained on, resumed, evaluated, continued.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { backbone, lopt } from './run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-cli-targets-'))
afterAll(() => rmSync(folder, { recursive: true }))

const data = join(folder, 'rows.jsonl')
const rows = [
  { article: 'a large dog', summary: 'an animal' },
  { article: 'a small cat', summary: 'an animal' },
  { article: 'a red rose', summary: 'a plant' },
]
writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
const out = join(folder, 'run')
const prompt = join(out, 'prompt.lopt.safetensors')
const templates = ['--template', '{article}. TL;DR:', '--target-template', ' {summary}']

test('a prompt learns them, and knows how they are read from then on', async () => {
  const shape = ['--length', '4', '--rank', '2', '--steps', '4', '--batch-size', '3']
  const given = ['--backbone', backbone, '--data', data, '--eval-data', data]
  const how = ['--metric', 'rouge-l', '--eval-every', '2', '--samples', '2']
  const trained = await lopt([
    ...['train', ...given, ...templates, ...shape, ...how, '--out', out, '--json'],
  ])
  expect(trained.code).toBe(0)
  const evaluation = trained.events.find(({ type }) => type === 'eval')
  expect(evaluation).toMatchObject({
    rougeL: expect.any(Number),
    samples: [{ targets: expect.any(Array) }, { generated: expect.any(String) }],
  })
  const again = await lopt(['train', '--resume', '--out', out, '--json'])
  expect(again.code).toBe(0)
  const figures = ({ events }: typeof again) => events.at(-1)?.rougeL
  expect(figures(again)).toBe(figures(trained))

  const use = ['--backbone', backbone, '--prompt', prompt, '--data', data]
  const found = await lopt(['eval', ...use, '--samples', '2', '--json'])
  expect(found.events.at(-1)).toMatchObject({
    type: 'result',
    rows: 3,
    truncatedTargets: 0,
  })
  expect(found.stderr).toContain('right:')
  const said = await lopt(['generate', ...use, '--max-new-tokens', '3'])
  expect(said.code).toBe(0)
  const lines = said.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines.map(({ article }) => article).sort()).toEqual(
    rows.map(({ article }) => article).sort(),
  )

  const ranks = await lopt([
    ...['compress', prompt, '--backbone', backbone, '--data', data, '--ranks', '1'],
    ...['--out', join(folder, 'ranks')],
  ])
  expect(ranks.code).toBe(0)
  const perplexity = found.events.at(-1)?.perplexity as number
  expect(ranks.stdout).toMatch(/relative error +perplexity$/m)
  expect(ranks.stdout).toContain(` ${perplexity.toPrecision(4)}\n`)
})

test.each([
  [
    ['--template', '{article}', '--target-template', ' {title}'],
    /rows\.jsonl:1: Missing field "title"/,
  ],
  [[...templates, '--metric', 'macro-f1'], /Expected metric of rows that texts answer/],
  [[...templates, '--objective', 'verbalizer'], /chooses among labels/],
  [
    [...templates, '--max-target-length', '1'],
    /rows\.jsonl:\d: the target has \d tokens/,
  ],
])('%j is refused', async (given, message) => {
  const other = join(folder, 'other')
  const options = [
    '--backbone',
    backbone,
    '--data',
    data,
    '--steps',
    '1',
    '--length',
    '4',
  ]
  const { code, stderr } = await lopt(['train', ...options, ...given, '--out', other])
  expect(code).not.toBe(0)
  expect(stderr).toMatch(message)
})
