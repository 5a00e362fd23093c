import { cpSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSafetensors, writeSafetensors } from '../../lib/torch/index.js'
import { backbone, lopt, trainedPrompt } from './run-cli.js'

const { folder, data, prompt } = trainedPrompt()
const compress = (...args: string[]) =>
  lopt(['compress', prompt, '--backbone', backbone, ...args])

test('writes a prompt a rank and prints what each keeps', async () => {
  const out = join(folder, 'ranks')
  const { code, stdout } = await compress('--data', data, '--out', out)
  expect(code).toBe(0)
  const files = ['rank-1.lopt.safetensors', 'rank-2.lopt.safetensors']
  expect(readdirSync(out).sort()).toEqual([...files, 'rank-4.lopt.safetensors'])
  expect(stdout).toMatch(/^rank +method +parameters +relative error +accuracy$/m)
  expect(stdout).toMatch(/^ +lopt-1 +74 +0\.0000 +\d+\.\d %$/m)
  expect(stdout).toMatch(/^ +1 +lopt-1 +37 +0\.[1-9]\d+ +\d+\.\d %$/m)
  // of rank 2 itself: nothing is lost
  expect(stdout).toMatch(/^ +2 +lopt-1 +74 +0\.0000 +\d+\.\d %$/m)
})

test('gives the accuracy that `eval` finds for the files, as JSON', async () => {
  const out = join(folder, 'json')
  const args = ['--data', data, '--ranks', '1', '--out', out, '--json']
  const { code, events } = await compress(...args)
  expect(code).toBe(0)
  expect(events).toMatchObject([
    { type: 'rank', rank: null, method: 'lopt-1', parameters: 74, relativeError: 0 },
    { type: 'rank', rank: 1, method: 'lopt-1', parameters: 37 },
  ])
  const [original, first] = events as {
    figures: { test: { accuracy: number } }
    path: string
  }[]
  for (const [file, found] of [
    [prompt, original],
    [first?.path as string, first],
  ] as const) {
    const given = ['--prompt', file, '--data', data, '--json']
    const evaluated = await lopt(['eval', '--backbone', backbone, ...given])
    expect(evaluated.events.at(-1)?.accuracy).toBe(found?.figures.test.accuracy)
  }
})

test('brings a prompt of another backbone to lower ranks only when told to', async () => {
  const other = join(folder, 'other')
  cpSync(backbone, other, { recursive: true })
  const weights = openSafetensors(join(backbone, 'model.safetensors'))
  const scaled = weights.names.map((name) => [name, weights.tensor(name).mul(1.5)])
  await writeSafetensors(join(other, 'model.safetensors'), Object.fromEntries(scaled))
  const out = join(folder, 'foreign')
  const args = ['compress', prompt, '--backbone', other, '--data', data, '--out', out]
  const refused = await lopt(args)
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('load it with --allow-other-backbone')
  const { code, events } = await lopt([
    ...[...args, '--ranks', '1,2'],
    ...['--allow-other-backbone', '--json'],
  ])
  expect(code).toBe(0)
  expect(events.map(({ rank }) => rank)).toEqual([null, 1, 2])
})

test.each([
  [['--ranks', '6'], /Expected --ranks in 1\.\.5 but received 6/],
  [['--ranks', '0'], /Expected --ranks in 1\.\.5 but received 0/],
  [['--ranks', '1,x'], /Expected integers with commas between them/],
])('%j exits 2 and writes nothing', async (args, message) => {
  const out = join(folder, 'refused')
  const { code, stderr } = await compress('--data', data, '--out', out, ...args)
  expect(code).toBe(2)
  expect(stderr).toMatch(message)
  expect(existsSync(out)).toBe(false)
})
