// `lopt train`: trains a prompt, or the model's own weights, and writes a run folder. Parses, prints,
// and leaves the rest to `train`.

import type { Command } from 'commander'
import {
  type Backbone,
  createPrompt,
  LoptError,
  type MethodName,
  openRun,
  type Prompt,
  selectWeights,
  type Task,
  type TrainOptions,
  train,
} from '../index.js'
import { METHODS } from '../prompt/methods/index.js'
import { showDownload } from './download-progress.js'
import { asked, askedEvents, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import { graphsOf, loadTaskOf, taskSource, withBackbone } from './model-options.js'
import { addCommand, optionValues } from './options.js'
import { type Progress, showProgress } from './progress.js'
import { type FileSettings, takeConfig } from './train-config.js'
import {
  allTrainOptions,
  FINE_TUNE,
  type TrainOptionValues as Options,
  trainOptions,
} from './train-options.js'
import { evaluationLine, printResult, sayStart } from './train-report.js'

const HELP = `
Ctrl-C stops after the step at hand, saves the prompt and says where (exit code 130). Interrupted in
this way or any other, --resume goes on with the run, to the same numbers as without the interruption.

Examples:
  npx lopt train --backbone builtin:nano-gpt2 --task topics --out runs/topics
  npx lopt train --backbone ./gpt2 --data reviews.jsonl --template '{text} It was' \\
    --method lopt-2 --rank 8 --steps 3000 --out runs/reviews
  npx lopt train --resume --out runs/reviews
with lines such as {"text": "A delight.", "label": "great"} in reviews.jsonl,
  npx lopt train --backbone ./gpt2 --data news.jsonl --template '{article} TL;DR:' \
    --target-template ' {summary}' --metric rouge-l --out runs/news
for rows that texts answer, {"text": …, "target": …} or fields of your own, and
  npx lopt train --backbone ./gpt2 --task topics --method fine-tune --trainable 'bias$' \\
    --out runs/bitfit
The template alone needs no training: npx lopt eval --hard.`

export function addTrain(program: Command, context: Context): void {
  const command = addCommand(program, 'train', {
    description:
      "Trains a prompt on a frozen model, or the model's own weights, and writes a run folder.",
    help: HELP,
    options: trainOptions,
  })
  const applyConfig = takeConfig(command)
  command.action(async () => {
    const isResumed = optionValues(command, allTrainOptions).resume
    const inFile = isResumed ? {} : applyConfig()
    const values = optionValues(command, allTrainOptions)
    const given = (name: keyof Options) => command.getOptionValueSource(name) === 'cli'
    if (values.resume) {
      checkResumed(command)
      await resume(values, context)
    } else {
      checkMeaning(values, given)
      await begin(values, inFile, given, context)
    }
  })
}

async function begin(
  values: Options,
  inFile: FileSettings,
  given: (name: keyof Options) => boolean,
  context: Context,
): Promise<void> {
  const { backbone: source } = values
  if (source === undefined) {
    throw new UsageError("required option '--backbone <source>' not specified")
  }
  const rows = taskSource(values).source
  await withBackbone({ ...values, backbone: source }, context, async (backbone) => {
    const { method, trainable = /./, template, seed, evalData, ...more } = values
    const { targetTemplate, metric } = more
    // the backbone's kind chooses a task's texts
    // rows that labels answer have no end of a target
    const targetEnd = given('targetEnd') ? values.targetEnd : undefined
    const from = { template, seed, evalData, metric, targetTemplate, targetEnd }
    const task = await loadTaskOf(rows, values, backbone, context, from)
    const settings = { ...inFile, ...settingsOf(values), backbone, task }
    if (method === FINE_TUNE) {
      const weights = await asked(() => selectWeights(backbone, trainable))
      await run({ ...settings, weights }, context)
      return
    }
    const prompt = await asked(() => createStart({ ...values, method }, backbone, task))
    try {
      await run({ ...settings, prompt }, context)
    } finally {
      prompt.dispose()
    }
  })
}

async function resume(values: Options, context: Context): Promise<void> {
  const { out } = values
  const download = showDownload(context.output)
  const { signal } = context
  const options = await openRun(out, { signal, onDownload: download.event }).finally(() =>
    download.stop(),
  )
  try {
    await run({ ...options, ...profileOf(values) }, context)
  } finally {
    options.prompt?.dispose()
    options.backbone.dispose()
  }
}

function createStart(
  values: Options & { method: MethodName },
  backbone: Backbone,
  task: Task,
): Prompt {
  return createPrompt(backbone, {
    method: values.method,
    length: values.length,
    rank: values.rank,
    activation: values.activation,
    activationThreshold: values.activationThreshold,
    bottleneck: values.bottleneck,
    textTokens: values.textTokens,
    alpha: values.alpha,
    placement: values.placement,
    init: values.init,
    labels: Object.values(task.verbalizer),
    seed: values.seed,
  })
}

function settingsOf(values: Options) {
  return {
    steps: values.steps,
    batchSize: values.batchSize,
    ...(values.batchTokens !== undefined && { batchTokens: values.batchTokens }),
    accumulate: values.accumulate,
    objective: values.objective,
    ...(values.meanOver !== undefined && { meanOver: values.meanOver }),
    optimizer: values.optimizer,
    learningRate: values.lr,
    learningRates: values.lrs,
    weightDecay: values.weightDecay,
    clip: values.clip,
    schedule: values.schedule,
    warmupSteps: values.warmupSteps,
    seed: values.seed,
    shuffle: values.shuffle,
    batchByLength: values.batchByLength,
    fastPaths: values.fastPaths,
    ...graphsOf(values),
    reuse: {
      budgetBytes: values.reuseBudget * 2 ** 20,
      halfPrecision: values.reuseHalf,
    },
    ...(values.checkpointLayers !== undefined && {
      checkpointLayers: values.checkpointLayers,
    }),
    maxLength: values.maxLength,
    maxTargetLength: values.maxTargetLength,
    longTargets: values.longTargets,
    samples: values.samples,
    evalEvery: values.evalEvery,
    checkpointEvery: values.checkpointEvery,
    out: values.out,
    ...profileOf(values),
  }
}

function profileOf({ profile, profileSteps }: Options): Pick<TrainOptions, 'profile'> {
  return profile === undefined ? {} : { profile: { path: profile, steps: profileSteps } }
}

async function run(
  options: Omit<TrainOptions, 'signal'>,
  { output, signal }: Context,
): Promise<void> {
  let progress: Progress | undefined
  try {
    const events = train({ ...options, signal })
    for await (const event of askedEvents(events)) {
      output.event({ ...event })
      if (event.type === 'start') {
        sayStart(output, event, options)
        const shown = showProgress(output, event.steps, event.resumedFrom)
        progress = shown
        // a second Ctrl-C kills: the terminal must have its cursor back by then
        signal.addEventListener('abort', () => shown.stop())
      } else if (event.type === 'step') {
        progress?.step(event.step, event.loss)
      } else if (event.type === 'eval') {
        output.note(evaluationLine(event))
      } else if (event.type === 'profile') {
        output.note(`trace of the steps up to ${event.step}: ${event.path}`)
      } else if (event.type === 'done') {
        progress?.stop()
        printResult(output, event, options)
      }
    }
  } catch (error) {
    progress?.stop()
    if (error instanceof LoptError && error.code === 'ERR_ABORTED') {
      output.event({ type: 'error', code: error.code, message: error.message })
      output.note(error.message)
      output.note(`To go on with it: npx lopt train --resume --out ${options.out}`)
    }
    throw error
  }
}

/** A run that goes on has its own options: to give others would be a misunderstanding. */
function checkResumed(command: Command): void {
  const other = command.options.find((option) => {
    const name = option.attributeName()
    const isOwn = ['resume', 'out', 'profile', 'profileSteps', 'json'].includes(name)
    return !isOwn && command.getOptionValueSource(name) === 'cli'
  })
  if (other === undefined) return
  throw new UsageError(
    `${other.long} has no meaning with --resume: the configuration of the run in --out counts`,
  )
}

/** An option that would change nothing is a misunderstanding. */
function checkMeaning(values: Options, given: (name: keyof Options) => boolean): void {
  const refuse = (name: keyof Options, flags: string, why: string) => {
    if (given(name)) throw new UsageError(`${flags} has no meaning with ${why}`)
  }
  const { method, activation, placement } = values
  const flags = {
    rank: '--rank',
    activation: '--activation',
    bottleneck: '--bottleneck',
    textTokens: '--text-tokens',
    alpha: '--alpha',
  } as const
  const used = method === FINE_TUNE ? [] : METHODS[method].uses
  for (const name of Object.keys(flags) as (keyof typeof flags)[]) {
    if (used.includes(name)) continue
    refuse(name, flags[name], `--method ${method}`)
  }
  if (activation !== 'soft-threshold') {
    refuse('activationThreshold', '--activation-threshold', `--activation ${activation}`)
  }
  if (method === FINE_TUNE) {
    refuse('length', '--length', `--method ${FINE_TUNE}`)
    refuse('placement', '--placement', `--method ${FINE_TUNE}`)
    refuse('init', '--init', `--method ${FINE_TUNE}`)
  } else {
    refuse('trainable', '--trainable', `--method ${method}`)
  }
  if (placement !== 'suffix') {
    refuse('reuseBudget', '--reuse-budget', `--placement ${placement}`)
    refuse('reuseHalf', '--reuse-half', `--placement ${placement}`)
  }
  if (values.data === undefined) refuse('evalData', '--eval-data', '--task')
  if (values.profile === undefined && given('profileSteps')) {
    throw new UsageError('--profile-steps has no meaning without --profile')
  }
}
