// What `train` takes, checked, with every default filled in. Trains nothing.

import { resolve } from 'node:path'
import type { Backbone } from '../backbone/index.js'
import { refuseInt8 } from '../backbone/int8.js'
import { about, checkMade } from '../errors.js'
import { checkOptions } from '../fields.js'
import type { ReuseOptions } from '../inference/index.js'
import {
  checkPrompt,
  checkPrompts,
  type MethodName,
  type Prompt,
} from '../prompt/index.js'
import {
  type MeanOver,
  type Objective,
  type OptimizerName,
  type RunSubjects,
  type Schedule,
  type TrainSettings,
  trainFields,
  type Weights,
} from '../run/index.js'
import type { Task } from '../task/index.js'
import { type ByName, parameterGroups } from './optimizer.js'
import type { ProfileOptions } from './profile.js'

/** Options that each of several prompts may have of its own. */
export const OWN_OPTIONS = [
  'objective',
  'optimizer',
  'learningRate',
  'learningRates',
  'weightDecay',
  'weightDecays',
  'clip',
  'schedule',
  'warmupSteps',
  'seed',
  'shuffle',
  'out',
] as const satisfies readonly (keyof TrainOptions)[]

/** A prompt that is trained beside others, and what it has of its own in place of the options for all. */
export interface PromptTraining extends Pick<TrainOptions, (typeof OWN_OPTIONS)[number]> {
  prompt: Prompt
}

/** What `train` takes. */
export interface TrainOptions {
  backbone: Backbone
  /** Trained in place; at the end it is the best one that evaluation saw. */
  prompt?: Prompt | undefined
  /**
   * In place of `prompt`: several that are trained in one pass, each to the numbers that it has alone (but for
   * rounding), its events with its place here. They may differ in everything that a prompt is, and in what `PromptTraining`
   * names. Those of one `seed` share their batches, where the texts of suffix prompts run once for all of them.
   */
  prompts?: readonly (Prompt | PromptTraining)[] | undefined
  /**
   * Instead of a prompt: weights of the backbone itself (`selectWeights`), fine-tuned without one. The
   * backbone keeps the best ones, and is frozen again. Beside Adam's state, two copies of them are held.
   */
  weights?: Weights | undefined
  task: Task
  /** Optimizer steps, default 1000. */
  steps?: number
  /** Examples a step, default 16. */
  batchSize?: number
  /**
   * As many examples a step as the longest text of them times their count stays within this, so that
   * short texts share larger batches; `batchSize` is then an evaluation's only. The loss stays a mean over
   * examples.
   */
  batchTokens?: number
  /** Parts that a step's batch is computed in, one after the other, default 1. */
  accumulate?: number
  /** `lm` (default): the label's tokens over the whole vocabulary; `verbalizer`: among the labels. */
  objective?: Objective
  /**
   * What the loss of `lm` is a mean over: `rows`, each the sum of its tokens, or `tokens` of the batch, as transformers has
   * it. Default: `rows`, and `tokens` where texts answer rows.
   */
  meanOver?: MeanOver
  /** Default `adam`. */
  optimizer?: OptimizerName
  /** Default: the method's, see `DEFAULT_LEARNING_RATES`. */
  learningRate?: number
  /**
   * Learning rates of trained tensors that do not take `learningRate`, by name (`{ A: 5e-3 }`); in a name
   * `*` stands for any text, and the last entry that fits counts. Default: see `DEFAULT_GROUP_RATES`.
   */
  learningRates?: ByName
  /** Default 0. */
  weightDecay?: number
  /** Weight decays that differ from `weightDecay`, by name as `learningRates`. */
  weightDecays?: ByName
  /** Greatest norm of all gradients together, default 1; 0: none. */
  clip?: number
  /** Default `constant`. */
  schedule?: Schedule
  /**
   * Steps over which the learning rate rises from 0 to the whole, default 0. As in transformers, the first
   * of them has learning rate 0 and changes nothing.
   */
  warmupSteps?: number
  /** Seed of the rows' order, default 0. */
  seed?: number
  /** Default true. */
  shuffle?: boolean
  /** Tokens of text at most; default: what prompt and label leave of the positions. */
  maxLength?: number
  /** Tokens of a text that answers a row at most, its end included; default: what prompt and template leave of the positions. */
  maxTargetLength?: number
  /** What becomes of a longer one: `refuse` (default) ends before the first step, `cut` takes its beginning. */
  longTargets?: 'refuse' | 'cut'
  /**
   * Dev rows of which each evaluation keeps the text that is generated, where texts answer rows: half with the highest loss,
   * half with the lowest; default 8. For another metric than `perplexity` all rows' texts are generated.
   */
  samples?: number
  /** Steps between evaluations on dev; default: a tenth of `steps`. 0: only the last prompt counts. */
  evalEvery?: number
  /** Only this many dev rows at each evaluation; default: all. */
  evalLimit?: number
  /**
   * Rows of like length in a batch (default), so that little padding is computed; see `batches`. Where
   * a text's length tells its label, batches differ in their mix of labels, and learning is slower:
   * turn it off there.
   */
  batchByLength?: boolean
  /**
   * Skip what a frozen model allows (default): a prefix prompt's rows run once a step, a suffix
   * prompt's texts run without a graph and are kept (`reuse`), and `batchByLength`. false: none.
   */
  fastPaths?: boolean
  /**
   * Launches a step as one where the device captures graphs (CUDA), its rows padded to lengths that come again: by
   * default there, where it can be (the `start` event says). The next step is then at work before a `step` event comes, but
   * where an evaluation, a checkpoint or the end stands between: a prompt that is read in the loop may be a step
   * ahead, and one that the loop is left with is not. true on another device: steps are run from inputs that
   * stay, in the same buckets, which is of use in tests alone. false: op by op.
   */
  graphs?: boolean
  /**
   * For a suffix prompt on a causal model: the texts' keys and values are computed once and kept over
   * the epochs, training rows first, then dev rows, while they fit the budget.
   */
  reuse?: ReuseOptions
  /**
   * Holds the activations of this many layers at a time and computes them again in the backward pass: less
   * memory, about a third more time, the same numbers. For prompts. Default: all layers at once.
   */
  checkpointLayers?: number
  /**
   * Run folder: configuration, events, checkpoints, the best prompt. It must be new or empty, or hold
   * this run with `resume`. Of several prompts each has its own, or none has one.
   */
  out?: string
  /**
   * Go on with the run in `out` from its last checkpoint, to the same numbers as without the
   * interruption (to the bit on a CPU); begin where there is none. Default false.
   */
  resume?: boolean
  /** Steps between checkpoints in `out`, default `evalEvery` or a tenth of `steps`; 0: at aborts only. */
  checkpointEvery?: number
  /**
   * Writes a Chrome trace that shows where the time of some steps goes: docs/performance.md. Those steps are
   * slower, and compute the same numbers.
   */
  profile?: ProfileOptions
  /** Stops between steps; what was learned is kept. */
  signal?: AbortSignal
}

