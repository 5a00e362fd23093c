import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { report } from '../../lib/study/index.js'
import { readRuns } from '../../lib/study/read-runs.js'
import { configurations, spread } from '../../lib/study/statistics.js'
import { folder, run, small } from './small-sweep.js'

const out = join(folder, 'reported')
const page = join(folder, 'page.html')

beforeAll(async () => {
  const { length: _length, ...rest } = small
  const config = {
    ...rest,
    grid: {
      method: ['hard', 'lopt-1', 'full'],
      length: [2, 4],
      rank: [1, 3],
      seed: [0, 1],
    },
  } as const
  await run({ config, out })
  // killed in the middle: no result, half a line
  const killed = join(out, 'rows/full/P4-seed1')
  rmSync(join(killed, 'result.json'))
  const lines = readFileSync(join(killed, 'metrics.jsonl'), 'utf8').split('\n')
  writeFileSync(
    join(killed, 'metrics.jsonl'),
    `${lines.slice(0, 2).join('\n')}\n{"type": "st`,
  )
})

describe('the page', () => {
  let html = ''
  beforeAll(async () => {
    const title = '<script>alert("a&b")</script>'
    const summary = await report({ folders: [out], out: page, title })
    expect(summary).toEqual({
      path: page,
      runs: 11,
      unfinished: 1,
      failed: 0,
      impossible: 2,
    })
    html = readFileSync(page, 'utf8')
  })

  test('asks nothing of the network', () => {
    expect(html).toContain("default-src 'none'")
    expect(html).not.toMatch(/<(script|link|img|iframe|image|use)\b/)
    expect(html).not.toMatch(/(src|href)=|url\(|@import/)
  })

  test('has text from outside escaped', () => {
    expect(html).toContain(
      '<h1>&lt;script&gt;alert(&quot;a&amp;b&quot;)&lt;/script&gt;</h1>',
    )
    expect(html).not.toContain('alert("a&b")')
  })

  test("has the runs' means and spreads as the files have them", () => {
    const figures = [0, 1].map((seed) => {
      const file = join(out, `rows/lopt-1/P4-R3-seed${seed}/result.json`)
      return JSON.parse(readFileSync(file, 'utf8')).test.accuracy as number
    })
    const { mean, deviation } = spread(figures) ?? { mean: Number.NaN, deviation: 0 }
    const shown = `${(100 * mean).toFixed(1)} ± ${(100 * (deviation ?? 0)).toFixed(1)}`
    const row = html.split('<tr>').find((one) => one.includes('>P 4, R 3<'))
    expect(row).toContain(shown)
    expect(row).toContain(`<td>${3 * (4 + 32)}</td>`)
  })

  test('says which cells cannot be, which run was not ended, and why', () => {
    expect(html).toContain('Expected rank in 1..2 but received 3')
    expect(html).toContain('It was not ended: 1 of 2 steps')
  })

  test('has every kind of plot with title and description, in colours of the page', () => {
    const titles = [...html.matchAll(/<title id="[^"]*">([^<]*)</g)].map(
      ([, title]) => title,
    )
    expect(titles).toEqual(
      expect.arrayContaining([
        'accuracy against trainable parameters',
        'lopt-1: accuracy by length and rank',
        expect.stringMatching(/^training loss: lopt-1/),
        expect.stringMatching(/^accuracy on dev: lopt-1/),
      ]),
    )
    expect(html.match(/<desc id=/g)?.length).toBe(titles.length)
    // the impossible cell of the map
    expect(html).toContain('P 2, R 3: –')
    const plots = html.slice(html.indexOf('<body'))
    expect(plots.match(/(fill|stroke)="#/g)).toBe(null)
    for (const [, name] of plots.matchAll(/var\(--([\w-]+)\)/g)) {
      expect(html).toContain(`--${name}:`)
    }
  })

  test('has the configuration and versions of every run', () => {
    expect(html.match(/<details>/g)?.length).toBe(13)
    expect(html).toContain('&quot;torch&quot;: &quot;2.13')
  })

  test('does not say where on a machine the runs are', () => {
    expect(html).toContain('&quot;checkpointEvery&quot;')
    expect(html).not.toContain(out)
  })
})

test('the same runs give the same page, byte for byte', async () => {
  const other = join(folder, 'other.html')
  await report({ folders: [out], out: other, title: 'x' })
  const first = readFileSync(other, 'utf8')
  await report({ folders: [out], out: other, title: 'x' })
  expect(readFileSync(other, 'utf8')).toBe(first)
})

test('runs that differ in their seed alone are one configuration', async () => {
  const found = configurations(await readRuns([out]))
  // hard, four of lopt-1 (one impossible), two of full
  expect(
    found.map(({ method, label, runs }) => `${method} ${label}: ${runs.length}`),
  ).toEqual([
    'hard : 1',
    'lopt-1 P 2, R 1: 2',
    'lopt-1 P 2, R 3: 2',
    'lopt-1 P 4, R 1: 2',
    'lopt-1 P 4, R 3: 2',
    'full P 2: 2',
    'full P 4: 2',
  ])
})

test('a run whose log ends with a failure diverged, with its reason', async () => {
  const failed = join(folder, 'failed-run')
  cpSync(join(out, 'rows/full/P4-seed1'), failed, { recursive: true })
  const log = join(failed, 'metrics.jsonl')
  const event = { type: 'failed', step: 2, code: 'ERR_NON_FINITE_LOSS', message: 'Lost' }
  const whole = readFileSync(log, 'utf8').split('\n').slice(0, 2)
  writeFileSync(log, `${[...whole, JSON.stringify(event)].join('\n')}\n`)
  expect(await readRuns([failed])).toMatchObject([
    { status: 'diverged', reason: 'ERR_NON_FINITE_LOSS: Lost' },
  ])
})

describe('spreads', () => {
  test('are those of a sample', () => {
    expect(spread([1, 2, 4])).toEqual({
      mean: 7 / 3,
      deviation: expect.closeTo(Math.sqrt(7 / 3), 12),
      count: 3,
    })
  })
  test('of one value are none', () => {
    expect(spread([1])?.deviation).toBe(undefined)
    expect(spread([])).toBe(undefined)
  })
})

describe('a folder is refused with its name', () => {
  test('that holds no run', async () => {
    const empty = join(folder, 'empty')
    mkdirSync(empty)
    await expect(report({ folders: [out, empty], out: page })).rejects.toThrow(
      /empty holds no run: give a folder that `lopt train` or `lopt sweep` wrote/,
    )
  })

  test('that is not there', async () => {
    await expect(report({ folders: [join(folder, 'none')], out: page })).rejects.toThrow(
      expect.objectContaining({
        code: 'ERR_IO',
        message: expect.stringContaining('none: there is no such file'),
      }),
    )
  })

  test('whose config.json is of something else', async () => {
    const foreign = join(folder, 'foreign')
    mkdirSync(foreign)
    writeFileSync(join(foreign, 'config.json'), '{"model_type": "gpt2"}')
    await expect(report({ folders: [foreign], out: page })).rejects.toThrow(
      /foreign\/config\.json is not the configuration of a run: task: Expected an object/,
    )
  })

  test('with a damaged line among its events', async () => {
    const damaged = join(out, 'rows/full/P2-seed0/metrics.jsonl')
    const before = readFileSync(damaged)
    appendFileSync(damaged, 'x\n{}\n')
    const lines = before.toString().split('\n').length
    await expect(report({ folders: [out], out: page })).rejects.toThrow(
      `metrics.jsonl:${lines}: Expected an event as JSON`,
    )
    writeFileSync(damaged, before)
  })
})

test('a run whose rows texts answer is shown with what it said, and its perplexity is no percentage', async () => {
  const runs = join(folder, 'said')
  const rows = Array.from({ length: 12 }, (_, i) => ({
    text: `the ${['dog', 'cat', 'film'][i % 3]} was`,
    target: ['<b>good', '<b>bad', '<b>plant'][i % 3],
  }))
  const data = join(folder, 'said.jsonl')
  writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  const {
    task: _task,
    data: _data,
    length: _length,
    ...rest
  } = small as Record<string, unknown>
  const grid = { method: ['hard', 'lopt-1'], length: [2], rank: [1] }
  await run({ config: { ...rest, data, testData: data, grid } as never, out: runs })
  const out = join(folder, 'said.html')
  await report({ folders: [runs], out })
  const text = readFileSync(out, 'utf8')
  expect(text).toContain('Judged by perplexity on')
  expect(text).toContain('Generated texts')
  expect(text).toContain('&lt;b&gt;')
  expect(text).toContain('<th>perplexity on test</th>')
})
