// What a training run leaves on the disk: docs/file-formats.md, "Run folder". Knows no training.

import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
} from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { writeFileAtomic } from '../atomic-file.js'
import { LoptError } from '../errors.js'
import { isLockFile, lockRun } from './lock.js'

export const PROMPT_FILE = 'prompt.lopt.safetensors'
export const CONFIG_FILE = 'config.json'
export const METRICS_FILE = 'metrics.jsonl'
const CHECKPOINT_FOLDER = 'checkpoint'
const CHECKPOINT_FILE = 'state.safetensors'
/** A checkpoint that does not count yet. */
const NEXT_CHECKPOINT_FILE = 'next.safetensors'

export function checkpointPathOf(folder: string): string {
  return join(folder, CHECKPOINT_FOLDER, CHECKPOINT_FILE)
}

export class RunFolder {
  readonly path: string
  readonly #unlock: () => Promise<void>
  #logBytes = 0

  private constructor(path: string, unlock: () => Promise<void>) {
    this.path = path
    this.#unlock = unlock
  }

  get checkpointPath(): string {
    return checkpointPathOf(this.path)
  }

  get nextCheckpointPath(): string {
    return join(this.path, CHECKPOINT_FOLDER, NEXT_CHECKPOINT_FILE)
  }

  /** Bytes of the log so far. */
  get logBytes(): number {
    return this.#logBytes
  }

  /**
   * Makes the folder, or takes one of a run that was begun, and locks it until `close`.
   *
   * @param options.resume take a folder that holds a run
   * @throws LoptError `ERR_IO` when it cannot be written, or holds something that is not to be
   *   touched; `ERR_LOCKED` while another process writes it.
   */
  static async open(path: string, { resume }: { resume: boolean }): Promise<RunFolder> {
    try {
      await makeFolder(resolve(path))
      // Before the lock is written: a folder that is refused stays as it is.
      await checkContent(path, resume)
    } catch (cause) {
      throw cannotMake(path, cause)
    }
    const unlock = await lockRun(path)
    const folder = new RunFolder(path, unlock)
    try {
      await removeTemporaryFiles(path)
      await makeFolder(join(path, CHECKPOINT_FOLDER))
      await removeTemporaryFiles(join(path, CHECKPOINT_FOLDER))
    } catch (error) {
      await unlock()
      throw cannotMake(path, error)
    }
    return folder
  }

  /** The configuration of the run that was begun here; undefined where none was. */
  async config(): Promise<unknown> {
    return await readConfigFile(this.path)
  }

  /** Written once there is a checkpoint: from then on the run counts as begun. */
  async writeConfig(config: object): Promise<void> {
    const text = `${JSON.stringify(config, null, 2)}\n`
    await writeFileAtomic(join(this.path, CONFIG_FILE), Buffer.from(text))
  }

  /** Appends an event, one JSON object a line. */
  async log(event: object): Promise<void> {
    const line = `${JSON.stringify(event)}\n`
    await this.#onLog((file) => appendFile(file, line))
    this.#logBytes += Buffer.byteLength(line)
  }

  /** Makes what was logged last through a power cut. */
  async flushLog(): Promise<void> {
    if (this.#logBytes === 0) return
    await this.#onLog(async (path) => {
      const file = await open(path, 'r')
      try {
        await file.sync()
      } finally {
        await file.close()
      }
    })
  }

  /** The log's first `bytes`; what came later is dropped: it comes again. */
  async cutLog(bytes: number): Promise<string> {
    return await this.#onLog(async (path) => {
      const whole = await readFile(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return Buffer.alloc(0)
        throw error
      })
      if (whole.length < bytes) {
        throw new Error(
          `it has ${whole.length} bytes, and its checkpoint counts ${bytes}`,
        )
      }
      if (whole.length > bytes) await truncate(path, bytes)
      this.#logBytes = bytes
      return whole.toString('utf8', 0, bytes)
    })
  }

  /** Lets other processes have the folder. */
  async close(): Promise<void> {
    await this.#unlock()
  }

  async #onLog<T>(work: (path: string) => Promise<T>): Promise<T> {
    const file = join(this.path, METRICS_FILE)
    try {
      return await work(file)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new LoptError('ERR_IO', `Cannot write ${file}: ${reason}`, { cause })
    }
  }
}

/**
 * The content of a run folder's config.json; undefined where there is none.
 *
 * @throws LoptError `ERR_IO` for a file that cannot be read or is no JSON.
 */
export async function readConfigFile(path: string): Promise<unknown> {
  const file = join(path, CONFIG_FILE)
  try {
    return JSON.parse(await readFile(file, 'utf8')) as unknown
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LoptError('ERR_IO', `Cannot read ${file}: ${reason}`, { cause })
  }
}

/** `ERR_IO`; what says more is left as it is. */
function cannotMake(path: string, cause: unknown): LoptError {
  if (cause instanceof LoptError) return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new LoptError('ERR_IO', `Cannot make the run folder ${path}: ${reason}`, {
    cause,
  })
}

/** What a run that was killed before it had begun leaves is no content. */
async function checkContent(path: string, resume: boolean): Promise<void> {
  const held = (await readdir(path)).filter(
    (name) => !isLockFile(name) && name !== CHECKPOINT_FOLDER && !isTemporary(name),
  )
  const [first] = held
  if (first === undefined) return
  if (!resume) {
    const hint = held.includes(CONFIG_FILE) ? ', or go on with it (`resume`)' : ''
    throw new LoptError(
      'ERR_IO',
      `The run folder ${path} is not empty (it holds ${first}): name another, or remove it${hint}`,
    )
  }
  if (held.includes(CONFIG_FILE)) return
  throw new LoptError(
    'ERR_IO',
    `${path} is no run folder: it holds ${first}, and no ${CONFIG_FILE}`,
  )
}

/** What atomic writes leave when they are killed. */
function isTemporary(name: string): boolean {
  return /^\.lopt-[\da-f-]+\.tmp$/.test(name)
}

async function removeTemporaryFiles(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (isTemporary(name)) await rm(join(folder, name), { force: true })
  }
}

/** Makes a folder and those above it. (Node's `recursive` never ends where `/proc` refuses one.) */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return
    const above = dirname(path)
    if (code !== 'ENOENT' || above === path || (await exists(above))) throw error
    await makeFolder(above)
    await mkdir(path)
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}
