// `lopt eval`: the figures of a prompt on a split. Parses, prints, and leaves the rest to
// `evaluate`.

import type { Command } from 'commander'
import {
  type Evaluation,
  evaluate,
  evaluateMajority,
  loadWeights,
  type Task,
} from '../index.js'
import { figuresOf, samplesAtEnds } from '../run/figures.js'
import { assembleTask } from '../task/create-task.js'
import { parseTemplate } from '../task/index.js'
import { asked, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  backboneOptions,
  batchOptions,
  checkFormat,
  dataOptions,
  formatOf,
  graphsOf,
  labelsOption,
  openTask,
  promptOptions,
  type Trained,
  targetLimitOptions,
  targetTemplateOption,
  taskSource,
  templateOption,
  withModel,
} from './model-options.js'
import {
  addCommand,
  choice,
  flag,
  integer,
  jsonOption,
  type OptionValues,
  optional,
  optionValues,
  path,
  withDefault,
} from './options.js'
import {
  count,
  duration,
  figureCells,
  figureNames,
  majorityFigures,
  type Output,
  oneLine,
  table,
} from './output.js'
import {
  checkFormatOption,
  formatOption,
  readInputExamples,
  STDIN,
  STDIN_NAME,
} from './standard-input.js'

const options = {
  ...backboneOptions,
  ...promptOptions,
  prompt: optional('--prompt <file>', 'prompt file to evaluate', path),
  weights: optional(
    '--weights <file>',
    'weights that `lopt train --method fine-tune` wrote, to evaluate without a prompt',
    path,
  ),
  hard: flag(
    '--hard',
    "evaluate the hard prompt: the template's own words, no prompt file",
  ),
  ...dataOptions,
  data: optional(
    '--data <file>',
    'own rows, with a label or a target each: .jsonl, .csv, .tsv or .parquet, or - for standard input',
    path,
  ),
  format: formatOption,
  split: withDefault(
    '--split <name>',
    'of --task: train, dev or test',
    choice(['train', 'dev', 'test']),
    'test',
  ),
  template: templateOption("the prompt file's; without one {text}, or the task's own"),
  targetTemplate: targetTemplateOption,
  ...targetLimitOptions,
  generation: flag('--no-generation', 'measure perplexity alone, and generate no text'),
  maxNewTokens: optional(
    '--max-new-tokens <n>',
    'tokens of a generated text at most',
    integer(1),
    'those of the longest target',
  ),
  samples: withDefault(
    '--samples <n>',
    'generated texts that are shown, half of rows with the highest loss',
    integer(0),
    6,
  ),
  labels: labelsOption(
    "the prompt file's; without one those of the rows, or the task's own",
  ),
  ...batchOptions,
  json: jsonOption,
}

const HELP = `
Examples:
  npx lopt eval --backbone builtin:nano-gpt2 --task topics \\
    --prompt runs/topics/prompt.lopt.safetensors
  npx lopt eval --backbone ./gpt2 --data reviews-test.jsonl --hard --template '{text} It was'
  grep -h late *.jsonl | npx lopt eval --backbone ./gpt2 --data - --hard --template '{text} It was'`

export function addEval(program: Command, context: Context): void {
  const command = addCommand(program, 'eval', {
    description:
      'Accuracy, macro-F1 and the confusion table of a prompt on labelled rows; perplexity and ' +
      'generated texts beside the right ones on rows that texts answer.',
    help: HELP,
    options: { 'Options:': options },
  })
  command.action(async () => {
    if (
      command.getOptionValueSource('split') === 'cli' &&
      command.getOptionValue('data')
    ) {
      throw new UsageError('--split has no meaning with --data: all rows count')
    }
    await run(optionValues(command, options), context)
  })
}