/**
 * Of a grid of four, the rate with the best accuracy on the dev rows of `topics` with models/nano-gpt2 (20
 * virtual tokens, 800 steps of Adam, linear schedule, one seed): docs/sweeps.md. Another model, length or
 * rank may want another.
 */
export const DEFAULT_LEARNING_RATES: Readonly<Record<MethodName, number>> = {
  'lopt-1': 0.3,
  'lopt-2': 0.1,
  full: 0.1,
  dpt: 1,
  ulpt: 1,
  residual: 0.3,
  'p-tuning': 3e-2,
  dept: 0.3,
  prefix: 3e-2,
}

/** For weights of the backbone: usual for fine-tuning; of three, the best on `spam` (docs/sweeps.md). */
export const FINE_TUNING_RATE = 1e-4

/** Where a method's tensors have learning rates of their own. `dept`: of its published grid. */
export const DEFAULT_GROUP_RATES: Readonly<Partial<Record<MethodName, ByName>>> = {
  dept: { A: 5e-3, B: 5e-3 },
}

/** What one of those that a call of `train` trains is told. */
export interface TraineeOptions {
  /** Its place in `prompts`, where several were given. */
  readonly index: number | undefined
  readonly subjects: RunSubjects
  readonly settings: TrainSettings
}

/**
 * What is to be trained, each with all of its settings, as if it were alone.
 *
 * @throws TypeError or RangeError naming every option that is wrong; LoptError `ERR_PROMPT_FILE` for a prompt of
 *   another backbone.
 */
