// `lopt train --resume`: the folder alone is enough.

import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { expect, test } from 'vitest'
import { backbone, lopt, quick, reviews, temporaryFolder, writeRows } from './run-cli.js'

const folder = temporaryFolder()
// As people type it: the run folder keeps the whole path.
const data = relative(process.cwd(), writeRows(folder, 'rows.jsonl', reviews(60)))
const begin = [
  'train',
  ...quick,
  '--data',
  data,
  '--method',
  'lopt-2',
  '--steps',
  '60',
  '--json',
]

const losses = (events: readonly Record<string, unknown>[]) =>
  events.filter(({ type }) => type === 'step').map(({ step, loss }) => [step, loss])

test('goes on after Ctrl-C to the same losses and the same prompt', async () => {
  const [whole, cut] = [join(folder, 'whole'), join(folder, 'cut')]
  const left = await lopt([...begin, '--out', whole])
  expect(left.code).toBe(0)
  let sent = false
  const first = await lopt([...begin, '--out', cut], {
    onStderr: (text, child) => {
      if (sent || !text.includes('step 1/60')) return
      sent = true
      child.kill('SIGINT')
    },
  })
  expect(first.code).toBe(130)
  const trace = join(folder, 'trace.json')
  const profile = ['--profile', trace, '--profile-steps', '2']
  const second = await lopt(['train', '--resume', '--out', cut, '--json', ...profile])
  expect(second.code).toBe(0)
  const done = losses(first.events)
  expect(second.events[0]).toMatchObject({ type: 'start', resumedFrom: done.length })
  expect(second.stderr).toContain(`behind step ${done.length} of 60`)
  expect([...done, ...losses(second.events)]).toEqual(losses(left.events))
  // behind three steps of the run that goes on
  const last = done.length + 5
  expect(second.stderr).toContain(`trace of the steps up to ${last}: ${trace}`)
  const { traceEvents } = JSON.parse(readFileSync(trace, 'utf8')) as {
    traceEvents: { name: string; cat: string }[]
  }
  const steps = traceEvents.filter(({ cat }) => cat === 'step').map(({ name }) => name)
  expect(steps).toEqual([`step ${last - 1}`, `step ${last}`])
  const prompt = (out: string) => readFileSync(join(out, 'prompt.lopt.safetensors'))
  expect(prompt(cut).equals(prompt(whole))).toBe(true)

  const third = await lopt(['train', '--resume', '--out', cut, '--json'])
  expect(third.events.map(({ type }) => type)).toEqual(['start', 'done'])
})

test('is bad usage with options of its own, and without a run', async () => {
  const out = join(folder, 'whole')
  const other = await lopt(['train', '--resume', '--out', out, '--lr', '0.1'])
  expect(other.code).toBe(2)
  expect(other.stderr).toContain('--lr has no meaning with --resume')
  const nowhere = await lopt(['train', '--resume', '--out', join(folder, 'nowhere')])
  expect(nowhere.code).toBe(1)
  expect(nowhere.stderr).toContain('holds no run')
  const model = await lopt(['train', '--data', data, '--out', join(folder, 'x')])
  expect(model.code).toBe(2)
  expect(model.stderr).toContain("required option '--backbone <source>' not specified")
  const taken = await lopt([
    'train',
    '--backbone',
    backbone,
    '--data',
    data,
    '--out',
    out,
  ])
  expect(taken.code).toBe(1)
  expect(taken.stderr).toContain('go on with it')
})
