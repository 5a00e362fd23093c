// A folder of run folders, read while they are written: which there are, and the curves of one. What is asked for by a name is
// a folder's name, never a path. Knows no HTTP.

import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { cannotRead } from '../../errors.js'
import { CONFIG_FILE, FIGURE_OF, LogReader, METRICS_FILE } from '../../run/index.js'
import { openFile, realPathIn } from '../contained.js'
import { NO_CONFIG, type RunConfig, runConfigOf } from './run-config.js'
import { RunCurves } from './run-curves.js'

/** Entries that are looked at, and runs that are told of: those that were written last. */
const MOST_ENTRIES = 2000
const MOST_RUNS = 200
/** Runs whose curves are kept, to be read on from where they were; each is a thousand points. */
const MOST_KEPT = 64
const MOST_CONFIG_BYTES = 2 ** 20

/** A run as its folder's list has it. */
export interface ListedRun extends RunConfig {
  readonly name: string
  /** When its log was written to, in Unix seconds. */
  readonly modified: number
  /** Of its log: others than before mean that there is more to be read. */
  readonly bytes: number
}

export type RunAnswer = RunConfig &
  RunCurves['answer'] & { readonly name: string; readonly complete: boolean }

interface Kept {
  readonly figure: string
  reader: LogReader
  readonly curves: RunCurves
  /** One reading at a time. */
  last: Promise<unknown>
}

export class RunsFolder {
  readonly #folder: string
  readonly #kept = new Map<string, Kept>()
  readonly #configs = new Map<string, { modified: number; config: RunConfig }>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /**
   * The runs, the one that was written last first; none where the folder is not there yet.
   *
   * @throws LoptError `ERR_IO` for a folder that cannot be read
   */
  async list(): Promise<ListedRun[]> {
    const root = await this.#root()
    if (root === undefined) return []
    const names = await readdir(root).catch((cause) => {
      throw cannotRead(this.#folder, cause)
    })
    const runs: Omit<ListedRun, keyof RunConfig>[] = []
    for (const name of names.filter(isName).slice(0, MOST_ENTRIES)) {
      const found = await this.#find(root, name)
      if (found !== undefined) runs.push({ name, ...found })
    }
    runs.sort((a, b) => b.modified - a.modified)
    const told = runs.slice(0, MOST_RUNS)
    for (const name of this.#configs.keys()) {
      if (!told.some((run) => run.name === name)) this.#configs.delete(name)
    }
    const listed: ListedRun[] = []
    for (const run of told)
      listed.push({ ...run, ...(await this.#config(root, run.name)) })
    return listed
  }

  /**
   * What a run's log says up to now; a log that is long is read over several calls.
   *
   * @returns undefined for a name that no run has
   */
  async read(name: string): Promise<RunAnswer | undefined> {
    const root = await this.#root()
    if (root === undefined || !isName(name)) return undefined
    if ((await this.#find(root, name)) === undefined) return undefined
    const config = await this.#config(root, name)
    const kept = this.#keptOf(name, FIGURE_OF[config.metric])
    const reading = kept.last.then(() => readLog(root, join(root, name), kept))
    kept.last = reading.catch(() => {}) // this call's to tell; the next tries again
    const complete = await reading
    const { steps, ...answer } = kept.curves.answer
    return { name, ...config, ...answer, steps: steps ?? config.steps, complete }
  }

  async #root(): Promise<string | undefined> {
    try {
      return await realpath(this.#folder)
    } catch (cause) {
      // the first run makes it
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw cannotRead(this.#folder, cause)
    }
  }

  /** When and how much a run was written; undefined for what is none. */
  async #find(
    root: string,
    name: string,
  ): Promise<{ modified: number; bytes: number } | undefined> {
    for (const file of [METRICS_FILE, CONFIG_FILE]) {
      const info = await infoOf(root, join(root, name, file))
      if (info === undefined) continue
      const bytes = file === METRICS_FILE ? info.size : 0
      return { modified: info.mtimeMs / 1000, bytes }
    }
    return undefined
  }

  async #config(root: string, name: string): Promise<RunConfig> {
    const path = join(root, name, CONFIG_FILE)
    const info = await infoOf(root, path)
    if (info === undefined || info.size > MOST_CONFIG_BYTES) return NO_CONFIG
    const known = this.#configs.get(name)
    if (known?.modified === info.mtimeMs) return known.config
    const text = await textOf(root, path)
    const config = text === undefined ? NO_CONFIG : runConfigOf(text)
    this.#configs.set(name, { modified: info.mtimeMs, config })
    return config
  }

  #keptOf(name: string, figure: (typeof FIGURE_OF)[keyof typeof FIGURE_OF]): Kept {
    const known = this.#kept.get(name)
    const kept =
      known?.figure === figure
        ? known
        : {
            figure,
            reader: new LogReader(),
            curves: new RunCurves(figure),
            last: Promise.resolve(),
          }
    // the one that was asked for last comes last
    this.#kept.delete(name)
    this.#kept.set(name, kept)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MOST_KEPT) break
      this.#kept.delete(oldest)
    }
    return kept
  }
}

/** A name of one folder: what a run is called is its owner's choice, and a sweep's names have `=` and `,`. */
function isName(name: string): boolean {
  return name.length <= 255 && !name.startsWith('.') && /^[^/\\\0]+$/.test(name)
}

async function readLog(root: string, folder: string, kept: Kept): Promise<boolean> {
  const file = await opened(root, join(folder, METRICS_FILE))
  if (file === undefined) {
    // removed, or not begun: what comes is read from its beginning
    kept.reader = new LogReader()
    kept.curves.restart()
    return true
  }
  try {
    return await kept.reader.read(file, kept.curves)
  } finally {
    await file.close()
  }
}

async function textOf(root: string, path: string): Promise<string | undefined> {
  const file = await opened(root, path)
  if (file === undefined) return undefined
  try {
    const bytes = Buffer.alloc(MOST_CONFIG_BYTES)
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
    return bytes.toString('utf8', 0, bytesRead)
  } catch {
    return undefined
  } finally {
    await file.close()
  }
}

/** Undefined for what is not there, may not be read, is no file, or lies outside. */
async function infoOf(root: string, path: string) {
  try {
    const real = await realPathIn(root, path)
    const info = real === undefined ? undefined : await stat(real)
    return info?.isFile() ? info : undefined
  } catch {
    return undefined
  }
}

async function opened(root: string, path: string) {
  try {
    const real = await realPathIn(root, path)
    return real === undefined ? undefined : await openFile(real)
  } catch {
    return undefined
  }
}
