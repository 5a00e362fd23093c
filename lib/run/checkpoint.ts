// Checkpoints: everything from which a run goes on to the same numbers, in one safetensors file that is
// replaced as a whole. docs/file-formats.md, "Checkpoint". Knows no step and no loss.

import { existsSync } from 'node:fs'
import { z } from 'zod'
import { LoptError } from '../errors.js'
import { wrongFields } from '../fields.js'
import { jsonText, openTensors } from '../prompt/tensor-file.js'
import {
  type OptimizerState,
  type SafetensorsFile,
  type Tensor,
  tidy,
  writeSafetensors,
} from '../torch/index.js'
import { FIGURES, type Figures } from './figures.js'

const VERSION = '1'

const figures = z.object({
  ...Object.fromEntries(FIGURES.map((name) => [name, z.number().optional()])),
  loss: z.number(),
} as { [Name in keyof Figures]-?: z.ZodOptional<z.ZodNumber> } & { loss: z.ZodNumber })

const stateSchema = z.object({
  /** Steps that were done. The rows' order is drawn anew from its seed up to here. */
  step: z.int().min(0),
  /** Of training so far. */
  seconds: z.number().min(0),
  bestStep: z.int().min(0),
  /** Of the best on dev; absent before the first evaluation. */
  best: figures.optional(),
  /** Bytes of the log that belong to these steps. */
  logBytes: z.int().min(0),
  /** Whether all steps are done. */
  finished: z.boolean(),
  /** What was not finite, and in which step, of one of several prompts whose training ended there. */
  failed: z.string().optional(),
})

export type RunState = z.infer<typeof stateSchema>

type Named = Readonly<Record<string, Tensor>>

/** Tensors by their part in the run. */
export interface CheckpointTensors {
  /** What is learned, as it is now. */
  readonly now: Named
  /** What goes with it and is not learned. */
  readonly fixed: Named
  /** What is gone back to: the best, or, where nothing was evaluated, the last good. */
  readonly kept: Named
}

export interface Checkpoint {
  readonly state: RunState
  readonly tensors: CheckpointTensors
  readonly optimizer: OptimizerState
}

/** Writes a checkpoint, atomically. */
export async function writeCheckpoint(
  path: string,
  { state, tensors, optimizer }: Checkpoint,
): Promise<void> {
  const named: Record<string, Tensor> = {}
  for (const part of ['now', 'fixed', 'kept'] as const) {
    for (const [name, tensor] of Object.entries(tensors[part])) {
      named[`${part}.${name}`] = tensor.detach()
    }
  }
  optimizer.parameters.forEach((parameter, i) => {
    for (const [name, tensor] of Object.entries(parameter?.tensors ?? {})) {
      named[`optimizer.${i}.${name}`] = tensor
    }
  })
  const steps = optimizer.parameters.map((parameter) => parameter?.step ?? null)
  const metadata = {
    format: 'lopt-checkpoint',
    version: VERSION,
    state: JSON.stringify(state),
    optimizer: JSON.stringify({ kind: optimizer.kind, groups: optimizer.groups, steps }),
  }
  await writeSafetensors(path, named, { metadata })
}

const metadataSchema = z.object({
  format: z.literal('lopt-checkpoint'),
  version: z.literal(VERSION),
  state: jsonText.pipe(stateSchema),
  optimizer: jsonText.pipe(
    z.object({
      kind: z.enum(['adam', 'adamw', 'sgd', 'adafactor']),
      groups: z.array(z.object({ options: z.looseObject({}), size: z.int().min(0) })),
      steps: z.array(z.int().min(0).nullable()),
    }),
  ),
})

/**
 * What a checkpoint says; its tensors are copies in memory, of the current scope.
 *
 * @throws LoptError `ERR_PROMPT_FILE` for a file that is missing or damaged.
 */
export function readCheckpoint(path: string): Checkpoint {
  if (!existsSync(path)) {
    throw new LoptError('ERR_PROMPT_FILE', `There is no checkpoint ${path}`)
  }
  const file = openTensors(path)
  try {
    return tidy(() => contentOf(path, file))
  } finally {
    file.dispose()
  }
}

/**
 * The state in a checkpoint; undefined where there is none.
 *
 * @throws LoptError `ERR_PROMPT_FILE` for a file that is damaged.
 */
export function readState(path: string): RunState | undefined {
  if (!existsSync(path)) return undefined
  const file = openTensors(path)
  try {
    return metadataOf(path, file).state
  } finally {
    file.dispose()
  }
}

function metadataOf(path: string, file: SafetensorsFile): z.infer<typeof metadataSchema> {
  const read = metadataSchema.safeParse(file.metadata, { reportInput: true })
  if (read.success) return read.data
  throw new LoptError(
    'ERR_PROMPT_FILE',
    `${path} is no checkpoint of this lopt: ${wrongFields(read.error, file.metadata)}`,
  )
}

function contentOf(path: string, file: SafetensorsFile): Checkpoint {
  const { state, optimizer } = metadataOf(path, file)
  const below = (prefix: string) =>
    Object.fromEntries(
      file.names
        .filter((name) => name.startsWith(`${prefix}.`))
        .map((name) => [name.slice(prefix.length + 1), file.tensor(name).clone()]),
    )
  return {
    state,
    tensors: { now: below('now'), fixed: below('fixed'), kept: below('kept') },
    optimizer: {
      kind: optimizer.kind,
      groups: optimizer.groups as OptimizerState['groups'],
      parameters: optimizer.steps.map((step, i) =>
        step === null ? null : { step, tensors: below(`optimizer.${i}`) },
      ),
    },
  }
}

/**
 * Puts stored tensors into those of the run.
 *
 * @throws LoptError `ERR_PROMPT_FILE` where names or shapes differ.
 */
export async function restoreTensors(
  path: string,
  stored: Named,
  current: Named,
): Promise<void> {
  const text = (named: Named) =>
    Object.entries(named)
      .map(([name, { shape, dtype }]) => `${name} ${dtype} [${shape.join(', ')}]`)
      .sort()
      .join(', ')
  if (text(stored) !== text(current)) {
    throw new LoptError(
      'ERR_PROMPT_FILE',
      `${path} holds ${text(stored)}, but the run has ${text(current)}`,
    )
  }
  for (const [name, tensor] of Object.entries(current)) {
    await tensor.copy_(stored[name] as Tensor)
  }
}
