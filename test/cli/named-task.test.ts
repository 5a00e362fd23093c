import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { lopt } from './run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-named-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const model = ['--backbone', 'builtin:nano-gpt2']
const data = ['--data-dir', 'test/fixtures/datasets/original', '--splits', 'official']

test.each([
  ['rte', 'accuracy', 'macroF1'],
  ['copa', 'accuracy', 'macroF1'],
  ['record', 'f1', 'exactMatch'],
])('%s is trained, evaluated and scored from a folder', async (task, ...figures) => {
  const out = join(folder, task)
  const named = [...model, '--task', task, ...data]
  const training = ['--steps', '2', '--batch-size', '2', '--out', out, '--json']
  const trained = await lopt(['train', ...named, ...training])
  expect(trained.code).toBe(0)
  const done = trained.events.at(-1) as Record<string, number>
  const prompt = [
    '--prompt',
    join(out, 'prompt.lopt.safetensors'),
    '--split',
    'dev',
    '--json',
  ]
  const evaluated = (await lopt(['eval', ...named, ...prompt])).events.at(
    -1,
  ) as typeof done
  for (const figure of figures) expect(evaluated[figure]).toBe(done[figure])
  const scored = await lopt(['score', ...named, ...prompt])
  expect(scored.events).toHaveLength(evaluated.rows as number)
})

test('options of such tasks are refused with others', async () => {
  const { code, stderr } = await lopt([
    'eval',
    ...model,
    '--task',
    'topics',
    '--hard',
    ...data,
  ])
  expect([code, stderr]).toEqual([
    2,
    expect.stringContaining('--data-dir has no meaning'),
  ])
})
