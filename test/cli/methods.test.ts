// Every method, and fine-tuning, from `lopt train` to `lopt eval`.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { METHOD_NAMES } from '../../lib/prompt/index.js'
import { backbone, lopt, reviews, temporaryFolder, writeRows } from './run-cli.js'

const folder = temporaryFolder()
const data = writeRows(folder, 'rows.jsonl', reviews(40))
const common = ['--backbone', backbone, '--batch-size', '8', '--eval-every', '0']

async function figures(...args: string[]) {
  const { events, code } = await lopt([
    'eval',
    '--backbone',
    backbone,
    '--data',
    data,
    '--json',
    ...args,
  ])
  expect(code).toBe(0)
  return events.at(-1)
}

const own: Partial<Record<string, string[]>> = {
  dept: ['--text-tokens', '6', '--alpha', '4', '--rank', '2', '--lrs', 'A=0.01,B=0.02'],
  residual: ['--bottleneck', '5'],
  ulpt: ['--rank', '8', '--optimizer', 'adafactor'],
  dpt: ['--rank', '3'],
  full: [],
  prefix: [],
  'p-tuning': [],
}

test.each(Object.entries(own))('%s is trained and evaluated', async (method, options) => {
  const out = join(folder, method)
  const args = ['--data', data, '--steps', '3', '--method', method, ...(options ?? [])]
  args.push('--length', '5')
  const { code, events } = await lopt([
    'train',
    ...common,
    ...args,
    '--out',
    out,
    '--json',
  ])
  expect(code).toBe(0)
  expect(events.at(-1)).toMatchObject({ type: 'done', steps: 3 })
  const path = join(out, 'prompt.lopt.safetensors')
  expect(await figures('--prompt', path)).toMatchObject({ type: 'result', rows: 40 })
  expect(METHOD_NAMES).toContain(method)
})

test('biases are fine-tuned, saved, and evaluated to other figures than the plain model', async () => {
  const out = join(folder, 'bitfit')
  const method = ['--method', 'fine-tune', '--trainable', 'bias$', '--lr', '0.01']
  const args = [...method, '--data', data, '--steps', '5']
  const { code, stdout } = await lopt(['train', ...common, ...args, '--out', out])
  expect(code).toBe(0)
  const path = join(out, 'weights.lopt.safetensors')
  expect(stdout).toContain(`weights:    ${path}`)
  const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))
  expect(config).toMatchObject({ prompt: null, weights: { pattern: 'bias$' } })
  const tuned = await figures('--weights', path)
  const plain = await figures('--hard')
  expect(tuned?.loss).toBeLessThan(plain?.loss as number)
})

test.each([
  [
    ['--method', 'fine-tune', '--length', '3'],
    '--length has no meaning with --method fine-tune',
  ],
  [
    ['--method', 'fine-tune', '--trainable', 'lora'],
    'Expected a pattern that matches a parameter',
  ],
  [
    ['--method', 'prefix', '--init', 'vocab'],
    'Expected --init to be random, or a file of a prefix prompt',
  ],
])('exits 2 for %j', async (args, message) => {
  const out = join(folder, 'refused')
  const given = ['train', ...common, '--data', data, '--out', out, ...args]
  const { code, stderr } = await lopt(given)
  expect({ code, message: stderr }).toEqual({
    code: 2,
    message: expect.stringContaining(message),
  })
})
