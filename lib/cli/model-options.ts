// The options that say which model, prompt and task a command works on, and their loading. Knows
// what several commands share and no single one.

import {
  type Backbone,
  type BackboneDType,
  bundledTaskNames,
  type LoadTaskOptions,
  loadBackbone,
  loadPrompt,
  loadTask,
  type Prompt,
  type Quantization,
  type Task,
  taskNames,
} from '../index.js'
import { encodeExamples, LONG_TARGETS, type TextFormat } from '../inference/index.js'
import {
  parseTemplate,
  SPLITS,
  type Splits,
  TEMPLATE_STYLES,
  type TemplateStyle,
} from '../task/index.js'
import { parseDevice } from '../torch/index.js'
import { showDownload } from './download-progress.js'
import { asked, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  choice,
  flag,
  integer,
  list,
  optional,
  path,
  required,
  text,
  withDefault,
} from './options.js'

const DTYPES = [
  'float64',
  'float32',
  'float16',
  'bfloat16',
] as const satisfies readonly BackboneDType[]

export const deviceOption = withDefault(
  '--device <device>',
  'cpu, cuda, cuda:N or mps',
  text,
  'cpu',
)

export const dtypeOption = optional(
  '--dtype <dtype>',
  `what the model computes in: ${DTYPES.join(', ')}`,
  choice(DTYPES),
  "float32 on a CPU, else the file's own",
)

const inferenceDTypeOption = optional(
  '--dtype <dtype>',
  `what the model computes in: ${DTYPES.join(', ')}, int8`,
  choice([...DTYPES, 'int8'] as const),
  "float32 on a CPU, else the file's own",
)

export const revisionOption = optional(
  '--revision <name>',
  'branch, tag or commit of a model id',
  text,
  'main',
)

export const backboneOptions = {
  backbone: required(
    '--backbone <source>',
    'frozen model: a Hugging Face checkpoint folder or model id, a .pt file, or builtin:NAME',
    text,
  ),
  revision: revisionOption,
  device: deviceOption,
  dtype: inferenceDTypeOption,
}

export const otherBackboneOption = flag(
  '--allow-other-backbone',
  'take a prompt that was trained on another model of the same hidden size',
)

export const promptOptions = {
  prompt: optional('--prompt <file>', 'prompt file', path, 'none: the text alone'),
  allowOtherBackbone: otherBackboneOption,
}

/** For tasks whose rows do not ship with the package. */
const namedTaskOptions = {
  dataDir: optional(
    '--data-dir <dir>',
    "the original files of a task's data set, such as RTE/train.jsonl",
    path,
    'the Hugging Face hub',
  ),
  templates: optional(
    '--templates <style>',
    `whose texts and label words: ${TEMPLATE_STYLES.join(', ')}`,
    choice(TEMPLATE_STYLES),
    "the prompt's; else gpt2, or dept for a T5",
  ),
  splits: optional(
    '--splits <name>',
    'research (dev and test by seed 42) or official',
    choice(SPLITS),
    'research',
  ),
}

export const dataOptions = {
  task: optional('--task <name>', `task by name: ${taskNames.join(', ')}`, text),
  data: optional(
    '--data <file>',
    'own rows, with a label or a target each: .jsonl, .csv, .tsv or .parquet',
    path,
  ),
  ...namedTaskOptions,
}

/** `--template`, with what counts without it. */
export function templateOption(otherwise: string) {
  const description = "what the model reads, {field} being a row's value"
  return optional('--template <text>', description, text, otherwise)
}

export const targetTemplateOption = optional(
  '--target-template <text>',
  "what answers a row, where that is a text: {field} being a row's value",
  text,
  "the field target, behind a space where a GPT-2 goes on with it; or the prompt's",
)

export const targetLimitOptions = {
  maxTargetLength: optional(
    '--max-target-length <n>',
    'tokens of a target at most, its end included',
    integer(1),
    'what prompt and template leave of the positions',
  ),
  longTargets: withDefault(
    '--long-targets <what>',
    `what becomes of longer ones: ${LONG_TARGETS.join(', ')}`,
    choice(LONG_TARGETS),
    'refuse',
  ),
}

/** `--labels`, with what counts without it. */
export function labelsOption(otherwise: string) {
  return optional('--labels <names>', 'labels with commas between them', list, otherwise)
}

export const graphsOption = flag(
  '--no-graphs',
  'run steps op by op, where a GPU would launch each as one',
)

export const fastPathsOption = flag(
  '--no-fast-paths',
  'share and skip nothing that a frozen model allows: slower',
)

export const batchOptions = {
  batchSize: withDefault('--batch-size <n>', 'rows computed at once', integer(1), 16),
  fastPaths: fastPathsOption,
  graphs: graphsOption,
}

/** `graphs` of the library: what the device allows, unless it is turned off. */
export function graphsOf({ graphs }: { graphs: boolean }): { graphs?: false } {
  return graphs ? {} : { graphs: false }
}

interface BackboneValues {
  readonly backbone: string
  readonly revision: string | undefined
  readonly device: string
  readonly dtype: BackboneDType | Quantization | undefined
}

/** Opens the backbone for as long as `use` takes. */
export async function withBackbone<T>(
  { backbone: source, revision, device, dtype }: BackboneValues,
  { output, signal }: Context,
  use: (backbone: Backbone) => Promise<T>,
): Promise<T> {
  await asked(() => parseDevice(device))
  const download = showDownload(output)
  const onDownload = download.event
  const options = { device, dtype, revision, signal, onDownload }
  const backbone = await loadBackbone(source, options).finally(() => download.stop())
  try {
    return await use(backbone)
  } finally {
    backbone.dispose()
  }
}

