// `lopt train`: trains a prompt and writes a run folder. Parses, prints, and leaves the rest to
// `train`.

import type { Command } from 'commander'
import {
  type Backbone,
  createPrompt,
  LoptError,
  loadTask,
  type Prompt,
  type Task,
  train,
} from '../index.js'
import { METHODS } from '../prompt/methods/index.js'
import { asked, askedEvents, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import { taskSource, withBackbone } from './model-options.js'
import { addCommand, optionValues } from './options.js'
import { type Progress, showProgress } from './progress.js'
import {
  allTrainOptions,
  type TrainOptionValues as Options,
  trainOptions,
} from './train-options.js'
import { evaluationLine, printResult, sayStart } from './train-report.js'

const HELP = `
Ctrl-C stops after the step at hand, saves the prompt and says where (exit code 130).

Examples:
  npx lopt train --backbone builtin:nano-gpt2 --task topics --out runs/topics
  npx lopt train --backbone ./gpt2 --data reviews.jsonl --template '{text} It was' \\
    --method lopt-2 --rank 8 --steps 3000 --out runs/reviews
with lines such as {"text": "A delight.", "label": "great"} in reviews.jsonl.`

export function addTrain(program: Command, context: Context): void {
  const command = addCommand(program, 'train', {
    description: 'Trains a prompt on a frozen model and writes a run folder.',
    help: HELP,
    options: trainOptions,
  })
  command.action(async () => {
    const values = optionValues(command, allTrainOptions)
    checkMeaning(values, (name) => command.getOptionValueSource(name) === 'cli')
    const task = await openTrainingTask(values)
    await withBackbone(values, context, async (backbone) => {
      const prompt = await asked(() => createStart(values, backbone, task))
      try {
        await run(values, { backbone, prompt, task }, context)
      } finally {
        prompt.dispose()
      }
    })
  })
}

function createStart(values: Options, backbone: Backbone, task: Task): Prompt {
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

async function run(
  values: Options,
  { backbone, prompt, task }: { backbone: Backbone; prompt: Prompt; task: Task },
  { output, signal }: Context,
): Promise<void> {
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
      batchByLength: values.batchByLength,
      fastPaths: values.fastPaths,
      maxLength: values.maxLength,
      evalEvery: values.evalEvery,
      out: values.out,
    })
    for await (const event of askedEvents(events)) {
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
  }
}

/** An option that would change nothing is a misunderstanding. */
function checkMeaning(values: Options, given: (name: keyof Options) => boolean): void {
  const refuse = (name: keyof Options, flags: string, why: string) => {
    if (given(name)) throw new UsageError(`${flags} has no meaning with ${why}`)
  }
  const { method, activation } = values
  const flags = {
    rank: '--rank',
    activation: '--activation',
    bottleneck: '--bottleneck',
    textTokens: '--text-tokens',
    alpha: '--alpha',
  } as const
  for (const name of Object.keys(flags) as (keyof typeof flags)[]) {
    if (METHODS[method].uses.includes(name)) continue
    refuse(name, flags[name], `--method ${method}`)
  }
  if (activation !== 'soft-threshold') {
    refuse('activationThreshold', '--activation-threshold', `--activation ${activation}`)
  }
  if (values.data === undefined) refuse('evalData', '--eval-data', '--task')
}

async function openTrainingTask(values: Options): Promise<Task> {
  const { source } = taskSource(values)
  const { template, seed, evalData } = values
  return await asked(() => loadTask(source, { template, seed, evalData }))
}
