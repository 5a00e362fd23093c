// Runs that differ in their seed alone, as one row: means and spreads. Draws nothing.

import { isShare } from '../run/index.js'
import type { Run } from './read-runs.js'
import type { RunSettings, SettingName } from './settings.js'

export interface Spread {
  readonly mean: number
  /** Standard deviation of a sample (n - 1); undefined for one value. */
  readonly deviation: number | undefined
  readonly count: number
}

/** Runs of one method with the same settings. */
export interface Configuration {
  readonly task: string
  readonly method: string
  readonly metric: string
  /** Settings that tell it from the method's others: `P 20, R 4, lr 0.3`. */
  readonly label: string
  readonly settings: RunSettings
  readonly runs: readonly Run[]
  readonly parameters: number | undefined
  /** On test; on dev where no run was evaluated on test. */
  readonly figure: Spread | undefined
  readonly split: 'test' | 'dev'
  readonly dev: Spread | undefined
  readonly macroF1: Spread | undefined
  readonly seconds: Spread | undefined
}

export function spread(values: readonly number[]): Spread | undefined {
  const count = values.length
  if (count === 0) return undefined
  const mean = values.reduce((sum, value) => sum + value, 0) / count
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return {
    mean,
    deviation: count > 1 ? Math.sqrt(squares / (count - 1)) : undefined,
    count,
  }
}

/** Every configuration of the runs, in the runs' order. */
export function configurations(runs: readonly Run[]): Configuration[] {
  const groups = new Map<string, Run[]>()
  for (const run of runs) {
    const { seed: _seed, ...rest } = run.settings
    const key = JSON.stringify([run.task, run.method, Object.entries(rest).sort()])
    groups.set(key, [...(groups.get(key) ?? []), run])
  }
  const all = [...groups.values()]
  return all.map((group) => {
    const [{ task, method, metric, settings }] = group as [Run, ...Run[]]
    const siblings = runs.filter((run) => run.task === task && run.method === method)
    const figures = (of: (run: Run) => number | undefined) =>
      spread(group.map(of).filter((value) => value !== undefined))
    const test = figures((run) => run.test?.[metric])
    const dev = figures((run) => run.dev?.[metric])
    return {
      task,
      method,
      metric,
      label: labelOf(settings, siblings),
      settings,
      runs: group,
      parameters: group.find(({ parameters }) => parameters !== undefined)?.parameters,
      figure: test ?? dev,
      split: test ? 'test' : 'dev',
      dev,
      macroF1: figures((run) => run.test?.macroF1 ?? run.dev?.macroF1),
      seconds: figures((run) => (run.status === 'done' ? run.seconds : undefined)),
    }
  })
}

/** What the configurations of a task are judged by, as people call it, and on which rows. */
export function judgedBy(found: readonly Configuration[]): {
  metric: string
  split: 'test' | 'dev'
} {
  const judged = found.filter(({ figure }) => figure !== undefined)
  const metric = (judged[0] ?? found[0])?.metric ?? 'accuracy'
  return {
    metric: metric === 'macroF1' ? 'macro-F1' : metric,
    split: judged.some(({ split }) => split === 'test') ? 'test' : 'dev',
  }
}

const SHORT: Readonly<Partial<Record<SettingName, string>>> = {
  length: 'P',
  rank: 'R',
  learningRate: 'lr',
}

function labelOf(settings: RunSettings, siblings: readonly Run[]): string {
  const always: SettingName[] = ['length', 'rank']
  const names = [...always, ...varyingSettings(siblings)]
  const parts = [...new Set(names)].flatMap((name) =>
    settings[name] === undefined ? [] : [`${SHORT[name] ?? name} ${settings[name]}`],
  )
  return parts.join(', ')
}

/** Settings other than the seed that are not the same in all runs. */
export function varyingSettings(runs: readonly Run[]): SettingName[] {
  const names = new Set(runs.flatMap(({ settings }) => Object.keys(settings)))
  return [...names].filter((name) => {
    if (name === 'seed' || name === 'task' || name === 'method') return false
    const values = runs.map(({ settings }) =>
      JSON.stringify(settings[name as SettingName]),
    )
    return new Set(values).size > 1
  }) as SettingName[]
}

/** A figure in a table or a map: shares in per cent. */
export function cellText(value: number, metric: string): string {
  return isShare(metric) ? (100 * value).toFixed(1) : value.toPrecision(3)
}

/** The same in a sentence. */
export function figureText(value: number, metric: string): string {
  return isShare(metric) ? `${cellText(value, metric)} %` : cellText(value, metric)
}
