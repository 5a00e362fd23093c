// What a finished cell leaves in its run folder, `result.json`: docs/file-formats.md. A cell that has
// one is not run again. Knows no run.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { writeFileAtomic } from '../atomic-file.js'
import { LoptError, onOneLine } from '../errors.js'
import { wrongFields } from '../fields.js'
import { type RunSettings, settingsSchema } from './settings.js'

export const RESULT_FILE = 'result.json'

const figures = z.record(z.string(), z.number())

const resultSchema = z.object({
  version: z.literal(1),
  /** `diverged`: the loss became NaN or infinite, a finding and no fault. */
  status: z.enum(['done', 'diverged', 'failed']),
  /** Of the settings and the backbone's fingerprint. */
  hash: z.string(),
  settings: settingsSchema,
  backbone: z.object({ source: z.string(), fingerprint: z.string() }),
  task: z.object({
    name: z.string(),
    /** The figure that the task is judged by, as it is called in `dev` and `test`. */
    metric: z.string(),
    rows: z.object({ train: z.number(), dev: z.number(), test: z.number() }),
  }),
  trainableParameters: z.number(),
  /** The one that was used, where there is one. */
  learningRate: z.number().optional(),
  bestStep: z.number().optional(),
  /** Of the kept prompt. */
  dev: figures.optional(),
  test: figures.optional(),
  /** One character a test row: 1 where the prediction was right. What paired comparisons need. */
  right: z.string().optional(),
  /** Cells that were run in one pass with it, itself among them; absent: 1. */
  together: z.number().optional(),
  /** Of training, and of the evaluation on test: of a pass's, this cell's equal share. */
  seconds: z.object({ train: z.number(), test: z.number() }),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  versions: z.object({ lopt: z.string(), torch: z.string(), node: z.string() }),
  finishedAt: z.string(),
})

/** What came of a cell of a sweep: its result.json. */
export type CellResult = Omit<z.infer<typeof resultSchema>, 'settings'> & {
  readonly settings: RunSettings
}

/**
 * @returns undefined where there is none
 * @throws LoptError `ERR_DATA` for a file that is something else, `ERR_IO` for one that cannot be read.
 */
export async function readResult(folder: string): Promise<CellResult | undefined> {
  const file = join(folder, RESULT_FILE)
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new LoptError('ERR_IO', `Cannot read ${file}: ${(cause as Error).message}`, {
      cause,
    })
  }
  try {
    return resultSchema.parse(JSON.parse(text), { reportInput: true }) as CellResult
  } catch (cause) {
    const why =
      cause instanceof z.ZodError
        ? wrongFields(cause, undefined)
        : onOneLine((cause as Error).message)
    throw new LoptError(
      'ERR_DATA',
      `${file} is no result of a sweep (${why}): remove it to run the cell again`,
      { cause },
    )
  }
}

export async function writeResult(folder: string, result: CellResult): Promise<void> {
  const text = `${JSON.stringify(result, null, 2)}\n`
  await writeFileAtomic(join(folder, RESULT_FILE), Buffer.from(text))
}
