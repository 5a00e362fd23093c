// `lopt train`: trains a prompt and writes a run folder. Parses, prints, and leaves the rest to
// `train`.

import type { Command } from 'commander'
import {
  createPrompt,
  DEFAULT_LEARNING_RATES,
  LoptError,
  loadTask,
  METHOD_NAMES,
  type Task,
  train,
} from '../index.js'
import { ACTIVATION_NAMES } from '../prompt/activation.js'
import { PLACEMENTS } from '../prompt/index.js'
import { OBJECTIVES } from '../train/loss.js'
import { OPTIMIZERS } from '../train/options.js'
import { SCHEDULES } from '../train/schedule.js'
import {
  backboneOptions,
  dataOptions,
  openBackbone,
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
  notNegative,
  type OptionValues,
  optional,
  optionValues,
  path,
  positive,
  required,
  text,
  withDefault,
} from './options.js'
import { type Progress, showProgress } from './progress.js'
import { evaluationLine, printResult, sayStart } from './train-report.js'

const data = {
  ...dataOptions,
  evalData: optional(
    '--eval-data <file>',
    'rows to evaluate on',
    path,
    'a tenth of --data, held out by --seed',
  ),
  template: optional(
    '--template <text>',
    "what the model reads, {field} being a row's value",
    text,
    "{text}, or the task's own",
  ),
  maxLength: optional(
    '--max-length <n>',
    'tokens of text at most; longer fields are cut',
    integer(1),
    'what prompt and label leave of the positions',
  ),
}

const shape = {
  method: withDefault(
    '--method <name>',
    `how the prompt is parametrised: ${METHOD_NAMES.join(', ')}`,
    choice(METHOD_NAMES),
    'lopt-1',
  ),
  length: withDefault('--length <n>', 'virtual tokens of the prompt', integer(1), 20),
  rank: withDefault(
    '--rank <n>',
    'rank of the prompt, for lopt-1 and lopt-2',
    integer(1),
    4,
  ),
  activation: withDefault(
    '--activation <name>',
    `for lopt-2: ${ACTIVATION_NAMES.join(', ')}`,
    choice(ACTIVATION_NAMES),
    'relu',
  ),
  activationThreshold: withDefault(
    '--activation-threshold <x>',
    'for soft-threshold',
    notNegative,
    0.1,
  ),
  placement: withDefault(
    '--placement <where>',
    `where the prompt stands: ${PLACEMENTS.join(', ')}`,
    choice(PLACEMENTS),
    'prefix',
  ),
  init: withDefault(
    '--init <how>',
    'start from: random, vocab, labels, text:WORDS, or a prompt file',
    text,
    'vocab',
  ),
}

const training = {
  objective: withDefault(
    '--objective <name>',
    'lm (over the whole vocabulary) or verbalizer (among the labels)',
    choice(OBJECTIVES),
    'lm',
  ),
  steps: withDefault('--steps <n>', 'optimizer steps', integer(1), 1000),
  batchSize: withDefault('--batch-size <n>', 'rows a step', integer(1), 16),
  accumulate: withDefault(
    '--accumulate <n>',
    'parts that a batch is computed in, one after the other',
    integer(1),
    1,
  ),
  lr: optional(
    '--lr <rate>',
    'learning rate',
    positive,
    Object.entries(DEFAULT_LEARNING_RATES)
      .map(([method, rate]) => `${method} ${rate}`)
      .join(', '),
  ),
  weightDecay: withDefault('--weight-decay <x>', 'weight decay', notNegative, 0),
  clip: withDefault(
    '--clip <norm>',
    'greatest norm of the gradient; 0: none',
    notNegative,
    1,
  ),
  optimizer: withDefault(
    '--optimizer <name>',
    OPTIMIZERS.join(', '),
    choice(OPTIMIZERS),
    'adam',
  ),
  schedule: withDefault(
    '--schedule <name>',
    `of the learning rate: ${SCHEDULES.join(', ')}`,
    choice(SCHEDULES),
    'constant',
  ),
  warmupSteps: withDefault(
    '--warmup-steps <n>',
    'steps over which the learning rate rises',
    integer(0),
    0,
  ),
  seed: withDefault(
    '--seed <n>',
    'of the start, the order of the rows and the held-out rows',
    integer(0),
    0,
  ),
  shuffle: flag('--no-shuffle', 'take the rows in their order'),
  evalEvery: optional(
    '--eval-every <n>',
    'steps between evaluations; the best prompt is kept; 0: the last one is',
    integer(0),
    'a tenth of --steps',
  ),
}

