// A task of the literature by name: its rows, splits, and the texts of a style. Reads files through
// others.

import { resolve } from 'node:path'
import { assembleTask, type TaskSettings } from '../create-task.js'
import type { Example, Task } from '../task.js'
import { type DataFileOptions, readDataSet } from './data-files.js'
import type { DataRow, Format, NamedTask, TemplateStyle } from './named.js'
import { TEMPLATE_STYLES } from './named.js'
import { SPLITS, type Splits, splitRows } from './splits.js'

export interface NamedTaskOptions extends TaskSettings, DataFileOptions {
  /** Whose texts and label words; by default `gpt2` for a causal backbone, `dept` for a T5. */
  templates?: TemplateStyle
  /** What the task is for: its kind chooses `templates`. Without both they are GPT-2's. */
  backbone?: { readonly kind: 'causal' | 'encoder-decoder' }
  /** `research` (default) or `official`. */
  splits?: Splits
}

export async function loadNamedTask(
  task: NamedTask,
  options: NamedTaskOptions,
): Promise<Task> {
  const { splits = 'research', folder, revision } = options
  checkChoice('splits', splits, SPLITS)
  if (folder !== undefined && revision !== undefined) {
    throw new RangeError('revision is for the hub: it has no meaning with folder')
  }
  const style = styleOf(task, options)
  const format = task.formats[style]
  const { train, dev, test } = splitRows(task, await readDataSet(task, options), splits)
  const examples = (rows: readonly DataRow[]) => rows.map((row) => exampleOf(row, format))
  const training = format.training
  return assembleTask(
    task.name,
    {
      train: examples(training ? train.flatMap(training) : train),
      ...(dev.length > 0 && { dev: examples(dev) }),
      ...(test.length > 0 && { test: examples(test) }),
    },
    {
      template: options.template ?? format.template,
      labels: options.labels ?? task.labels,
      verbalizer: options.verbalizer ?? format.words,
      metric: options.metric ?? task.metric,
      seed: options.seed,
      limit: options.limit,
      devFraction: 0,
    },
    {
      task: task.name,
      templates: style,
      splits,
      ...(folder === undefined ? {} : { folder: resolve(folder) }),
      ...(revision === undefined ? {} : { revision }),
    },
  )
}

/** A template that is one of the task's own, as a prompt file has it, says its style by itself. */
function styleOf(
  { formats }: NamedTask,
  { templates, template, backbone }: NamedTaskOptions,
): TemplateStyle {
  if (templates !== undefined) checkChoice('templates', templates, TEMPLATE_STYLES)
  const byKind = backbone?.kind === 'encoder-decoder' ? 'dept' : 'gpt2'
  const order = [byKind, ...TEMPLATE_STYLES] as const // ReCoRD's text is DePT's and T5's
  const told = order.find((style) => formats[style].template === template)
  return templates ?? told ?? byKind
}

function exampleOf(row: DataRow, { candidates }: Format): Example {
  const { fields, label, answers, group, source } = row
  return {
    fields,
    label,
    ...(answers === undefined ? {} : { answers }),
    ...(candidates === undefined ? {} : { candidates: candidates(row) }),
    ...(group === undefined ? {} : { group }),
    source,
  }
}

function checkChoice(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return
  throw new RangeError(
    `Expected ${name} to be one of ${allowed.join(', ')} but received ${JSON.stringify(value)}`,
  )
}
