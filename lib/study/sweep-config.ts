// What a sweep's configuration is: settings for all runs, a grid, and what differs by method or task.
// Knows no run.

import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { checked } from '../fields.js'
import { isPromptFile } from '../prompt/init.js'
import { readConfigFile } from './config-file.js'
import {
  RUN_METHODS,
  type RunMethod,
  type RunSettings,
  SETTING_FIELDS,
  SETTING_NAMES,
  type SettingName,
  settingsSchema,
} from './settings.js'

/** Several values for some of the settings: every combination is run. */
export type Axes = { readonly [Name in SettingName]?: readonly RunSettings[Name][] }

type ValuesOrOne = {
  readonly [Name in SettingName]?: RunSettings[Name] | readonly RunSettings[Name][]
}

/** Chooses a setting on dev with one seed; the other seeds run with what was chosen. */
export interface Selection {
  /** The setting that is chosen, such as `learningRate`. */
  over: SettingName
  /** The figure on dev that decides, such as `accuracy`; default: the task's metric. */
  by?: string
  /** The seed that runs with every value, default 0. */
  seed?: number
}

export interface SweepConfig extends RunSettings {
  grid?: Axes
  /** In place of a setting or an axis, for one method. */
  methods?: { readonly [Name in RunMethod]?: ValuesOrOne }
  /** The same for one task; where both say something, the method counts. */
  tasks?: Readonly<Record<string, ValuesOrOne>>
  select?: Selection
}

/** A configuration with every override as a list, and the folder that its files are relative to. */
export interface ReadSweepConfig {
  readonly base: RunSettings
  readonly grid: Axes
  readonly methods: Readonly<Partial<Record<RunMethod, Axes>>>
  readonly tasks: Readonly<Record<string, Axes>>
  readonly select: (Selection & { seed: number }) | undefined
  readonly folder: string
}

// One model is open at a time.
const NO_AXES: readonly SettingName[] = ['backbone', 'revision', 'device', 'dtype']
const axisNames = SETTING_NAMES.filter((name) => !NO_AXES.includes(name))

function axesOf(names: readonly SettingName[], oneIsEnough: boolean) {
  const fields = names.map((name) => {
    const list = z.array(SETTING_FIELDS[name]).min(1)
    const values = oneIsEnough
      ? z.preprocess((value) => (Array.isArray(value) ? value : [value]), list)
      : list
    return [name, values.optional()]
  })
  return z.strictObject(Object.fromEntries(fields)) as unknown as z.ZodType<Axes>
}

const overrides = axesOf(
  axisNames.filter((name) => name !== 'method' && name !== 'task'),
  true,
)

const sweepSchema = z.strictObject({
  ...(settingsSchema as unknown as z.ZodObject).shape,
  grid: axesOf(axisNames, false).default({}),
  methods: z
    .strictObject(
      Object.fromEntries(RUN_METHODS.map((name) => [name, overrides.optional()])),
    )
    .default({}),
  tasks: z.record(z.string(), overrides).default({}),
  select: z
    .strictObject({
      over: z.enum(axisNames as [SettingName, ...SettingName[]]),
      by: z.string().min(1).optional(),
      seed: z.int().min(0).default(0),
    })
    .optional(),
})

/**
 * Reads a sweep's configuration from a file, or checks the one given.
 *
 * @throws RangeError naming the wrong fields by their paths; LoptError `ERR_IO` for the file.
 */
export function readSweepConfig(config: string | SweepConfig): ReadSweepConfig {
  const isFile = typeof config === 'string'
  const value = isFile ? readConfigFile(config) : config
  const where = isFile ? config : ''
  const folder = isFile ? dirname(resolve(config)) : process.cwd()
  const result = parseSweepConfig(value, { where, folder })
  checkWhole(result, where)
  return result
}

/** The fields alone: neither a backbone nor a task has to be there. */
export function parseSweepConfig(
  value: unknown,
  { where, folder }: { where: string; folder: string },
): ReadSweepConfig {
  const read = checked(sweepSchema, value, where)
  const { grid, methods, tasks, select, ...base } = read
  return {
    base: base as RunSettings,
    grid,
    methods: methods as ReadSweepConfig['methods'],
    tasks,
    select,
    folder,
  }
}

function checkWhole({ base, grid, tasks, select }: ReadSweepConfig, where: string): void {
  const refuse = (message: string) => {
    throw new RangeError(where === '' ? message : `${where}: ${message}`)
  }
  if (base.backbone === undefined) refuse('backbone: Expected text but received nothing')
  if (!(base.task ?? base.data ?? grid.task ?? grid.data)) {
    refuse('task: Expected a task, or rows in `data`, but received nothing')
  }
  for (const name of SETTING_NAMES) {
    if (base[name] !== undefined && grid[name] !== undefined) {
      refuse(`${name}: Expected one of ${name} and grid.${name}, but received both`)
    }
  }
  const known = grid.task ?? [base.task]
  for (const name of Object.keys(tasks)) {
    if (!known.includes(name)) refuse(`tasks.${name}: No run is of this task`)
  }
  if (select && !(grid.seed ?? [base.seed ?? 0]).includes(select.seed)) {
    refuse(`select.seed: Expected one of grid.seed but received ${select.seed}`)
  }
}

/** Settings whose paths are relative to a folder, with absolute ones. */
export function withAbsolutePaths(settings: RunSettings, folder: string): RunSettings {
  const absolute = (name: 'data' | 'evalData' | 'testData' | 'dataDir') => {
    const path = settings[name]
    return path === undefined ? {} : { [name]: resolve(folder, path) }
  }
  const { backbone, init } = settings
  return {
    ...settings,
    ...absolute('data'),
    ...absolute('evalData'),
    ...absolute('dataDir'),
    ...absolute('testData'),
    // a model id has no dot before its slash
    ...(backbone && /^\.\.?[\\/]/.test(backbone)
      ? { backbone: resolve(folder, backbone) }
      : {}),
    ...(init && isPromptFile(init) ? { init: resolve(folder, init) } : {}),
  }
}