/** Opens backbone and prompt for as long as `use` takes; without `--prompt` it gets null. */
export async function withModel<T>(
  values: BackboneValues & { prompt: string | undefined; allowOtherBackbone: boolean },
  context: Context,
  use: (backbone: Backbone, prompt: Prompt | null) => Promise<T>,
): Promise<T> {
  return await withBackbone(values, context, async (backbone) => {
    const { prompt: file, allowOtherBackbone } = values
    if (file === undefined) return await use(backbone, null)
    const prompt = loadPrompt(file, backbone, { allowOtherBackbone })
    try {
      return await use(backbone, prompt)
    } finally {
      prompt.dispose()
    }
  })
}

/** @throws UsageError where template and labels fit neither the tokenizer nor the positions. */
export async function checkFormat(
  backbone: Backbone,
  prompt: Prompt | null,
  format: TextFormat,
): Promise<void> {
  await asked(async () => {
    const { fields } = parseTemplate(format.template)
    const row = { fields: Object.fromEntries(fields.map((field) => [field, 'a'])) }
    const limits = { trained: prompt?.task?.maxLength }
    await encodeExamples(backbone, prompt, format, [[row]], limits)
  })
}

interface TaskValues {
  readonly task: string | undefined
  readonly data: string | undefined
  /** Of `lopt score`: texts in the place of rows. */
  readonly text?: readonly string[] | undefined
  readonly dataDir: string | undefined
  readonly templates: TemplateStyle | undefined
  readonly splits: Splits | undefined
}

/** Either a task's name or a data file (or texts where the command takes them), and only one of them. */
export function taskSource(options: TaskValues): {
  source: string
  named: boolean
} {
  const { task, data, text } = options
  const [first, second] = Object.entries({ task, data, text }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`],
  )
  if (second !== undefined) {
    throw new UsageError(`Give either ${first} or ${second}, not both`)
  }
  const ships = task === undefined || bundledTaskNames.includes(task)
  const flags = {
    dataDir: '--data-dir',
    templates: '--templates',
    splits: '--splits',
  } as const
  for (const name of Object.keys(flags) as (keyof typeof flags)[]) {
    if (!ships || options[name] === undefined) continue
    throw new UsageError(
      `${flags[name]} has no meaning with ${task === undefined ? (first ?? '--data') : `--task ${task}`}`,
    )
  }
  if (text !== undefined) return { source: '--text', named: false }
  if (data !== undefined) {
    // a file that has a task's name is not that task
    return { source: taskNames.includes(data) ? `./${data}` : data, named: false }
  }
  if (task === undefined) {
    throw new UsageError(
      `Give --data FILE, or --task NAME with one of ${taskNames.join(', ')}`,
    )
  }
  if (!taskNames.includes(task)) {
    throw new UsageError(
      `There is no task ${JSON.stringify(task)}: Expected one of ${taskNames.join(', ')}; ` +
        'for a data file use --data',
    )
  }
  return { source: task, named: true }
}

/** `loadTask`, with what the command line says of a task by name, and its download shown. */
export async function loadTaskOf(
  source: string,
  { dataDir, templates, splits }: TaskValues,
  backbone: Backbone,
  { output, signal }: Context,
  options: LoadTaskOptions,
): Promise<Task> {
  const download = showDownload(output)
  const named = { folder: dataDir, templates, splits, backbone, signal }
  return await asked(() =>
    loadTask(source, { ...options, ...named, onDownload: download.event }),
  ).finally(() => download.stop())
}

/** Something that says what it was trained for: a prompt, or fine-tuned weights. */
export type Trained = Pick<Prompt, 'task'>

/** Loads it, with what the prompt was trained for where the command line does not say. */
export async function openTask(
  source: string,
  { backbone, trained }: { backbone: Backbone; trained: Trained | null },
  given: TaskValues & FormatValues,
  context: Context,
  more: LoadTaskOptions = {},
): Promise<Task> {
  const options = { ...more, ...formatOf(given, trained) }
  return await loadTaskOf(source, given, backbone, context, options)
}

type FormatValues = Pick<
  LoadTaskOptions,
  'template' | 'templates' | 'labels' | 'targetTemplate'
>

type Format = Pick<
  LoadTaskOptions,
  'template' | 'labels' | 'verbalizer' | 'targetTemplate' | 'targetEnd'
>

/** Template, labels and words: what the prompt was trained for where the command line does not say. */
export function formatOf(given: FormatValues, trained: Trained | null): Format {
  if (given.templates !== undefined) return { template: given.template }
  const template = given.template ?? trained?.task?.template
  const target = trained?.task?.target
  const targetTemplate = given.targetTemplate ?? target?.template
  if (target !== undefined) return { template, targetTemplate, targetEnd: target.end }
  if (targetTemplate !== undefined) return { template, targetTemplate }
  return { template, ...labelsAndWords(given.labels, trained) }
}

/** Labels from the command line stand for themselves; a prompt file has its labels' words. */
export function labelsAndWords(
  given: readonly string[] | undefined,
  prompt: Trained | null,
): Pick<LoadTaskOptions, 'labels' | 'verbalizer'> {
  const verbalizer = prompt?.task?.labels
  if (given !== undefined) {
    const known = given.filter((label) => verbalizer && Object.hasOwn(verbalizer, label))
    const words = known.map((label) => [label, verbalizer?.[label] as string])
    return { labels: given, verbalizer: Object.fromEntries(words) }
  }
  return verbalizer ? { labels: Object.keys(verbalizer), verbalizer } : {}
}
