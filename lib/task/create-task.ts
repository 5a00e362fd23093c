// A task from rows in memory: splits, labels and their checks. Reads no file.

import { checkObject, LoptError } from '../errors.js'
import { exampleOf, rowOf } from './readers/row.js'
import { holdOut, sample } from './sample.js'
import { metricOf, placeOf, targetFormat } from './targets.js'
import type {
  Candidate,
  Example,
  Metric,
  SplitName,
  Task,
  TaskSource,
  TextMetric,
} from './task.js'
import { parseTemplate } from './template.js'
import { completeVerbalizer, quoted } from './verbalizer.js'

/**
 * A row as a caller writes it: `{ text, label }`, or `{ text, target }` for one that is answered by a text, or the
 * templates' fields by name. `targets` is a list of several right texts, of which the first is learned.
 */
export type TaskRow = Readonly<Record<string, unknown>>

/** Options that any task takes, wherever its rows come from. */
export interface TaskSettings {
  /** `{text}` by default, or the bundled task's own. */
  template?: string
  /** Every label, in order; by default those of the training rows, in order of appearance. */
  labels?: readonly string[]
  /** Label → the words that the model is shown; by default the label itself. */
  verbalizer?: Readonly<Record<string, string>>
  /**
   * What answers a row, where that is a text of named fields: `' {summary}'`, `{target}` being one of `targets`. Default: the
   * field `target`, behind a space where a causal model goes on with it.
   */
  targetTemplate?: string
  /** Whether the token that ends a text is learned behind a target; default true. */
  targetEnd?: boolean
  /**
   * The figure that the task is judged by, or a function that gives it; `accuracy` by default, `perplexity` where rows are
   * answered by texts.
   */
  metric?: Metric | TextMetric
  /** What chooses the rows to hold out, and those that `limit` keeps; 0 by default. */
  seed?: number
  /** Keep at most this many rows of a split, chosen by seed; a number counts for every split. */
  limit?: number | Partial<Record<SplitName, number>>
}

/** How the rows of a task without a dev split are held out. */
export interface HoldOut {
  /** The part of the training rows, from 0 to below 1, that becomes `dev`; 0.1 by default. */
  devFraction?: number
}

export interface CreateTaskOptions extends TaskSettings, HoldOut {
  name?: string
  train: readonly TaskRow[]
  /** Without it, a part of the training rows is held out by seed: see `Task.heldOut`. */
  dev?: readonly TaskRow[]
  test?: readonly TaskRow[]
  /** The name of the label's field; `label` by default. */
  labelField?: string
}

/** The examples of a task that is being put together. */
export interface Splits {
  train: readonly Example[]
  dev?: readonly Example[]
  test?: readonly Example[]
}

/**
 * Makes a task from arrays of rows.
 *
 * @throws TypeError for options of the wrong kind; RangeError for a value that makes no task: an
 * empty split, labels that are given twice, fewer than two labels, a template that cannot be read;
 * LoptError `ERR_DATA`, naming the row, for a row without a field that a template uses, for a
 * label that is not among the labels, and for a row that a text answers among those that have labels.
 *
 * @example
 * createTask({
 *   template: '{text} It was',
 *   train: [{ text: 'A delight.', label: 'great' }, { text: 'Two lost hours.', label: 'terrible' }, …],
 * })
 */
export function createTask(options: CreateTaskOptions): Task {
  checkObject(options, 'options')
  const {
    name = 'task',
    template = '{text}',
    labelField = 'label',
    ...settings
  } = options
  const { targetTemplate } = settings
  const { fields } = parseTemplate(template)
  const examples = (split: SplitName): Example[] | undefined => {
    const rows: unknown = options[split]
    if (rows === undefined && split !== 'train') return undefined
    if (!Array.isArray(rows)) {
      throw new TypeError(
        `Expected ${split} to be an array of rows but received ${kindOf(rows)}`,
      )
    }
    return rows.map((row: unknown, i) => {
      if (typeof row !== 'object' || row === null || Array.isArray(row)) {
        throw new TypeError(
          `Expected ${split}[${i}] to be a row but received ${kindOf(row)}`,
        )
      }
      const record = row as TaskRow
      const options = { fields, labelField, targetTemplate }
      return exampleOf(rowOf(record, i, `${split}[${i}]`, options))
    })
  }
  const splits = {
    train: examples('train') ?? [],
    dev: examples('dev'),
    test: examples('test'),
  }
  return assembleTask(name, splits, { ...settings, template }, { labelField })
}

/**
 * Puts a task together from examples that have the template's fields.
 *
 * @param from where the examples were read
 */
