// A task by name or from data files. Reads rows and leaves their checks to others.

import { resolve } from 'node:path'
import { LoptError } from '../errors.js'
import { assembleTask, type HoldOut, type TaskSettings } from './create-task.js'
import {
  bundledTasks,
  loadNamedTask,
  type NamedTaskOptions,
  namedTasks,
  readBundledTask,
  taskNames,
} from './datasets/index.js'
import { dataFileExtensions, isDataFileName, readRows } from './readers/index.js'
import type { ReaderLimits } from './readers/lines.js'
import { exampleOf } from './readers/row.js'
import type { Example, Task } from './task.js'
import { parseTemplate } from './template.js'
import { quoted } from './verbalizer.js'

/** What `readExamples` takes. */
export interface ReadExamplesOptions {
  /** `{text}` by default: which fields a row must have. */
  template?: string
  /** The name of the label's field; `label` by default. */
  labelField?: string
  /** As `TaskSettings` has it: what answers a row is a text of these fields. */
  targetTemplate?: string | undefined
  limits?: Partial<ReaderLimits>
}

export interface LoadTaskOptions
  extends TaskSettings,
    HoldOut,
    ReadExamplesOptions,
    NamedTaskOptions {
  /** A data file for `dev`; without it a part of the rows is held out: see `Task.heldOut`. */
  evalData?: string
  /** A data file for `test`. */
  testData?: string
}

/**
 * Loads a task: a bundled one (`spam`, `topics`) or one of the literature (`sst2`, `agnews`, SuperGLUE's
 * `boolq`, `cb`, `copa`, `multirc`, `record`, `rte`, `wic`, `wsc`) by name, or the rows of a data file
 * (`.jsonl`, `.csv`, `.tsv`, `.parquet`), of which a part is held out if there is no `evalData`.
 *
 * A bundled task has its own splits, and takes `template`, `labels` (another order), `verbalizer`,
 * `metric`, `seed` and `limit`. A task of the literature comes from the Hugging Face hub by way of the
 * standard cache, or from a `folder` of its original files, and takes `templates` (or the `backbone` that
 * chooses them) and `splits` as well. A file that has a bundled task's name is `./spam.jsonl` to it.
 *
 * @example
 * const topics = await loadTask('topics')
 * const mine = await loadTask('rows.jsonl', { testData: 'test.jsonl', template: '{text} It was' })
 *
 * @throws RangeError for a name that is neither, and as `createTask`; LoptError as `readRows`.
 */
export async function loadTask(
  nameOrFile: string,
  options: LoadTaskOptions = {},
): Promise<Task> {
  if (typeof nameOrFile !== 'string') {
    throw new TypeError(
      `Expected a task's name or a data file but received ${typeof nameOrFile}`,
    )
  }
  if (Object.hasOwn(namedTasks, nameOrFile)) {
    refuse(nameOrFile, options, ofFiles, 'has its own dev and test rows', 'data files')
    const named = namedTasks[nameOrFile] as (typeof namedTasks)[string]
    checkFields(nameOrFile, named.fields, options.template)
    return await loadNamedTask(named, options)
  }
  refuse(nameOrFile, options, ofNamed, 'has no such choice', 'tasks of the literature')
  if (Object.hasOwn(bundledTasks, nameOrFile)) return loadBundledTask(nameOrFile, options)
  if (!isDataFileName(nameOrFile)) {
    throw new RangeError(
      `Expected a task's name (${taskNames.join(', ')}) or a data file (${dataFileExtensions.join(', ')}) ` +
        `but received ${JSON.stringify(nameOrFile)}`,
    )
  }
  const { evalData, testData, template = '{text}', ...settings } = options
  const read = (file: string) => readExamples(file, { ...options, template })
  const splits = {
    train: await read(nameOrFile),
    dev: evalData === undefined ? undefined : await read(evalData),
    test: testData === undefined ? undefined : await read(testData),
  }
  return assembleTask(
    nameOrFile,
    splits,
    { ...settings, template },
    {
      data: resolve(nameOrFile),
      ...(evalData === undefined ? {} : { evalData: resolve(evalData) }),
      ...(testData === undefined ? {} : { testData: resolve(testData) }),
      labelField: options.labelField ?? 'label',
    },
  )
}

/**
 * The rows of a data file as examples, each with its line.
 *
 * @throws LoptError as `readRows`.
 */
export async function readExamples(
  file: string,
  options: ReadExamplesOptions = {},
): Promise<Example[]> {
  const { template = '{text}', labelField, limits, targetTemplate } = options
  const { fields } = parseTemplate(template)
  const examples: Example[] = []
  const wanted = { fields, labelField, limits, targetTemplate }
  for await (const row of readRows(file, wanted)) {
    examples.push(exampleOf(row, { file, line: row.line }))
  }
  return examples
}

async function loadBundledTask(name: string, options: LoadTaskOptions): Promise<Task> {
  refuse(name, options, ofFiles, 'has its own dev and test rows', 'data files')
  const bundled = bundledTasks[name as keyof typeof bundledTasks]
  const template = options.template ?? bundled.template
  checkFields(name, bundled.fields, template)
  const settings = {
    ...options,
    template,
    labels: options.labels ?? bundled.labels,
    metric: options.metric ?? bundled.metric,
  }
  return assembleTask(name, await readBundledTask(bundled), settings, { task: name })
}

type OptionName = keyof LoadTaskOptions

const ofFiles = ['evalData', 'testData', 'devFraction', 'labelField'] as const
const ofNamed = ['folder', 'revision', 'templates', 'splits'] as const

/** An option that would change nothing is a misunderstanding. */
function refuse(
  name: string,
  options: LoadTaskOptions,
  unwanted: readonly OptionName[],
  why: string,
  whose: string,
): void {
  const given = unwanted.find((option) => options[option] !== undefined)
  if (given === undefined) return
  throw new RangeError(`The task "${name}" ${why}: ${given} is for ${whose}`)
}

function checkFields(
  name: string,
  fields: readonly string[],
  template: string | undefined,
): void {
  if (template === undefined) return
  const missing = parseTemplate(template).fields.filter(
    (field) => !fields.includes(field),
  )
  if (missing.length === 0) return
  throw new LoptError(
    'ERR_DATA',
    `The rows of the task "${name}" have no field ${quoted(missing)}; they have ${quoted(fields)}`,
  )
}
