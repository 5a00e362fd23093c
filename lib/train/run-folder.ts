// What a training run leaves on the disk: docs/file-formats.md, "Run folder". Knows no training.

import { appendFile, mkdir, readdir, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { writeFileAtomic } from '../atomic-file.js'
import { LoptError } from '../errors.js'

export const PROMPT_FILE = 'prompt.lopt.safetensors'
const CONFIG_FILE = 'config.json'
const METRICS_FILE = 'metrics.jsonl'

export class RunFolder {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Where a file of the run lies. */
  pathOf(fileName: string): string {
    return join(this.path, fileName)
  }

  /**
   * Makes the folder and writes the run's configuration.
   *
   * @throws LoptError `ERR_IO` when it cannot be written, or holds something already.
   */
  static async create(path: string, config: object): Promise<RunFolder> {
    try {
      await makeFolder(resolve(path))
      const [held] = await readdir(path)
      if (held !== undefined) {
        throw new LoptError(
          'ERR_IO',
          `The run folder ${path} is not empty (it holds ${held}): name another, or remove it`,
        )
      }
    } catch (cause) {
      if (cause instanceof LoptError) throw cause
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new LoptError('ERR_IO', `Cannot make the run folder ${path}: ${reason}`, {
        cause,
      })
    }
    const folder = new RunFolder(path)
    const text = `${JSON.stringify(config, null, 2)}\n`
    await writeFileAtomic(join(path, CONFIG_FILE), Buffer.from(text))
    return folder
  }

  /** Appends an event, one JSON object a line. */
  async log(event: object): Promise<void> {
    const file = join(this.path, METRICS_FILE)
    try {
      await appendFile(file, `${JSON.stringify(event)}\n`)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new LoptError('ERR_IO', `Cannot write ${file}: ${reason}`, { cause })
    }
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