const report = {
  out: required('--out <dir>', 'run folder to write; new or empty', path),
  json: jsonOption,
}

const options = { ...backboneOptions, ...data, ...shape, ...training, ...report }

type Options = OptionValues<typeof options>

const HELP = `
Ctrl-C stops after the step at hand, saves the prompt and says where (exit code 130).

Examples:
  npx lopt train --backbone builtin:nano-gpt2 --task topics --out runs/topics
  npx lopt train --backbone ./gpt2 --data reviews.jsonl --template '{text} It was' \\
    --method lopt-2 --rank 8 --steps 3000 --out runs/reviews
with lines such as {"text": "A delight.", "label": "great"} in reviews.jsonl.`

export function addTrain(program: Command, context: Context): void {
  const command = program
    .command('train')
    .description('Trains a prompt on a frozen model and writes a run folder.')
    .showHelpAfterError('See `npx lopt train --help`.')
    .addHelpText('after', HELP)
  addOptions(command, backboneOptions, 'Model:')
  addOptions(command, data, 'Task:')
  addOptions(command, shape, 'Prompt:')
  addOptions(command, training, 'Training:')
  addOptions(command, report, 'Output:')
  command.action(async () => {
    const given = (name: keyof Options) => command.getOptionValueSource(name) === 'cli'
    await run(optionValues(command, options), given, context)
  })
}

async function run(
  values: Options,
  given: (name: keyof Options) => boolean,
  { output, signal }: Context,
): Promise<void> {
  checkMeaning(values, given)
  const task = await openTrainingTask(values)
  const backbone = await openBackbone(values)
  const prompt = createPrompt(backbone, {
    method: values.method,
    length: values.length,
    rank: values.rank,
    activation: values.activation,
    activationThreshold: values.activationThreshold,
    placement: values.placement,
    init: values.init,
    labels: Object.values(task.verbalizer),
    seed: values.seed,
  })
  let progress: Progress | undefined
  try {
    const events = train({
      backbone,
      prompt,
      task,
      signal,
      steps: values.steps,
      batchSize: values.batchSize,
      accumulate: values.accumulate,
      objective: values.objective,
      optimizer: values.optimizer,
      learningRate: values.lr,
      weightDecay: values.weightDecay,
      clip: values.clip,
      schedule: values.schedule,
      warmupSteps: values.warmupSteps,
      seed: values.seed,
      shuffle: values.shuffle,
      maxLength: values.maxLength,
      evalEvery: values.evalEvery,
      out: values.out,
    })
    for await (const event of events) {
      output.event({ ...event })
      if (event.type === 'start') {
        sayStart(output, event, backbone, prompt, task, values.seed)
        const shown = showProgress(output, event.steps)
        progress = shown
        // a second Ctrl-C kills: the terminal must have its cursor back by then
        signal.addEventListener('abort', () => shown.stop())
      } else if (event.type === 'step') {
        progress?.step(event.step, event.loss)
      } else if (event.type === 'eval') {
        output.note(evaluationLine(event))
      } else if (event.type === 'done') {
        progress?.stop()
        printResult(output, event, prompt, task, values.out)
      }
    }
  } catch (error) {
    progress?.stop()
    if (error instanceof LoptError && error.code === 'ERR_ABORTED') {
      output.event({ type: 'error', code: error.code, message: error.message })
      output.note(error.message)
    }
    throw error
  } finally {
    prompt.dispose()
    backbone.dispose()
  }
}

/** An option that would change nothing is a misunderstanding. */
function checkMeaning(values: Options, given: (name: keyof Options) => boolean): void {
  const refuse = (name: keyof Options, flags: string, why: string) => {
    if (given(name)) throw new UsageError(`${flags} has no meaning with ${why}`)
  }
  const { method, activation } = values
  if (method === 'full') refuse('rank', '--rank', '--method full')
  if (method !== 'lopt-2') refuse('activation', '--activation', `--method ${method}`)
  if (activation !== 'soft-threshold') {
    refuse('activationThreshold', '--activation-threshold', `--activation ${activation}`)
  }
  if (values.data === undefined) refuse('evalData', '--eval-data', '--task')
}

async function openTrainingTask(values: Options): Promise<Task> {
  return await loadTask(taskSource(values).source, {
    template: values.template,
    seed: values.seed,
    evalData: values.evalData,
  })
}
