// `lopt eval`: the figures of a prompt on a split. Parses, prints, and leaves the rest to
// `evaluate`.

import type { Command } from 'commander'
import { type Evaluation, evaluate, evaluateMajority } from '../index.js'
import {
  backboneOptions,
  dataOptions,
  openBackbone,
  openPrompt,
  openTask,
  promptOptions,
  taskSource,
} from './backbone-options.js'
import { UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  addOptions,
  choice,
  flag,
  integer,
  jsonOption,
  list,
  type OptionValues,
  optional,
  optionValues,
  path,
  text,
  withDefault,
} from './options.js'
import { count, duration, percent, table } from './output.js'

const options = {
  ...backboneOptions,
  prompt: optional('--prompt <file>', 'prompt file to evaluate', path),
  hard: flag(
    '--hard',
    "evaluate the hard prompt: the template's own words, no prompt file",
  ),
  ...dataOptions,
  split: withDefault(
    '--split <name>',
    'of --task: train, dev or test',
    choice(['train', 'dev', 'test']),
    'test',
  ),
  template: optional(
    '--template <text>',
    "what the model reads, {field} being a row's value",
    text,
    "the prompt file's; without one {text}, or the task's own",
  ),
  labels: optional(
    '--labels <names>',
    'labels with commas between them',
    list,
    "the prompt file's; without one those of the rows, or the task's own",
  ),
  batchSize: withDefault('--batch-size <n>', 'rows computed at once', integer(1), 16),
  ...promptOptions,
  json: jsonOption,
}

const HELP = `
Examples:
  npx lopt eval --backbone builtin:nano-gpt2 --task topics \\
    --prompt runs/topics/prompt.lopt.safetensors
  npx lopt eval --backbone ./gpt2 --data reviews-test.jsonl --hard --template '{text} It was'`

export function addEval(program: Command, context: Context): void {
  const command = program
    .command('eval')
    .description(
      'Accuracy, macro-F1 and the confusion table of a prompt on labelled rows.',
    )
    .showHelpAfterError('See `npx lopt eval --help`.')
    .addHelpText('after', HELP)
  addOptions(command, options)
  command.action(async () => {
    if (
      command.getOptionValueSource('split') === 'cli' &&
      command.getOptionValue('data')
    ) {
      throw new UsageError(
        '--split has no meaning with --data: all rows of the file count',
      )
    }
    await run(optionValues(command, options), context)
  })
}

async function run(
  values: OptionValues<typeof options>,
  { output, signal }: Context,
): Promise<void> {
  if (values.hard === (values.prompt !== undefined)) {
    throw new UsageError(
      'Give either --prompt FILE, or --hard for the template alone without a prompt',
    )
  }
  const { source, bundled } = taskSource(values)
  const backbone = await openBackbone(values)
  try {
    const prompt = openPrompt(values.prompt, backbone, values)
    // all rows of a data file are its test split, and where its labels come from
    const rows = bundled ? {} : { testData: source, devFraction: 0 }
    const task = await openTask(source, prompt, values, rows)
    const split = bundled ? values.split : 'test'
    const { batchSize } = values
    const started = performance.now()
    const evaluation = await evaluate({
      backbone,
      prompt,
      task,
      split,
      batchSize,
      signal,
    })
    const seconds = (performance.now() - started) / 1000
    const majority = evaluateMajority(task, split)

    const { accuracy, macroF1, loss, examples, truncated, labels, confusion } = evaluation
    output.event({
      type: 'result',
      task: task.name,
      split: bundled ? split : null,
      accuracy,
      macroF1,
      loss,
      rows: examples,
      truncated,
      labels,
      confusion,
      majority: {
        label: majority.label,
        accuracy: majority.accuracy,
        macroF1: majority.macroF1,
      },
      seconds,
    })
    const name = prompt ? prompt.config.method : 'hard prompt'
    const parameters = prompt ? prompt.trainableParameters : 0
    const figures = [
      ['', 'parameters', 'accuracy', 'macro-F1', 'loss'],
      [name, count(parameters), percent(accuracy), percent(macroF1), loss.toFixed(4)],
      [
        `always ${majority.label}`,
        '0',
        percent(majority.accuracy),
        percent(majority.macroF1),
      ],
    ]
    output.print(table(figures, [1, 2, 3, 4]))
    output.print(`\n${confusionTable(evaluation)}`)
    const cut = truncated === 0 ? '' : `, ${count(truncated)} of them cut to fit`
    output.print(`\n${count(examples)} rows${cut}, ${duration(seconds)}`)
    prompt?.dispose()
  } finally {
    backbone.dispose()
  }
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
