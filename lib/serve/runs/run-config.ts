// What of a run's config.json tells it from others. Leaves out where anything lies: that is nobody's to see over HTTP.

import { basename } from 'node:path'
import { z } from 'zod'
import { FIGURE_OF } from '../../run/index.js'

const text = z.string().nullable().catch(null)
const count = z.int().min(0).nullable().catch(null)
const positive = z.int().min(1).nullable().catch(null)

const METRICS = Object.keys(FIGURE_OF) as [keyof typeof FIGURE_OF]

const configSchema = z.object({
  prompt: z.object({ method: text, length: positive, rank: count }).nullish().catch(null),
  task: z.object({ name: text, metric: z.enum(METRICS).catch('accuracy') }).nullish(),
  training: z.object({ steps: count }).nullish(),
})

export interface RunConfig {
  readonly task: string | null
  readonly method: string | null
  readonly length: number | null
  readonly rank: number | null
  /** What it is judged by. */
  readonly metric: keyof typeof FIGURE_OF
  readonly steps: number | null
}

export const NO_CONFIG: RunConfig = {
  task: null,
  method: null,
  length: null,
  rank: null,
  metric: 'accuracy',
  steps: null,
}

/** As much as the text says; it may be another program's, or broken. */
export function runConfigOf(text: string): RunConfig {
  const read = configSchema.safeParse(jsonOf(text))
  if (!read.success) return NO_CONFIG
  const { prompt, task, training } = read.data
  return {
    // a data file's path, where the task has no name of its own
    task: task?.name ? basename(task.name) : null,
    // without a prompt it is the model's own weights that are trained
    method: prompt === null ? 'fine-tune' : (prompt?.method ?? null),
    length: prompt?.length ?? null,
    rank: prompt?.rank || null,
    metric: task?.metric ?? 'accuracy',
    steps: training?.steps ?? null,
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
