// Programs that run in processes of their own, on a bundle of lib/: Node cannot load TypeScript.

import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'tsup'
import { afterAll, beforeAll } from 'vitest'

const root = join(import.meta.dirname, '..')

/** What a program printed, with stderr behind it if it failed, and how it ended. */
export interface Ended {
  code: number | string | null
  signal: string | null
  stdout: string
}

export interface ProgramOptions {
  /** Of Node. */
  args?: readonly string[]
  /** Beside the process's own. */
  env?: NodeJS.ProcessEnv
}

export interface Programs {
  /** Where the bundle and the programs are. */
  readonly folder: string
  /** Runs a program in a process of its own. */
  run(source: string, options?: ProgramOptions): Promise<Ended>
}

/**
 * Bundles parts of lib/ before the tests of a file.
 *
 * @param entry a bundle's name (`torch` becomes ./torch.mjs) and its entry below lib/
 * @param prelude what every program starts with
 */
export function bundledPrograms(
  entry: Readonly<Record<string, string>>,
  prelude: string,
): Programs {
  // Inside the package: the addon is found from the nearest package.json above the code.
  const cache = join(root, 'node_modules', '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'lopt-programs-'))
  const entries = Object.entries(entry).map(([name, file]) => [
    name,
    join(root, 'lib', file),
  ])
  beforeAll(async () => {
    await build({
      config: false,
      entry: Object.fromEntries(entries),
      format: ['esm'],
      outDir: folder,
      platform: 'node',
      target: 'node20',
      silent: true,
      dts: false,
      splitting: true,
      loader: { '.py': 'text', '.html': 'text' },
      outExtension: () => ({ js: '.mjs' }),
    })
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  let count = 0
  return {
    folder,
    async run(source, { args = [], env = {} } = {}) {
      const path = join(folder, `program-${count++}.mjs`)
      writeFileSync(path, prelude + source)
      const options = {
        timeout: 100_000,
        // one thread: small tensors, beside other test files on the same cores
        env: { ...process.env, OMP_NUM_THREADS: '1', ...env },
      }
      try {
        const command = [...args, path]
        const { stdout } = await promisify(execFile)(process.execPath, command, options)
        return fine(stdout)
      } catch (error) {
        const { code, signal, stdout, stderr } = error as Record<string, string | null>
        const printed = `${stdout}${stderr}`
        return { code: code ?? null, signal: signal ?? null, stdout: printed }
      }
    },
  }
}

/** A program that printed this and ended well. */
export const fine = (stdout: string): Ended => ({ code: 0, signal: null, stdout })
