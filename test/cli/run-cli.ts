// The command line as its users have it: dist/cli.js in a process of its own. `npm test` bundles it
// before the tests run.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'

const root = join(import.meta.dirname, '../..')
export const cli = join(root, 'dist/cli.js')

/** The fixture GPT-2: 3 layers, H = 32, 64 positions; see test/fixtures/README.md. */
export const backbone = join(root, 'test/fixtures/gpt2-plain')
/** One of another hidden size. */
export const otherBackbone = join(root, 'test/fixtures/gpt2-untied')

export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** stdout's lines, each parsed as JSON. */
  readonly events: Record<string, unknown>[]
}

export interface RunOptions {
  /** Its standard input, empty by default; null: nothing comes, and it does not end. */
  stdin?: string | null
  cwd?: string
  env?: NodeJS.ProcessEnv
  /** A program and its arguments that start the command line. */
  launcher?: readonly string[]
  /** Sees stderr so far after each piece of it. */
  onStderr?: (text: string, child: ChildProcess) => void
  onSpawn?: (child: ChildProcess) => void
}

/** Runs the command line to its end. */
export function lopt(
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  if (!existsSync(cli)) throw new Error(`${cli} is not there: run \`npm run build\``)
  const [program = '', ...before] = [...(options.launcher ?? []), process.execPath]
  const child = spawn(program, [...before, cli, ...args], {
    cwd: options.cwd,
    // one thread: a small model, beside other test files on the same cores
    env: { ...process.env, LOPT_DEBUG: '', OMP_NUM_THREADS: '1', ...options.env },
  })
  options.onSpawn?.(child)
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text
      if (name === 'stderr') options.onStderr?.(texts.stderr, child)
    })
  }
  if (options.stdin !== null) child.stdin?.end(options.stdin ?? '')
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      resolve({
        code,
        signal,
        ...texts,
        get events() {
          return jsonLines(texts.stdout)
        },
      })
    })
  })
}

export function jsonLines(text: string): Record<string, unknown>[] {
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

const made: string[] = []
afterAll(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true })
})

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lopt-cli-'))
  made.push(folder)
  return folder
}

const SUBJECTS = ['film', 'music', 'book', 'weather', 'dog']

/** Rows whose label can be learned from their words; every third is bad. */
export function reviews(count: number): { text: string; label: string }[] {
  return Array.from({ length: count }, (_, i) => {
    const label = i % 3 === 0 ? 'bad' : 'good'
    const end = label === 'bad' ? 'late and nobody knows' : 'here and they say'
    return { text: `The ${SUBJECTS[i % SUBJECTS.length]} was ${end}`, label }
  })
}

/** Writes a JSON Lines file and gives its path. */
export function writeRows(
  folder: string,
  name: string,
  rows: readonly unknown[],
): string {
  const path = join(folder, name)
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  return path
}

/** Options of a small, quick run. */
export const quick = [
  '--backbone',
  backbone,
  '--template',
  '{text} It was',
  '--length',
  '5',
  '--rank',
  '2',
]

/** Trains a prompt before the tests of a file, on 60 rows of which a third are bad. */
export function trainedPrompt(): { folder: string; data: string; prompt: string } {
  const folder = temporaryFolder()
  const data = writeRows(folder, 'rows.jsonl', reviews(60))
  const out = join(folder, 'run')
  beforeAll(async () => {
    const steps = ['--steps', '20', '--eval-every', '0']
    const { code } = await lopt([
      'train',
      ...quick,
      '--data',
      data,
      ...steps,
      '--out',
      out,
    ])
    expect(code).toBe(0)
  })
  return { folder, data, prompt: join(out, 'prompt.lopt.safetensors') }
}
