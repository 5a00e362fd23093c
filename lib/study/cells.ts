// From a configuration to its cells: every combination once, in a fixed order, each with the name of
// its folder. Knows no model.

import { createHash } from 'node:crypto'
import { basename, extname } from 'node:path'
import { meaningful, type RunSettings, type SettingName } from './settings.js'
import type { Axes, ReadSweepConfig } from './sweep-config.js'

/** One run of a sweep. */
export interface Cell {
  /** Its folder in the sweep's: `topics/lopt-1/P20-R4-lr0.3-seed0`. */
  readonly name: string
  /** As written, without what has no meaning with the method. */
  readonly settings: RunSettings
}

/** Cells of one shard, some of which wait for others: the later ones need what the first ones showed. */
export interface Group {
  readonly first: readonly Cell[]
  /** Those of the other seeds: only the ones with the chosen value are run. */
  readonly later: readonly Cell[]
}

// The outermost loop first. What is not named comes between.
const OUTER: readonly SettingName[] = ['task', 'data', 'method', 'length', 'rank']
const INNER: readonly SettingName[] = ['learningRate', 'seed']

/** All cells, each once, in the order in which they are run. */
export function expandCells(config: ReadSweepConfig): Cell[] {
  const { base, grid } = config
  const seen = new Map<string, RunSettings>()
  for (const task of grid.task ?? [base.task]) {
    for (const method of grid.method ?? [base.method]) {
      const axes: Axes = {
        ...Object.fromEntries(Object.entries(base).map(([name, v]) => [name, [v]])),
        ...grid,
        ...(task === undefined ? {} : config.tasks[task]),
        ...(method === undefined ? {} : config.methods[method]),
        ...(task === undefined ? {} : { task: [task] }),
        ...(method === undefined ? {} : { method: [method] }),
      }
      for (const settings of combinations(axes)) {
        const run = meaningful(settings)
        const key = canonical(run)
        if (!seen.has(key)) seen.set(key, run)
      }
    }
  }
  return named([...seen.values()], varying([...seen.values()]))
}

/** The cells as groups; shard `index` (from 1) of `of` has every `of`-th group. */
export function groupCells(
  cells: readonly Cell[],
  select: ReadSweepConfig['select'],
  shard: { index: number; of: number } = { index: 1, of: 1 },
): Group[] {
  const groups = new Map<string, { first: Cell[]; later: Cell[] }>()
  for (const cell of cells) {
    const { settings } = cell
    const chosen = select !== undefined && settings[select.over] !== undefined
    const key = chosen
      ? canonical({ ...settings, [select.over]: undefined, seed: undefined })
      : cell.name
    const group = groups.get(key) ?? { first: [], later: [] }
    groups.set(key, group)
    const isFirst = !chosen || (settings.seed ?? 0) === select.seed
    group[isFirst ? 'first' : 'later'].push(cell)
  }
  return [...groups.values()].filter((_, i) => i % shard.of === shard.index - 1)
}

/** A fingerprint of what a cell was made with: settings as written, and the model's own. */
export function settingsHash(settings: RunSettings, backbone: string): string {
  const text = canonical({ ...settings, backbone })
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

/** The settings that differ, as people read them: `steps 800 → 1200`. */
export function differences(before: RunSettings, after: RunSettings): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  const shown = (value: unknown) =>
    value === undefined ? 'the default' : JSON.stringify(value)
  return (names as SettingName[])
    .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]))
    .map((name) => `${name} ${shown(before[name])} → ${shown(after[name])}`)
}

/** JSON with sorted names. */
function canonical(settings: RunSettings): string {
  const known = Object.entries(settings).filter(([, value]) => value !== undefined)
  return JSON.stringify(known.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function combinations(axes: Axes): RunSettings[] {
  const place = (name: SettingName) => {
    if (OUTER.includes(name)) return OUTER.indexOf(name)
    return INNER.includes(name) ? 100 + INNER.indexOf(name) : 50
  }
  const names = (Object.keys(axes) as SettingName[]).sort((a, b) => place(a) - place(b))
  let found: RunSettings[] = [{}]
  for (const name of names) {
    const values = axes[name] ?? []
    found = found.flatMap((one) => values.map((value) => ({ ...one, [name]: value })))
  }
  return found
}

/** Settings that differ between the runs of some method: a name has to tell them. */
function varying(runs: readonly RunSettings[]): Set<string> {
  const values = new Map<string, Set<string>>()
  for (const run of runs) {
    for (const [name, value] of Object.entries(run)) {
      const key = `${run.task ?? run.data}/${run.method}/${name}`
      const seen = values.get(key) ?? new Set()
      values.set(key, seen.add(JSON.stringify(value)))
    }
  }
  const several = [...values].filter(([, seen]) => seen.size > 1)
  return new Set(several.map(([key]) => key.slice(key.lastIndexOf('/') + 1)))
}

const IN_NAMES: Readonly<Partial<Record<SettingName, string>>> = {
  length: 'P',
  rank: 'R',
  learningRate: 'lr',
  seed: 'seed',
}

function named(runs: readonly RunSettings[], varied: Set<string>): Cell[] {
  const taken = new Set<string>()
  return runs.map((settings) => {
    const name = folderName(settings, varied)
    // Two values that only differ in what a file's name cannot hold.
    let unique = name
    for (let i = 2; taken.has(unique); i += 1) unique = `${name}-${i}`
    taken.add(unique)
    return { name: unique, settings }
  })
}

function folderName(settings: RunSettings, varied: Set<string>): string {
  const { task, data = '', method = 'lopt-1' } = settings
  const parts: string[] = []
  const add = (name: SettingName, value = settings[name]) => {
    if (value === undefined) return
    parts.push((IN_NAMES[name] ?? `${name}_`) + fileSafe(String(value)))
  }
  add('length')
  add('rank')
  const own = ['task', 'data', 'method', ...OUTER, ...INNER]
  for (const name of Object.keys(settings) as SettingName[]) {
    if (!own.includes(name) && varied.has(name)) add(name)
  }
  add('learningRate')
  const baseline = method === 'hard' || method === 'majority'
  if (!baseline) add('seed', settings.seed ?? 0)
  const rows = task ?? basename(data, extname(data))
  return [fileSafe(rows), method, parts.join('-') || 'once'].join('/')
}

function fileSafe(text: string): string {
  const safe = text.replace(/[^\w.+-]+/g, '_')
  return /^\.*$/.test(safe) ? `_${safe}` : safe.slice(0, 80)
}
