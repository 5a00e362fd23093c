import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { lopt } from './run-cli.js'

test('prints its version', async () => {
  const packageFile = join(import.meta.dirname, '../../package.json')
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }
  expect(await lopt(['--version'])).toMatchObject({
    code: 0,
    stdout: `${version}\n`,
    stderr: '',
  })
})

test('lists its commands', async () => {
  const { code, stdout, stderr } = await lopt(['--help'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const command of ['train', 'eval', 'score', 'generate', 'doctor']) {
    expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'))
  }
  expect(stdout).toContain('Exit codes: 0 done, 1 failed, 2 bad usage')
})

test.each(['train', 'eval', 'score', 'generate'])(
  'has an example, defaults and what is required in the help of %s',
  async (command) => {
    const { code, stdout } = await lopt([command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toContain(`npx lopt ${command} --backbone `)
    expect(stdout).toMatch(/--backbone <source> [\s\S]*?\(required\)/)
    expect(stdout).toMatch(/--device <device> .*\(default: "cpu"\)/)
    expect(stdout).toMatch(/--dtype <dtype> [\s\S]*?\(default: float32 on a CPU/)
  },
)

test.each([
  [[], 'Usage: lopt [options] [command]'],
  [['frobnicate'], "lopt: unknown command 'frobnicate'\nSee `npx lopt --help`."],
  [
    ['train'],
    "lopt: required option '--out <dir>' not specified\nSee `npx lopt train --help`.",
  ],
  [['doctor', '--jso'], "lopt: unknown option '--jso'\n(Did you mean --json?)"],
  [['generate', '--backbone'], "lopt: option '--backbone <source>' argument missing"],
  [['eval', '--backbone', 'x', 'y'], 'lopt: too many arguments'],
])('exits 2 and says how to go on for %j', async (args, message) => {
  const { code, stdout, stderr } = await lopt(args)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(message)
})

test('prints bad usage as JSON too', async () => {
  const { code, events } = await lopt(['train', '--json'])
  expect(code).toBe(2)
  const message = "required option '--out <dir>' not specified"
  expect(events).toEqual([{ type: 'error', code: 'ERR_USAGE', message }])
})

test('has a doctor', async () => {
  const { code, events } = await lopt(['doctor', '--json'])
  expect(code).toBe(0)
  expect(events.at(-1)).toEqual({ type: 'result', ok: true })
})

test('adds the stack to a failure with LOPT_DEBUG=1 only', async () => {
  const args = ['generate', '--backbone', '/nowhere', '--text', 'a']
  const plain = await lopt(args)
  expect(plain.code).toBe(1)
  expect(plain.stderr).toBe('lopt: ERR_MODEL_FILE: There is no folder /nowhere.\n')
  const { stderr } = await lopt(args, { env: { LOPT_DEBUG: '1' } })
  expect(stderr).toMatch(/LoptError: There is no folder \/nowhere\.\n {4}at /)
})
