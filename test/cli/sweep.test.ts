import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { backbone, lopt, reviews, temporaryFolder, writeRows } from './run-cli.js'

const folder = temporaryFolder()
writeRows(folder, 'rows.jsonl', reviews(40))
const config = join(folder, 'grid.yaml')
writeFileSync(
  config,
  `backbone: ${backbone}
data: rows.jsonl      # beside this file
testData: rows.jsonl
template: '{text} It was'
steps: 2
length: 4
grid:
  method: [lopt-1, full]
  rank: [2, 9]
`,
)
const out = join(folder, 'sweep')

test('sweep prints its events as JSON lines, and a report of it is one page', async () => {
  const { code, events, stderr } = await lopt([
    'sweep',
    '--config',
    config,
    '--out',
    out,
    '--json',
  ])
  expect({ code, stderr }).toMatchObject({ code: 0 })
  const cells = events.filter(({ type }) => type === 'cell')
  expect(cells.map(({ cell, status }) => `${cell} ${status}`)).toEqual([
    'rows/lopt-1/P4-R9-seed0 impossible',
    'rows/lopt-1/P4-R2-seed0 done',
    'rows/full/P4-seed0 done',
  ])
  expect(events).toContainEqual(
    expect.objectContaining({ type: 'step', step: 1, cell: 'rows/full/P4-seed0' }),
  )
  expect(events.at(-1)).toMatchObject({
    type: 'done',
    counts: { done: 2, impossible: 1, failed: 0 },
  })

  const page = join(folder, 'page.html')
  const made = await lopt(['report', out, '--out', page, '--title', 'A title'])
  expect(made).toMatchObject({
    code: 0,
    stdout: `${page}: 2 runs, 0 unfinished, 0 failed or diverged, 1 impossible\n`,
  })
  expect(readFileSync(page, 'utf8')).toContain('<h1>A title</h1>')
})

test('shards run their own cells only', async () => {
  const run = (shard: string) =>
    lopt([
      'sweep',
      '--config',
      config,
      '--out',
      join(folder, 'parts'),
      '--shard',
      shard,
      '--json',
    ])
  const parts = [await run('1/2'), await run('2/2')].map(({ events }) =>
    events
      .filter(({ type, kept }) => type === 'cell' && kept === false)
      .map(({ cell }) => cell),
  )
  expect(parts).toEqual([
    ['rows/lopt-1/P4-R2-seed0', 'rows/full/P4-seed0'],
    ['rows/lopt-1/P4-R9-seed0'],
  ])
})

test('a wrong shard and a wrong field are bad usage', async () => {
  const shard = await lopt(['sweep', '--config', config, '--out', out, '--shard', '3/2'])
  expect(shard).toMatchObject({ code: 2 })
  expect(shard.stderr).toContain('Expected i/N with i in 1..N.')
  const wrong = join(folder, 'wrong.yaml')
  writeFileSync(wrong, `backbone: ${backbone}\ntask: topics\ngrid:\n  rank: [1, two]\n`)
  const field = await lopt(['sweep', '--config', wrong, '--out', join(folder, 'wrong')])
  expect(field).toMatchObject({ code: 2 })
  expect(field.stderr).toMatch(
    `lopt: ${wrong}: grid.rank[1]: Expected a number but received "two"`,
  )
})

test("train takes a configuration's settings, and what is typed wins", async () => {
  const run = join(folder, 'run')
  const args = [
    'train',
    '--config',
    config,
    '--out',
    run,
    '--rank',
    '3',
    '--method',
    'lopt-1',
  ]
  expect(await lopt([...args, '--seed', '5'])).toMatchObject({ code: 0 })
  const written = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'))
  expect(written).toMatchObject({
    prompt: { method: 'lopt-1', length: 4, rank: 3 },
    task: { template: '{text} It was', source: { data: join(folder, 'rows.jsonl') } },
    training: { steps: 2, seed: 5 },
  })

  // and a run folder's own configuration gives the same run again
  const again = join(folder, 'again')
  const config2 = join(run, 'config.json')
  expect(await lopt(['train', '--config', config2, '--out', again])).toMatchObject({
    code: 0,
  })
  const losses = (name: string) =>
    readFileSync(join(name, 'metrics.jsonl'), 'utf8').match(/"loss":[^,]*/g)
  expect(losses(again)).toEqual(losses(run))
})

test('train refuses a configuration that leaves a choice', async () => {
  const { code, stderr } = await lopt([
    'train',
    '--config',
    config,
    '--out',
    join(folder, 'x'),
  ])
  expect(code).toBe(2)
  expect(stderr).toMatch(`${config}: grid.method: Expected one value but received 2`)
})
