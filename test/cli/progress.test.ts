import { afterEach, expect, test, vi } from 'vitest'
import { duration, type Output, oneLine, percent, table } from '../../lib/cli/output.js'
import { createPace, showProgress } from '../../lib/cli/progress.js'

afterEach(() => {
  vi.restoreAllMocks()
})

function recorder(): { output: Output; notes: string[] } {
  const notes: string[] = []
  const output: Output = {
    json: false,
    event() {},
    print() {},
    stream() {},
    note: (line) => notes.push(line),
    divertNotes: () => () => {},
  }
  return { output, notes }
}

test('shows a plain line at the first step, at each tenth and at the last where there is no terminal', () => {
  expect(process.stderr.isTTY).toBeFalsy()
  const { output, notes } = recorder()
  const progress = showProgress(output, 95)
  for (let step = 1; step <= 95; step++) progress.step(step, 0.5)
  progress.stop()
  const steps = notes.map((line) =>
    Number(/^step (\d+)\/95 {2}loss 0\.5000 {2}/.exec(line)?.[1]),
  )
  expect(steps).toEqual([1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95])
  expect(notes[1]).toContain(' left')
  expect(notes.at(-1)).not.toContain(' left')
})

test('shows a plain line at least every 30 seconds', () => {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  const { output, notes } = recorder()
  const progress = showProgress(output, 1000)
  for (let step = 1; step <= 20; step++) {
    now += 20_000
    progress.step(step, 1)
  }
  expect(notes.length).toBe(10)
  expect(notes.at(-1)).toBe('step 19/1000  loss 1.0000  20.0 s/step  5 h 27 min left')
})

test('counts the rate over the last steps only', () => {
  let now = 0
  const pace = createPace(1000, { now: () => now })
  let last = { rate: 0, left: 0 }
  for (let step = 1; step <= 100; step++) {
    now += step <= 40 ? 1000 : 100
    last = pace(step)
  }
  expect(last.rate).toBeCloseTo(10, 6)
  expect(last.left).toBeCloseTo(90, 6)
})

test('says durations as people do', () => {
  expect(
    [0.04, 8.44, 59.96, 65, 3599, 4020, Number.POSITIVE_INFINITY].map(duration),
  ).toEqual([
    '0.0 s',
    '8.4 s',
    '1 min 00 s',
    '1 min 05 s',
    '59 min 59 s',
    '1 h 07 min',
    '?',
  ])
})

test('aligns columns, figures to the right', () => {
  expect(
    table(
      [
        ['name', 'n'],
        ['a', '10'],
        ['long name', '5'],
      ],
      [1],
    ),
  ).toBe('name        n\na          10\nlong name   5')
})

test('puts text on one line and cuts it', () => {
  expect(oneLine('  a\n\tb  c ', 10)).toBe('a b c')
  expect(oneLine('abcdefgh', 5)).toBe('abcd…')
  expect(percent(0.9275)).toBe('92.8 %')
})
