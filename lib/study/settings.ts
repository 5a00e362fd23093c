// The settings of one run: what `createPrompt`, `train`, `loadTask` and `loadBackbone` take, as plain
// values that a file can hold. Derived from their own tables; runs nothing.

import { z } from 'zod'
import type { BackboneDType } from '../backbone/index.js'
import {
  type CreatePromptOptions,
  METHOD_NAMES,
  type MethodName,
} from '../prompt/index.js'
import { METHODS } from '../prompt/methods/index.js'
import { promptFields } from '../prompt/prompt.js'
import { trainFields } from '../run/index.js'
import {
  METRICS,
  type Metric,
  SPLITS,
  type Splits,
  TEMPLATE_STYLES,
  type TemplateStyle,
} from '../task/index.js'
import type { TrainOptions } from '../train/index.js'

/** What needs no prompt: the template alone, the most frequent label, the backbone's own weights. */
const BASELINES = ['hard', 'majority', 'fine-tune'] as const

/** What a cell may run: a method, or a baseline. */
export type RunMethod = MethodName | (typeof BASELINES)[number]

export const RUN_METHODS: readonly RunMethod[] = [...METHOD_NAMES, ...BASELINES]

/** Every setting may be left out where it is written; a run needs `backbone`, and `task` or `data`. */
export interface RunSettings
  extends Omit<CreatePromptOptions, 'method' | 'labels'>,
    Omit<
      TrainOptions,
      'backbone' | 'prompt' | 'prompts' | 'weights' | 'task' | 'out' | 'resume' | 'signal'
    > {
  /** As `loadBackbone` takes it. */
  backbone?: string
  /** Of a model id. */
  revision?: string
  device?: string
  dtype?: BackboneDType
  /** A task by name; or else `data`. */
  task?: string
  /** Data files, relative to the file that names them. */
  data?: string
  evalData?: string
  testData?: string
  template?: string
  /** Of rows that texts answer: as `createTask` takes them. */
  targetTemplate?: string
  targetEnd?: boolean
  /** What chooses a run's best prompt. */
  metric?: Metric
  /** Of a task of the literature: its original files, whose texts it has, and whose splits. */
  dataDir?: string
  templates?: TemplateStyle
  splits?: Splits
  /** `hard`: the template alone; `majority`: the most frequent label of the training rows. */
  method?: RunMethod
  /** For `fine-tune`: a regular expression of the names of the weights to train, default all. */
  trainable?: string
}

export type SettingName = keyof RunSettings & string

const text = z.string().min(1)
const count = z.int().min(1)
const { method: _method, labels: _labels, seed: _seed, ...prompt } = promptFields.shape
const { out: _out, resume: _resume, profile: _profile, ...training } = trainFields.shape

/** What each setting may be. */
export const SETTING_FIELDS = {
  backbone: text,
  revision: text,
  device: text,
  dtype: z.enum(['float64', 'float32', 'float16', 'bfloat16']),
  task: text,
  data: text,
  evalData: text,
  testData: text,
  template: text,
  targetTemplate: text,
  targetEnd: z.boolean(),
  metric: z.enum(METRICS),
  dataDir: text,
  templates: z.enum(TEMPLATE_STYLES),
  splits: z.enum(SPLITS),
  method: z.enum(RUN_METHODS as [RunMethod, ...RunMethod[]]),
  ...withoutDefaults(prompt),
  length: count,
  rank: count,
  bottleneck: count,
  textTokens: count,
  trainable: text.refine(isPattern, { error: 'Expected a regular expression' }),
  ...withoutDefaults(training),
} as unknown as Readonly<Record<SettingName, z.ZodType>>

export const SETTING_NAMES = Object.keys(SETTING_FIELDS) as SettingName[]

/** One value each for some of the settings. */
export const settingsSchema = z.strictObject(
  Object.fromEntries(
    SETTING_NAMES.map((name) => [name, SETTING_FIELDS[name].optional()]),
  ),
) as unknown as z.ZodType<RunSettings>

/** Left to the functions that have them: what is not written stays unsaid. */
function withoutDefaults(shape: z.ZodRawShape): Record<string, z.core.$ZodType> {
  return Object.fromEntries(
    Object.entries(shape).map(([name, field]) => [
      name,
      field instanceof z.ZodDefault ||
      field instanceof z.ZodPrefault ||
      field instanceof z.ZodOptional
        ? field.unwrap()
        : field,
    ]),
  )
}

function isPattern(source: string): boolean {
  try {
    new RegExp(source)
    return true
  } catch {
    return false
  }
}

// What decides about rows, and about how they are evaluated: all that counts without training.
const OF_EVALUATION: readonly SettingName[] = [
  'backbone',
  'revision',
  'device',
  'dtype',
  'task',
  'data',
  'evalData',
  'testData',
  'template',
  'targetTemplate',
  'targetEnd',
  'metric',
  'maxTargetLength',
  'longTargets',
  'dataDir',
  'templates',
  'splits',
  'method',
  'maxLength',
  'batchSize',
  'fastPaths',
  'evalLimit',
]
const OF_PROMPTS = Object.keys(prompt) as SettingName[]

/** Settings without those that change nothing with their method, so that equal runs are equal. */
export function meaningful(settings: RunSettings): RunSettings {
  const { method = 'lopt-1' } = settings
  const kept = Object.entries(settings).filter(([key, value]) => {
    if (value === undefined) return false
    return hasMeaning(key as SettingName, method, settings)
  })
  return { ...(Object.fromEntries(kept) as RunSettings), method }
}

/** Whether a setting changes anything with a method. */
export function hasMeaning(
  name: SettingName,
  method: RunMethod,
  { activation }: RunSettings,
): boolean {
  if (method === 'hard' || method === 'majority') return OF_EVALUATION.includes(name)
  if (method === 'fine-tune') return !OF_PROMPTS.includes(name)
  if (name === 'trainable') return false
  if (name === 'activationThreshold' && activation !== 'soft-threshold') return false
  const isOwn = METHOD_NAMES.some((other) => usesOf(other).includes(name))
  return !isOwn || usesOf(method).includes(name)
}

function usesOf(method: MethodName): readonly string[] {
  return METHODS[method].uses
}