export function traineeOptions(options: TrainOptions): TraineeOptions[] {
  const { backbone, task, prompt, prompts, weights } = options
  checkMade({ backbone, task })
  refuseInt8(backbone, 'train')
  const given = [prompt, prompts, weights].filter((one) => one !== undefined)
  if (given.length !== 1) {
    throw new TypeError('Give what is to be trained: either prompt, prompts or weights')
  }
  if (weights && weights.backbone !== backbone) {
    throw new TypeError('Expected weights to be those of the backbone that is given')
  }
  if (prompts === undefined) {
    if (prompt) checkPrompt(prompt, backbone)
    const subjects = { backbone, task, prompt, weights }
    return [{ index: undefined, subjects, settings: trainSettings(options) }]
  }
  if (options.out !== undefined) {
    throw new RangeError('out is the folder of one run: give each of prompts its own')
  }
  const all = listed(prompts)
  checkPrompts(
    all.map((one) => one.prompt),
    backbone,
  )
  const trainees = all.map(({ prompt, ...own }, index) => {
    const settings = about(`prompts[${index}]`, () => {
      checkOwn(own)
      // What is undefined is not given: it stands in the way of no option for all.
      const given = Object.entries(own).filter(([, value]) => value !== undefined)
      const mine = { ...options, ...Object.fromEntries(given) }
      return trainSettings({ ...mine, prompts: undefined, prompt })
    })
    return { index, subjects: { backbone, task, prompt }, settings }
  })
  checkFolders(trainees.map(({ settings }) => settings.out))
  return trainees
}

function listed(prompts: TrainOptions['prompts']): PromptTraining[] {
  if (!Array.isArray(prompts)) {
    throw new TypeError(
      `Expected prompts to be a list of prompts but received ${typeof prompts}`,
    )
  }
  return prompts.map((one: Prompt | PromptTraining) =>
    typeof one === 'object' && one !== null && 'prompt' in one ? one : { prompt: one },
  )
}

function checkOwn(own: object): void {
  const names: readonly string[] = OWN_OPTIONS
  const other = Object.keys(own).find((name) => !names.includes(name))
  if (other === undefined) return
  throw new RangeError(
    `${other} is the same for all prompts that are trained together; each may have ${OWN_OPTIONS.join(', ')}`,
  )
}

/** Each has a run folder of its own, or none has one. */
function checkFolders(outs: readonly (string | undefined)[]): void {
  const folders = outs.map((out) => (out === undefined ? undefined : resolve(out)))
  for (const [i, folder] of folders.entries()) {
    if ((folder === undefined) !== (folders[0] === undefined)) {
      const [has, lacks] = folder === undefined ? [0, i] : [i, 0]
      throw new RangeError(
        `prompts[${has}] has a run folder (out) and prompts[${lacks}] none: give each its own, or none`,
      )
    }
    const first = folders.indexOf(folder)
    if (folder === undefined || first === i) continue
    throw new RangeError(
      `prompts[${i}]: Expected a run folder (out) of its own but received that of prompts[${first}], ${folder}`,
    )
  }
}

/** The settings of one prompt, or of weights. */
function trainSettings(options: TrainOptions): TrainSettings {
  const objects = ['backbone', 'prompt', 'prompts', 'weights', 'task', 'signal']
  const data = checkOptions(
    trainFields,
    Object.fromEntries(
      Object.entries(options).filter(([name]) => !objects.includes(name)),
    ),
  )
  if (data.checkpointLayers !== undefined && options.weights) {
    throw new RangeError(
      'checkpointLayers is for a prompt on a frozen backbone: leave it out',
    )
  }
  if (data.batchTokens === undefined && data.accumulate > data.batchSize) {
    throw new RangeError(
      `Expected accumulate in 1..${data.batchSize}, the batch size, but received ${data.accumulate}`,
    )
  }
  if (data.objective === 'verbalizer' && options.task.target) {
    throw new RangeError(
      'The objective verbalizer chooses among labels: the task has none',
    )
  }
  if (data.objective === 'verbalizer' && data.meanOver === 'tokens') {
    throw new RangeError(
      'meanOver tokens is for the objective lm: verbalizer chooses among labels, once a row',
    )
  }
  if (data.resume && data.out === undefined) {
    throw new RangeError('resume needs out, the folder of the run to go on with')
  }
  const method = options.prompt?.config.method
  const tenth = Math.max(1, Math.floor(data.steps / 10))
  const rate = method ? DEFAULT_LEARNING_RATES[method] : FINE_TUNING_RATE
  const settings = {
    ...data,
    learningRate: data.learningRate ?? rate,
    meanOver: data.meanOver ?? (options.task.target ? 'tokens' : 'rows'),
    learningRates: data.learningRates ?? (method && DEFAULT_GROUP_RATES[method]) ?? {},
    evalEvery: data.evalEvery ?? tenth,
    checkpointEvery: data.checkpointEvery ?? (data.evalEvery || tenth),
  }
  // Refuses names that nothing trained has.
  parameterGroups((options.prompt ?? options.weights)?.parameters ?? {}, settings)
  return settings
}
