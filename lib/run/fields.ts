// What a run is told besides its model, its rows and what it learns, with the defaults: options of `train`, the
// settings of a sweep, and config.json's `training` are these. Trains nothing.

import { z } from 'zod'
import { LONG_TARGETS, REUSE_BUDGET_BYTES } from '../inference/index.js'

export const OBJECTIVES = ['lm', 'verbalizer'] as const

/** What is made likely: the label's tokens given all before them (`lm`), or the label among the labels (`verbalizer`). */
export type Objective = (typeof OBJECTIVES)[number]

export const MEANS = ['tokens', 'rows'] as const

/** What the loss of `lm` is a mean over. */
export type MeanOver = (typeof MEANS)[number]

export const OPTIMIZERS = ['adam', 'adamw', 'sgd', 'adafactor'] as const

/** The optimizers that `train` takes. */
export type OptimizerName = (typeof OPTIMIZERS)[number]

export const SCHEDULES = ['constant', 'linear', 'cosine'] as const

/** How the learning rate goes on after the warm-up. */
export type Schedule = (typeof SCHEDULES)[number]

export const PROFILE_STEPS = 3
export const PROFILE_WARMUP_STEPS = 3

/** A step of a large model runs ten thousand ops and more, some MB: viewers open hardly more than this. */
export const MOST_PROFILE_STEPS = 100

const positive = z.int().min(1)
export const trainFields = z.strictObject({
  steps: positive.default(1000),
  batchSize: positive.default(16),
  batchTokens: positive.optional(),
  accumulate: positive.default(1),
  objective: z.enum(OBJECTIVES).default('lm'),
  meanOver: z.enum(MEANS).optional(),
  optimizer: z.enum(OPTIMIZERS).default('adam'),
  learningRate: z.number().gt(0).optional(),
  learningRates: z.record(z.string().min(1), z.number().gt(0)).optional(),
  weightDecay: z.number().min(0).default(0),
  weightDecays: z.record(z.string().min(1), z.number().min(0)).default({}),
  clip: z.number().min(0).default(1),
  schedule: z.enum(SCHEDULES).default('constant'),
  warmupSteps: z.int().min(0).default(0),
  seed: z.int().min(0).default(0),
  shuffle: z.boolean().default(true),
  maxLength: positive.optional(),
  maxTargetLength: positive.optional(),
  longTargets: z.enum(LONG_TARGETS).optional(),
  samples: z.int().min(0).default(8),
  evalEvery: z.int().min(0).optional(),
  evalLimit: positive.optional(),
  batchByLength: z.boolean().default(true),
  fastPaths: z.boolean().default(true),
  reuse: z
    .strictObject({
      budgetBytes: z.int().min(0).default(REUSE_BUDGET_BYTES),
      halfPrecision: z.boolean().default(false),
    })
    .prefault({}),
  checkpointLayers: positive.optional(),
  graphs: z.boolean().optional(),
  out: z.string().min(1).optional(),
  resume: z.boolean().default(false),
  checkpointEvery: z.int().min(0).optional(),
  profile: z
    .strictObject({
      path: z.string().min(1),
      steps: positive.max(MOST_PROFILE_STEPS).default(PROFILE_STEPS),
      warmupSteps: z.int().min(0).default(PROFILE_WARMUP_STEPS),
    })
    .optional(),
})

type MayBeAbsent =
  | 'maxLength'
  | 'maxTargetLength'
  | 'longTargets'
  | 'evalLimit'
  | 'out'
  | 'batchTokens'
  | 'checkpointLayers'
  | 'graphs'
  | 'profile'

/** All of them, every default filled in. */
export type TrainSettings = Required<Omit<z.infer<typeof trainFields>, MayBeAbsent>> &
  Pick<z.infer<typeof trainFields>, MayBeAbsent>
