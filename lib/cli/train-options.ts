// The options of `lopt train`, as tables by heading. Knows no training.

import { DEFAULT_LEARNING_RATES, METHOD_NAMES, type MethodName } from '../index.js'
import { REUSE_BUDGET_BYTES } from '../inference/index.js'
import { ACTIVATION_NAMES } from '../prompt/activation.js'
import { PLACEMENTS } from '../prompt/index.js'
import { METHODS } from '../prompt/methods/index.js'
import type { MethodOption } from '../prompt/methods/method.js'
import {
  MEANS,
  MOST_PROFILE_STEPS,
  OBJECTIVES,
  OPTIMIZERS,
  PROFILE_STEPS,
  SCHEDULES,
} from '../run/index.js'
import { METRICS } from '../task/index.js'
import { FINE_TUNING_RATE } from '../train/options.js'
import {
  backboneOptions,
  dataOptions,
  dtypeOption,
  fastPathsOption,
  graphsOption,
  targetLimitOptions,
  targetTemplateOption,
  templateOption,
} from './model-options.js'
import {
  choice,
  flag,
  integer,
  jsonOption,
  notNegative,
  numbersByName,
  type OptionValues,
  optional,
  path,
  pattern,
  positive,
  required,
  text,
  withDefault,
} from './options.js'

const data = {
  ...dataOptions,
  evalData: optional(
    '--eval-data <file>',
    'rows to evaluate on',
    path,
    'a tenth of --data, held out by --seed',
  ),
  template: templateOption("{text}, or the task's own"),
  targetTemplate: targetTemplateOption,
  targetEnd: flag(
    '--no-target-end',
    'learn targets without the token that ends a text behind them',
  ),
  ...targetLimitOptions,
  metric: optional(
    '--metric <name>',
    `figure on the eval rows that decides which prompt is the best: ${METRICS.filter((name) => name !== 'own').join(', ')}`,
    choice(METRICS),
    "the task's; else accuracy, or perplexity where texts answer rows",
  ),
  maxLength: optional(
    '--max-length <n>',
    'tokens of text at most; longer fields are cut',
    integer(1),
    'what prompt and label leave of the positions',
  ),
}

/** Fine-tuning stands among the methods, so that it is compared with them. */
export const FINE_TUNE = 'fine-tune'

/** The methods that an option has a meaning with. */
function methodsWith(option: MethodOption): string {
  return METHOD_NAMES.filter((name) => METHODS[name].uses.includes(option)).join(', ')
}