export function assembleTask(
  name: string,
  splits: Splits,
  settings: TaskSettings & HoldOut & { template: string },
  from: Omit<TaskSource, 'seed' | 'devFraction' | 'limit'>,
): Task {
  const { template, seed = 0, limit, devFraction = 0.1 } = settings
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(
      `Expected seed to be an integer of 0 or more but received ${seed}`,
    )
  }
  for (const split of ['train', 'dev', 'test'] as const) {
    if (splits[split]?.length === 0)
      throw new RangeError(`The ${split} split of task "${name}" has no rows`)
  }
  const target = targetFormat(name, splits, settings)
  const judged = metricOf(settings, target)
  const known = settings.labels ? checkLabels(settings.labels) : labelsOf(splits.train)
  const labels = target ? [] : known
  const all = [...splits.train, ...(splits.dev ?? []), ...(splits.test ?? [])]
  const ownLabels = labels.length === 0 && all.every(({ candidates }) => candidates)
  if (labels.length < 2 && !ownLabels && !target) {
    throw new RangeError(
      `Task "${name}" needs two labels or more, but its rows have only ${quoted(labels)}`,
    )
  }
  const verbalizer = completeVerbalizer(labels, settings.verbalizer)
  for (const split of ['train', 'dev', 'test'] as const) {
    if (!target) checkExamples(splits[split] ?? [], split, labels)
  }

  const held = splits.dev ? 0 : heldOutCount(splits.train.length, devFraction)
  const { taken, rest } = holdOut(splits.train, held, seed)
  const kept = (split: SplitName, rows: readonly Example[]) =>
    sample(rows, limitOf(limit, split) ?? rows.length, seed)
  const dev = kept('dev', splits.dev ?? taken)
  return {
    name,
    labels,
    template,
    fields: parseTemplate(template).fields,
    verbalizer,
    ...(target && { target }),
    ...judged,
    train: kept('train', rest),
    dev,
    test: kept('test', splits.test ?? []),
    heldOut: splits.dev ? 0 : dev.length,
    source: {
      ...from,
      seed,
      ...(splits.dev ? {} : { devFraction }),
      ...(limit === undefined ? {} : { limit }),
    },
  }
}

/** The labels of examples, each once, in order of first appearance. */
export function labelsOf(examples: readonly Example[]): string[] {
  return [...new Set(examples.map((example) => example.label))]
}

function checkLabels(labels: readonly string[]): string[] {
  if (!Array.isArray(labels)) {
    throw new TypeError(`Expected labels to be an array but received ${kindOf(labels)}`)
  }
  labels.forEach((label: unknown, i) => {
    if (typeof label !== 'string' || label === '' || label !== label.trim()) {
      throw new RangeError(
        `Expected labels[${i}] to be text without white space around it but received ${JSON.stringify(label)}`,
      )
    }
    if (labels.indexOf(label) !== i)
      throw new RangeError(`The label "${label}" is given twice`)
  })
  return [...labels]
}

function checkExamples(
  examples: readonly Example[],
  split: SplitName,
  labels: readonly string[],
): void {
  const known = new Set(labels)
  examples.forEach((example, i) => {
    const { label, candidates } = example
    const fault =
      known.has(label) || labels.length === 0
        ? candidates && candidatesFault(label, candidates, known)
        : `The label "${label}" is not one of ${quoted(labels)}`
    if (fault === undefined) return
    throw new LoptError('ERR_DATA', `${placeOf(example, split, i)}: ${fault}`)
  })
}

/** Why a row's own candidates do not do; undefined if they do. */
function candidatesFault(
  label: string,
  candidates: readonly Candidate[],
  known: ReadonlySet<string>,
): string | undefined {
  const other = candidates.find((one) => known.size > 0 && !known.has(one.label))
  if (other)
    return `A candidate has the label "${other.label}", which is none of the task's`
  const words = candidates.map((one) => one.words)
  const twice = words.find((one, i) => words.indexOf(one) !== i)
  if (twice !== undefined) return `The candidate "${twice}" is there twice`
  if (candidates.some((one) => one.label === label)) return undefined
  return `The right answer "${label}" is not among the candidates ${quoted(words)}`
}

function heldOutCount(rows: number, fraction: number): number {
  if (typeof fraction !== 'number' || !(fraction >= 0 && fraction < 1)) {
    throw new RangeError(
      `Expected devFraction to be from 0 to below 1 but received ${fraction}`,
    )
  }
  if (fraction === 0) return 0
  const count = Math.max(1, Math.round(rows * fraction))
  if (count < rows) return count
  throw new RangeError(
    `Holding out ${count} of ${rows} training rows leaves none to train on; give dev rows, or more rows`,
  )
}

function limitOf(limit: TaskSettings['limit'], split: SplitName): number | undefined {
  const count = typeof limit === 'object' ? limit[split] : limit
  if (count === undefined) return undefined
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(
      `Expected limit to be an integer of 1 or more but received ${String(count)}`,
    )
  }
  return count
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
}
