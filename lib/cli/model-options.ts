// The options that say which model, prompt and task a command works on, and their loading. Knows
// what several commands share and no single one.

import {
  type BackboneDType,
  bundledTaskNames,
  type CausalBackbone,
  type LoadTaskOptions,
  loadBackbone,
  loadPrompt,
  loadTask,
  type Prompt,
  type Task,
} from '../index.js'
import { UsageError } from './failure.js'
import { choice, flag, optional, path, required, text, withDefault } from './options.js'

const DTYPES = [
  'float64',
  'float32',
  'float16',
  'bfloat16',
] as const satisfies readonly BackboneDType[]

export const backboneOptions = {
  backbone: required(
    '--backbone <source>',
    'frozen model: a Hugging Face checkpoint folder, or builtin:NAME',
    text,
  ),
  device: withDefault('--device <device>', 'cpu, cuda, cuda:N or mps', text, 'cpu'),
  dtype: optional(
    '--dtype <dtype>',
    `what the model computes in: ${DTYPES.join(', ')}`,
    choice(DTYPES),
    "float32 on a CPU, else the file's own",
  ),
}

export const promptOptions = {
  allowOtherBackbone: flag(
    '--allow-other-backbone',
    'take a prompt that was trained on another model of the same hidden size',
  ),
}

export const dataOptions = {
  task: optional('--task <name>', `bundled task: ${bundledTaskNames.join(', ')}`, text),
  data: optional(
    '--data <file>',
    'own rows, with a label each: .jsonl, .csv or .tsv',
    path,
  ),
}

export async function openBackbone(options: {
  backbone: string
  device: string
  dtype: BackboneDType | undefined
}): Promise<CausalBackbone> {
  return await loadBackbone(options.backbone, {
    device: options.device,
    dtype: options.dtype,
  })
}

/** The prompt of a file, or null without one. */
export function openPrompt(
  file: string | undefined,
  backbone: CausalBackbone,
  { allowOtherBackbone }: { allowOtherBackbone: boolean },
): Prompt | null {
  return file === undefined ? null : loadPrompt(file, backbone, { allowOtherBackbone })
}

/** Either a bundled task's name or a data file, and not both. */
export function taskSource(options: {
  task: string | undefined
  data: string | undefined
}): {
  source: string
  bundled: boolean
} {
  const { task, data } = options
  if (task !== undefined && data !== undefined) {
    throw new UsageError('Give either --task or --data, not both')
  }
  if (data !== undefined) {
    // a file that has a bundled task's name is not that task
    return {
      source: bundledTaskNames.includes(data) ? `./${data}` : data,
      bundled: false,
    }
  }
  if (task === undefined) {
    throw new UsageError(
      `Give --data FILE, or --task NAME with one of ${bundledTaskNames.join(', ')}`,
    )
  }
  if (!bundledTaskNames.includes(task)) {
    throw new UsageError(
      `There is no bundled task ${JSON.stringify(task)}: Expected ${bundledTaskNames.join(' or ')}; ` +
        'for a data file use --data',
    )
  }
  return { source: task, bundled: true }
}

/** Loads it, with what the prompt was trained for where the command line does not say. */
export async function openTask(
  source: string,
  prompt: Prompt | null,
  given: Pick<LoadTaskOptions, 'template' | 'labels'>,
  more: LoadTaskOptions = {},
): Promise<Task> {
  return await loadTask(source, {
    ...more,
    template: given.template ?? prompt?.task?.template,
    ...labelsAndWords(given.labels, prompt),
  })
}

/** Labels from the command line stand for themselves; a prompt file has its labels' words. */
export function labelsAndWords(
  given: readonly string[] | undefined,
  prompt: Prompt | null,
): Pick<LoadTaskOptions, 'labels' | 'verbalizer'> {
  const verbalizer = prompt?.task?.labels
  if (given !== undefined) {
    const known = given.filter((label) => verbalizer && Object.hasOwn(verbalizer, label))
    const words = known.map((label) => [label, verbalizer?.[label] as string])
    return { labels: given, verbalizer: Object.fromEntries(words) }
  }
  return verbalizer ? { labels: Object.keys(verbalizer), verbalizer } : {}
}
