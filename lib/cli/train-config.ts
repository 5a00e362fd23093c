// `--config` of `lopt train`: a file's settings as if they had been typed, where they were not. Knows
// how commander keeps values, and no setting's meaning.

import type { Command } from 'commander'
import type { RunSettings } from '../index.js'
import { readTrainConfig } from '../study/train-config.js'
import { UsageError } from './failure.js'

/** Settings that the command calls otherwise. */
const OTHER_NAMES: Readonly<Record<string, string>> = { learningRate: 'lr' }

/** What training a prompt has no use for, and loses nothing without. */
const OF_SWEEPS = ['testData']

/** Settings of `train` that only a file can have. */
const IN_FILES = ['learningRates', 'weightDecays', 'evalLimit'] as const

export type FileSettings = Pick<RunSettings, (typeof IN_FILES)[number]>

/** Which rows are meant is one question: who answers it on the command line answers all of it. */
const ROWS = ['task', 'data', 'evalData']

/**
 * Makes a command take `--config`. What was typed wins.
 *
 * @returns what applies the file, once all that was typed is known, and gives what has no option
 */
export function takeConfig(command: Command): () => FileSettings {
  let file: string | undefined
  command.on('option:config', (given: string) => {
    file = given
  })
  return () => {
    if (file === undefined) return {}
    const path = file
    const settings = asUsage(() => readTrainConfig(path, typed(command)))
    apply(command, settings, path)
    return Object.fromEntries(
      IN_FILES.filter((name) => settings[name] !== undefined).map((name) => [
        name,
        settings[name],
      ]),
    )
  }
}

function apply(command: Command, settings: RunSettings, file: string): void {
  const rowsAreTyped = isTyped(command, 'task') || isTyped(command, 'data')
  const unnamed: readonly string[] = [...OF_SWEEPS, ...IN_FILES]
  const known = new Set(command.options.map((option) => option.attributeName()))
  for (const [name, value] of Object.entries(withReuseApart(settings))) {
    const key = OTHER_NAMES[name] ?? name
    if (isTyped(command, key) || unnamed.includes(name)) continue
    if (rowsAreTyped && ROWS.includes(name)) continue
    if (!known.has(key)) {
      throw new UsageError(`${file}: ${name}: \`lopt train\` has no such option`)
    }
    command.setOptionValueWithSource(key, value, 'config')
  }
}

/** `reuse` is two options of the command. */
function withReuseApart({ reuse, ...settings }: RunSettings): object {
  const { budgetBytes, halfPrecision } = reuse ?? {}
  return {
    ...settings,
    ...(budgetBytes !== undefined && { reuseBudget: budgetBytes / 2 ** 20 }),
    ...(halfPrecision !== undefined && { reuseHalf: halfPrecision }),
  }
}

/** What was typed, by the names that settings have. */
function typed(command: Command): RunSettings {
  const values = Object.entries(command.opts()).filter(([key]) => isTyped(command, key))
  const names = new Map(Object.entries(OTHER_NAMES).map(([name, key]) => [key, name]))
  const {
    config: _config,
    out: _out,
    json: _json,
    profile: _profile,
    profileSteps: _profileSteps,
    ...settings
  } = Object.fromEntries(values.map(([key, value]) => [names.get(key) ?? key, value]))
  return settings as RunSettings
}

function isTyped(command: Command, key: string): boolean {
  return command.getOptionValueSource(key) === 'cli'
}

function asUsage<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message, { cause: error })
    throw error
  }
}