const shape = {
  method: withDefault(
    '--method <name>',
    `how the prompt is parametrised: ${METHOD_NAMES.join(', ')}; or ${FINE_TUNE}: no prompt, the ` +
      "model's own weights",
    choice<MethodName | typeof FINE_TUNE>([...METHOD_NAMES, FINE_TUNE]),
    'lopt-1',
  ),
  trainable: optional(
    '--trainable <pattern>',
    `parameters that ${FINE_TUNE} trains, by a regular expression: bias$ is BitFit`,
    pattern,
    'all',
  ),
  length: withDefault('--length <n>', 'virtual tokens of the prompt', integer(1), 20),
  rank: optional(
    '--rank <n>',
    `rank of the prompt, for ${methodsWith('rank')}`,
    integer(1),
    '4; dpt 10',
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
  bottleneck: optional(
    '--bottleneck <n>',
    `width of the network, for ${methodsWith('bottleneck')}`,
    integer(1),
    '400',
  ),
  textTokens: optional(
    '--text-tokens <n>',
    `tokens of a text that are shifted, for ${methodsWith('textTokens')}`,
    integer(1),
    '256, or what a text can have',
  ),
  alpha: optional(
    '--alpha <x>',
    `scale of the shift, for ${methodsWith('alpha')}`,
    positive,
    '8',
  ),
  placement: withDefault(
    '--placement <where>',
    `where the prompt stands: ${PLACEMENTS.join(', ')}`,
    choice(PLACEMENTS),
    'prefix',
  ),
  init: optional(
    '--init <how>',
    'start from: random, vocab, labels, text:WORDS, or a prompt file',
    text,
    'vocab; dpt and prefix random',
  ),
}

const training = {
  objective: withDefault(
    '--objective <name>',
    'lm (over the whole vocabulary) or verbalizer (among the labels)',
    choice(OBJECTIVES),
    'lm',
  ),
  meanOver: optional(
    '--mean-over <what>',
    `what the loss of lm is a mean over: ${MEANS.join(', ')}`,
    choice(MEANS),
    'rows, each the sum of its tokens; tokens where texts answer rows',
  ),
  samples: withDefault(
    '--samples <n>',
    'eval rows of which each evaluation keeps the generated text, where texts answer rows',
    integer(0),
    8,
  ),
  steps: withDefault('--steps <n>', 'optimizer steps', integer(1), 1000),
  batchSize: withDefault('--batch-size <n>', 'rows a step', integer(1), 16),
  batchTokens: optional(
    '--batch-tokens <n>',
    'rows a step by their length: the longest times their count is at most this',
    integer(1),
    'not used',
  ),
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
    [...Object.entries(DEFAULT_LEARNING_RATES), [FINE_TUNE, FINE_TUNING_RATE]]
      .map(([method, rate]) => `${method} ${rate}`)
      .join(', '),
  ),
  lrs: optional(
    '--lrs <names>',
    'learning rates of trained tensors by name, such as A=0.005,B=0.005',
    numbersByName,
    'dept: A and B 0.005',
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
    'steps over which the learning rate rises from 0 (that of the first) to the whole',
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
  batchByLength: flag(
    '--no-batch-by-length',
    'batches of any rows, not of rows of like length: where length tells the label',
  ),
  fastPaths: fastPathsOption,
  graphs: graphsOption,
  reuseBudget: withDefault(
    '--reuse-budget <mib>',
    'MiB for the keys and values of texts before a suffix prompt; 0: none are kept',
    integer(0),
    REUSE_BUDGET_BYTES / 2 ** 20,
  ),
  reuseHalf: flag('--reuse-half', 'keep them in float16: half the memory, not exact'),
  checkpointLayers: optional(
    '--checkpoint-layers <n>',
    'layers whose activations are held at once: less memory, more time',
    integer(1),
    'all',
  ),
  evalEvery: optional(
    '--eval-every <n>',
    'steps between evaluations; the best prompt is kept; 0: the last one is',
    integer(0),
    'a tenth of --steps',
  ),
}

const report = {
  config: optional(
    '--config <file>',
    "options as YAML or JSON: a recipe, or a run folder's config.json; typed ones win",
    path,
  ),
  out: required(
    '--out <dir>',
    'run folder to write; new or empty, or with --resume that of the run',
    path,
  ),
  resume: flag(
    '--resume',
    'go on with the run in --out from its last checkpoint; its own configuration counts',
  ),
  checkpointEvery: optional(
    '--checkpoint-every <n>',
    'steps between checkpoints; 0: only when interrupted',
    integer(0),
    'as --eval-every',
  ),
  profile: optional(
    '--profile <file>',
    'Chrome trace to write: where the time of some steps goes; see docs/performance.md',
    path,
  ),
  profileSteps: withDefault(
    '--profile-steps <n>',
    `steps that it shows, after a warm-up; ${MOST_PROFILE_STEPS} at most`,
    integer(1),
    PROFILE_STEPS,
  ),
  json: jsonOption,
}

const model = {
  ...backboneOptions,
  dtype: dtypeOption,
  // Of a run that goes on it is known.
  backbone: optional(
    '--backbone <source>',
    `${backboneOptions.backbone.description} (required, but with --resume)`,
    text,
  ),
}

export const trainOptions = {
  'Model:': model,
  'Task:': data,
  'Prompt:': shape,
  'Training:': training,
  'Output:': report,
}

export const allTrainOptions = {
  ...model,
  ...data,
  ...shape,
  ...training,
  ...report,
}

export type TrainOptionValues = OptionValues<typeof allTrainOptions>
