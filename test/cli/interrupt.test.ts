import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSafetensors } from '../../lib/torch/index.js'
import { backbone, lopt, quick, reviews, temporaryFolder, writeRows } from './run-cli.js'

const folder = temporaryFolder()
const data = writeRows(folder, 'rows.jsonl', reviews(300))

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)(
  'saves the prompt at %s, says where, and exits %i',
  async (signal, exitCode) => {
    const out = join(folder, signal)
    let sent = false
    const args = ['--data', data, '--steps', '100000', '--out', out, '--json']
    const outcome = await lopt(['train', ...quick, ...args], {
      onStderr: (text, child) => {
        if (sent || !text.includes('step 1/100000')) return
        sent = true
        child.kill(signal)
      },
    })
    expect(outcome.code).toBe(exitCode)
    const path = join(out, 'prompt.lopt.safetensors')
    const steps = outcome.events.filter(({ type }) => type === 'step').length
    const message = `Stopped after step ${steps} of 100000. The prompt of step ${steps} is in ${path}`
    expect(outcome.events.at(-1)).toEqual({ type: 'error', code: 'ERR_ABORTED', message })
    expect(outcome.stderr.trimEnd().split('\n').slice(-3)).toEqual([
      'lopt: stopping; once more stops at once, without saving',
      message,
      `To go on with it: npx lopt train --resume --out ${out}`,
    ])
    expect(openSafetensors(path).names.sort()).toEqual(['U', 'V'])
  },
)

test('is killed by a second SIGINT', async () => {
  const args = ['--data', data, '--batch-size', '4000', '--out', join(folder, 'killed')]
  let sent = 0
  const { code, signal } = await lopt(['train', ...quick, ...args], {
    onStderr: (text, child) => {
      const due = text.includes('lopt: stopping')
        ? 2
        : text.includes('learning rate')
          ? 1
          : 0
      // the first while a step of some seconds runs, the second before it ends
      while (sent < due) {
        sent += 1
        child.kill('SIGINT')
      }
    },
  })
  expect({ code, signal }).toEqual({ code: null, signal: 'SIGINT' })
})

test.each([
  ['a text', ['generate']],
  ['rows', ['score', '--data', '-', '--template', '{text}', '--labels', 'good,bad']],
  ['rows', ['eval', '--data', '-', '--hard', '--format', 'csv']],
])('stops at SIGINT while it waits for %s on standard input: %j', async (_, command) => {
  // says when the command listens for signals; it reads from then on
  const watch =
    "data:text/javascript,process.on('newListener',(name)=>{if(name==='SIGTERM')" +
    "setTimeout(()=>process.stderr.write('listening\\n'),300)})"
  let sent = false
  const { code, signal, stdout, stderr } = await lopt(
    [...command, '--backbone', backbone, '--json'],
    {
      stdin: null,
      env: { NODE_OPTIONS: `--import=${encodeURI(watch)}` },
      onStderr: (text, child) => {
        if (sent || !text.includes('listening')) return
        sent = true
        child.kill('SIGINT')
      },
    },
  )
  expect({ code, signal, stdout }).toEqual({ code: 130, signal: null, stdout: '' })
  expect(stderr).toBe(
    'listening\nlopt: stopping; once more stops at once, without saving\n',
  )
})

test('stops quietly when the reader of its output has gone', async () => {
  const { code, stderr } = await lopt(
    ['generate', '--backbone', backbone, '--text', 'The film', '--json'],
    { onSpawn: (child) => child.stdout?.destroy() },
  )
  expect({ code, stderr }).toEqual({ code: 141, stderr: '' })
})

test('says so when its output cannot be written', async () => {
  const rows = writeRows(folder, 'few.jsonl', reviews(3))
  const args = ['--template', '{text}', '--labels', 'good,bad', '--data', rows]
  const launcher = ['/bin/sh', '-c', 'exec "$@" > /dev/full', 'sh']
  const { code, stderr } = await lopt(['score', '--backbone', backbone, ...args], {
    launcher,
  })
  expect(code).toBe(1)
  expect(stderr.split('\n')[0]).toContain(
    'lopt: ERR_IO: Cannot write to standard output: ENOSPC',
  )
})
