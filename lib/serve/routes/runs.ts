// GET /v1/runs and /v1/runs/NAME: run folders as training writes them, for curves. There where a folder of them is given.

import { z } from 'zod'
import { ApiError } from '../api-error.js'
import { RunsFolder } from '../runs/runs-folder.js'
import type { Call, Route } from '../site.js'

const config = {
  id: z.string(),
  object: z.literal('run'),
  task: z.string().nullable(),
  method: z.string().nullable(),
  length: z.int().nullable(),
  rank: z.int().nullable(),
  metric: z.string().meta({ description: "What of a run's evaluations `dev` shows" }),
  steps: z.int().nullable().meta({ description: 'That it shall have' }),
}

const listAnswer = z.object({
  object: z.literal('list'),
  data: z.array(
    z.object({
      ...config,
      modified: z.number().meta({ description: 'When its log grew, in Unix seconds' }),
      bytes: z.int().meta({ description: 'Of its log' }),
    }),
  ),
})

const point = z.array(z.number()).length(2)
const curve = z.array(point).max(500)

const runAnswer = z.object({
  ...config,
  state: z.enum(['waiting', 'running', 'done', 'failed']),
  failure: z.string().nullable(),
  step: z.int().meta({ description: 'Steps that were made' }),
  seconds: z.number(),
  best: point.nullable().meta({ description: 'Step and figure of the best on dev' }),
  loss: curve.meta({
    description: 'Steps and losses; of many steps means of equal stretches',
  }),
  dev: curve.meta({ description: 'Steps and figures on dev' }),
  broken: z.int().meta({ description: 'Lines of its log that are no events' }),
  complete: z.boolean().meta({
    description: 'false: the log is long, and more of it was not read yet; ask again',
  }),
})

/** @param path where the run folders lie */
export function runsRoutes(path: string): Route[] {
  const folder = new RunsFolder(path)
  return [
    {
      method: 'GET',
      path: '/v1/runs',
      summary: 'Runs of training, the one that was written last first',
      answer: listAnswer,
      async handle(): Promise<z.infer<typeof listAnswer>> {
        const runs = await folder.list()
        return { object: 'list', data: runs.map(named) }
      },
    },
    {
      method: 'GET',
      // a name may be longer than the framework's own limit of a parameter
      path: '/v1/runs/*',
      summary: "One of them: its losses, and its task's figure on dev",
      answer: runAnswer,
      async handle({ request }: Call): Promise<z.infer<typeof runAnswer>> {
        const { '*': name = '' } = request.params as { '*'?: string }
        const run = await folder.read(name)
        if (run !== undefined) return named(run)
        throw new ApiError(404, `There is no run ${JSON.stringify(name.slice(0, 100))}`, {
          code: 'run_not_found',
        })
      },
    },
  ]
}

function named<T extends { name: string }>({ name, ...rest }: T) {
  return { id: name, object: 'run' as const, ...rest }
}
