import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fixture } from '../backbone/golden.js'
import { backbone, lopt, quick, trainedPrompt } from './run-cli.js'

const { folder, data, prompt } = trainedPrompt()
const on = ['--backbone', backbone]

test('a prompt goes to PEFT and back, and starts another run', async () => {
  const adapter = join(folder, 'adapter')
  const base = ['--base-model', 'org/model']
  const written = await lopt([
    'export',
    'peft',
    prompt,
    adapter,
    ...on,
    ...base,
    '--json',
  ])
  expect(written.code).toBe(0)
  expect(written.events).toEqual([
    { type: 'result', path: adapter, method: 'lopt-1', length: 5, hiddenSize: 32 },
  ])
  const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'))
  expect(config).toMatchObject({ base_model_name_or_path: 'org/model' })

  const again = join(folder, 'again.lopt.safetensors')
  const read = await lopt(['import', 'peft', adapter, again, ...on, '--json'])
  expect(read.code).toBe(0)
  expect(read.events).toEqual([
    {
      type: 'result',
      path: again,
      method: 'full',
      length: 5,
      hiddenSize: 32,
      parameters: 160,
    },
  ])
  const [before, after] = await Promise.all(
    [prompt, again].map(async (file) => {
      const args = ['eval', ...on, '--prompt', file, '--data', data, '--json']
      return (await lopt(args)).events.at(-1) as { loss: number; confusion: number[][] }
    }),
  )
  expect(after?.confusion).toEqual(before?.confusion)
  expect(after?.loss).toBeCloseTo(before?.loss as number, 6)

  const out = join(folder, 'transferred')
  const args = ['--data', data, '--steps', '2', '--init', again, '--out', out]
  const trained = await lopt(['train', ...quick, ...args])
  expect(trained.code).toBe(0)
  const run = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))
  expect(run.prompt.start).toEqual({ init: again, seed: 0 })
})

test('an adapter that PEFT wrote becomes a LoPT-1 prompt, with a warning', async () => {
  const file = join(folder, 'theirs.lopt.safetensors')
  const from = fixture('peft/gpt2-plain')
  const args = ['--method', 'lopt-1', '--rank', '2']
  const { code, stderr } = await lopt(['import', 'peft', from, file, ...on, ...args])
  expect(code).toBe(0)
  expect(stderr).toContain('lopt: warning: ')
  expect(stderr).toContain(`${file}: lopt-1, 4 virtual tokens, 72 numbers\n`)
})

test('keys and values go to PEFT and back', async () => {
  const theirs = fixture('peft/prefix-tuning')
  const [file, again, adapter] = ['keys', 'keys-again', 'keys-adapter'].map((name) =>
    join(folder, name),
  ) as [string, string, string]
  expect((await lopt(['import', 'peft', theirs, file, ...on])).stderr).toContain(
    `${file}: prefix, 4 virtual tokens, 768 numbers\n`,
  )
  const written = await lopt(['export', 'peft', file, adapter, ...on])
  expect(written.stderr).toContain('4 virtual tokens with keys and values a layer\n')
  const read = await lopt(['import', 'peft', adapter, again, ...on, '--json'])
  expect(read.events).toEqual([
    {
      type: 'result',
      path: again,
      method: 'prefix',
      length: 4,
      hiddenSize: 32,
      parameters: 768,
    },
  ])
})

test('a start of another length says which length to give', async () => {
  const out = join(folder, 'refused')
  const args = ['--data', data, '--init', prompt, '--length', '6', '--out', out]
  const { code, stderr } = await lopt(['train', ...on, ...args])
  expect(code).toBe(1)
  expect(stderr).toMatch(/\[5, 32\] but \[6, 32\] is to be started: give --length 5\n$/)
})

test.each([
  [['export', 'peft', 'PROMPT', 'x'], 1, /ERR_PROMPT_FILE|ERR_IO/],
  [['export', 'peft', 'x'], 2, /missing required argument/],
  [['import', 'peft', fixture('peft/lora'), 'x'], 1, /ERR_UNSUPPORTED: .*LORA/],
  [['import', 'peft', 'a', 'b', '--rank', '2'], 2, /--rank has no meaning/],
  [
    ['import', 'peft', fixture('peft/prefix-tuning'), 'x', '--method', 'full'],
    2,
    /Expected --method to be prefix for an adapter of the type PREFIX_TUNING/,
  ],
  [
    [
      'import',
      'peft',
      fixture('peft/gpt2-plain'),
      'x',
      '--method',
      'lopt-1',
      '--rank',
      '9',
    ],
    2,
    /Expected --rank in 1\.\.4 but received 9/,
  ],
])('%j exits %i and writes nothing', async (args, wanted, message) => {
  const { code, stderr } = await lopt([...args, ...on], { cwd: folder })
  expect(code).toBe(wanted)
  expect(stderr).toMatch(message)
  expect(existsSync(join(folder, 'x'))).toBe(false)
})

test.each(['export', 'import'])('%s peft has its own help', async (name) => {
  const { code, stdout } = await lopt([name, 'peft', '--help'])
  expect(code).toBe(0)
  expect(stdout).toContain(`lopt ${name} peft`)
  expect(stdout).toContain('--allow-other-backbone')
})