async function run(
  values: OptionValues<typeof options>,
  context: Context,
): Promise<void> {
  const { output, signal } = context
  const given = [values.hard, values.prompt !== undefined, values.weights !== undefined]
  if (given.filter(Boolean).length !== 1) {
    throw new UsageError(
      'Give either --prompt FILE, or --weights FILE of a fine-tuned model, or --hard for the template ' +
        'alone without a prompt',
    )
  }
  const { source, named } = taskSource(values)
  checkFormatOption(values.format, values.data)
  await withModel(values, context, async (backbone, prompt) => {
    // all rows of a data file are its test split, and where its labels come from
    const rows = named ? {} : { testData: source, devFraction: 0 }
    const weights =
      values.weights === undefined ? null : await loadWeights(values.weights, backbone)
    const trained = prompt ?? weights
    const task =
      source === STDIN
        ? await taskOfInput(values, trained, context)
        : await openTask(source, { backbone, trained }, values, context, rows)
    await checkFormat(backbone, prompt, task)
    const split = named ? values.split : 'test'
    const { batchSize, fastPaths } = values
    const started = performance.now()
    const evaluation = await evaluate({
      backbone,
      prompt,
      task,
      split,
      maxLength: weights?.task?.maxLength,
      batchSize,
      fastPaths,
      ...graphsOf(values),
      maxTargetLength: values.maxTargetLength,
      longTargets: values.longTargets,
      generation: values.generation && {
        ...(values.maxNewTokens !== undefined && { maxNewTokens: values.maxNewTokens }),
      },
      signal,
    })
    const majority = evaluateMajority(task, split)
    print(output, {
      task: task.name,
      split: named ? split : null,
      method: prompt?.config.method ?? (weights ? 'fine-tune' : 'hard prompt'),
      parameters: trained?.trainableParameters ?? 0,
      evaluation,
      samples: values.samples,
      majority: majority && { ...majority, from: named ? 'train' : 'data' },
      seconds: (performance.now() - started) / 1000,
    })
  })
}

/** Its rows are read once: they are the test split, and where the labels come from. */
async function taskOfInput(
  values: OptionValues<typeof options>,
  trained: Trained | null,
  context: Context,
): Promise<Task> {
  const { template = '{text}', ...labels } = formatOf(values, trained)
  return await asked(async () => {
    const { fields } = parseTemplate(template)
    const wanted = { fields, targetTemplate: values.targetTemplate }
    const rows = await readInputExamples(context, values.format, wanted)
    const settings = { template, ...labels, devFraction: 0 }
    return assembleTask(STDIN_NAME, { train: rows, test: rows }, settings, {})
  })
}

interface Result {
  task: string
  split: string | null
  method: string
  parameters: number
  evaluation: Evaluation
  /** How many of its samples are shown. */
  samples: number
  /**
   * Of the label that is most frequent in the training rows, or in the data file itself; undefined where
   * each row has labels of its own.
   */
  majority:
    | (NonNullable<ReturnType<typeof evaluateMajority>> & { from: 'train' | 'data' })
    | undefined
  seconds: number
}

function print(output: Output, result: Result): void {
  const { task, split, method, parameters, evaluation, majority, seconds } = result
  const { loss, examples, truncated, labels, confusion } = evaluation
  output.event({
    type: 'result',
    task,
    split,
    ...figuresOf(evaluation),
    loss,
    rows: examples,
    truncated,
    ...(evaluation.truncatedTargets !== undefined && {
      truncatedTargets: evaluation.truncatedTargets,
      samples: evaluation.samples,
    }),
    labels,
    confusion,
    ...(majority && {
      majority: { label: majority.label, from: majority.from, ...figuresOf(majority) },
    }),
    seconds,
  })
  const figures = [
    ['', 'parameters', ...figureNames(evaluation), 'loss'],
    [method, count(parameters), ...figureCells(evaluation), loss.toFixed(4)],
    ...(majority ? [majorityFigures(majority)] : []),
  ]
  output.print(table(figures, [...(figures[0] ?? []).keys()].slice(1)))
  if (labels.length > 0) output.print(`\n${confusionTable(evaluation)}`)
  const shown = samplesAtEnds(evaluation.samples ?? [], result.samples)
  for (const { text, targets, generated, loss: own } of shown) {
    const line = (given: string) => oneLine(given, 100)
    output.print(
      `\n${line(text)}\n  right:     ${targets.map(line).join(' | ')}\n  generated: ${line(generated)}\n` +
        `  loss ${own.toFixed(3)} a token`,
    )
  }
  const cut = truncated === 0 ? '' : `, ${count(truncated)} of them cut to fit`
  output.print(`\n${count(examples)} rows${cut}, ${duration(seconds)}`)
  if (majority === undefined) return
  output.print(
    `"always ${majority.label}" gives every row the most frequent label of ` +
      (majority.from === 'train' ? 'the training rows' : 'these very rows'),
  )
}

function confusionTable({ labels, confusion }: Evaluation): string {
  const rows = [['label \\ predicted', ...labels]]
  labels.forEach((label, i) => {
    rows.push([label, ...(confusion[i] ?? []).map(count)])
  })
  return table(
    rows,
    labels.map((_, i) => i + 1),
  )
}
