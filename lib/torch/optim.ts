// Optimizers: PyTorch's Adam, AdamW and SGD with its defaults, by parameter group. Every change is
// a job, in the order asked for. Knows nothing of schedules.

import {
  type NativeOptimizerOptions,
  type NativeParameterState,
  native,
  type OptimizerHandle,
} from '../native.js'
import type { AdafactorGroupOptions } from './adafactor.js'
import {
  checkArray,
  checkAtLeast,
  checkInteger,
  checkObject,
  checkReceiver,
  shapeText,
} from './check.js'
import { binding } from './context.js'
import { checkParameters, checkStateForm, toGroups } from './optimizer-arguments.js'
import { handleOf, handlesOf, type Tensor, wrap } from './tensor.js'

/** What all optimizers take. */
export interface OptimizerOptions {
  /** Learning rate, default 0.001. */
  lr?: number
  /** Adam, SGD: L2 penalty, default 0. AdamW: decoupled, default 0.01. */
  weightDecay?: number
}

export interface AdamOptions extends OptimizerOptions {
  /** Decay of the running averages of the gradient and of its square, default [0.9, 0.999]. */
  betas?: readonly [number, number]
  /** Added to the denominator, default 1e-8. */
  eps?: number
  /** Keep the largest second moment, default false. */
  amsgrad?: boolean
}

export interface SGDOptions extends OptimizerOptions {
  /** Default 0. */
  momentum?: number
  /** Default 0. */
  dampening?: number
  /** Default false; needs momentum and no dampening. */
  nesterov?: boolean
}

/** Parameters with options of their own; what is left out is the optimizer's. */
export type ParameterGroup<O> = { params: readonly Tensor[] } & O

/** One parameter's: tensors by PyTorch's names (`exp_avg`, …) and the steps it has taken. */
export interface ParameterState {
  step: number
  tensors: Record<string, Tensor>
}

type NativeKind = 'adam' | 'adamw' | 'sgd'

/** Everything an optimizer needs to continue: tensors, and numbers that JSON can hold. */
export interface OptimizerState {
  kind: NativeKind | 'adafactor'
  /** The options of each group as they are now, and how many parameters it has. */
  groups: { options: NativeOptimizerOptions | AdafactorGroupOptions; size: number }[]
  /** One entry a parameter in the order of the groups; null before its first step. */
  parameters: (ParameterState | null)[]
}

interface Group {
  params: readonly Tensor[]
  options: NativeOptimizerOptions
}

abstract class Optimizer<O extends AdamOptions & SGDOptions> {
  readonly #kind: NativeKind
  readonly #groups: Group[]
  readonly #handle: OptimizerHandle

  protected constructor(
    kind: NativeKind,
    params: readonly Tensor[] | readonly ParameterGroup<O>[],
    defaults: NativeOptimizerOptions,
    options: O,
  ) {
    this.#kind = kind
    this.#groups = toGroups(params).map(({ params: members, ...own }) => ({
      params: members,
      options: checkOptions(merge(merge(defaults, checkObject(options)), own)),
    }))
    checkParameters(this.#groups.flatMap((group) => group.params))
    this.#handle = native().optimizerCreate(
      kind,
      this.#groups.map((group) => ({
        parameters: handlesOf(group.params, 'params'),
        options: group.options,
      })),
    )
  }

  static #own<O extends AdamOptions & SGDOptions>(value: Optimizer<O>): Optimizer<O> {
    return checkReceiver(value, (object) => #handle in object, 'an optimizer')
  }

  /** Learning rate of each group. */
  get learningRates(): readonly number[] {
    return Optimizer.#own(this).#groups.map((group) => group.options.lr)
  }

  /** Changes every parameter that has a gradient. */
  async step(): Promise<void> {
    await binding().optimizerStep(Optimizer.#own(this).#handle)
  }

  /** Drops the gradients. */
  async zeroGrad(): Promise<void> {
    await binding().optimizerZeroGrad(Optimizer.#own(this).#handle)
  }

  /**
   * Sets the learning rate of one group, or of all, for the steps asked for after this.
   *
   * @throws RangeError for a rate below 0 or not finite, or a group that is not there.
   */
  async setLearningRate(lr: number, group?: number): Promise<void> {
    const { length } = Optimizer.#own(this).#groups
    checkAtLeast(lr, 0, 'lr')
    const last = length - 1
    if (group !== undefined && (checkInteger(group, 'group') < 0 || group > last)) {
      throw new RangeError(`Expected group in 0..${last} but received ${group}`)
    }
    const chosen = group === undefined ? this.#groups.keys() : [group]
    await Promise.all(
      [...chosen].map((i) => this.#setOptions(i, { ...this.#group(i).options, lr })),
    )
  }

  /** Copies of the state's tensors, with the options: what `loadState` takes. */
  async state(): Promise<OptimizerState> {
    const groups = Optimizer.#own(this).#groups.map(({ options, params }) => ({
      options,
      size: params.length,
    }))
    const parameters = await binding().optimizerState(this.#handle)
    return { kind: this.#kind, groups, parameters: parameters.map(wrapState) }
  }

  /**
   * Continues from a state that an optimizer of the same kind, with parameters of the same shapes
   * in the same groups, gave. Its tensors are copied.
   *
   * @throws RangeError that says what does not fit.
   */
  async loadState(state: OptimizerState): Promise<void> {
    const options = Optimizer.#own(this).#checkState(checkStateForm(state))
    const parameters = state.parameters.map((entry) => entry && unwrapState(entry))
    await binding().optimizerLoadState(this.#handle, parameters)
    await Promise.all(
      options.map((own, i) =>
        this.#setOptions(i, checkOptions(merge(this.#group(i).options, own))),
      ),
    )
  }

  /** Drops the state. The parameters live on. */
  dispose(): void {
    native().optimizerDispose(Optimizer.#own(this).#handle)
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    native().optimizerDispose(Optimizer.#own(this).#handle)
  }

  #group(i: number): Group {
    return this.#groups[i] as Group
  }

  async #setOptions(i: number, options: NativeOptimizerOptions): Promise<void> {
    this.#group(i).options = options
    await binding().optimizerSetOptions(this.#handle, i, options)
  }

  /** @returns the options of each group */
  #checkState({ kind, groups, parameters }: OptimizerState): NativeOptimizerOptions[] {
    if (kind !== this.#kind) {
      throw new RangeError(
        `Expected the state of ${this.#kind} but received that of ${kind}`,
      )
    }
    const sizes = shapeText(this.#groups.map((group) => group.params.length))
    const received = shapeText(groups.map((group) => group.size))
    if (sizes !== received) {
      throw new RangeError(
        `Expected groups of ${sizes} parameters but received ${received}`,
      )
    }
    // The options come with the state: the addon sees them only once the tensors are in place.
    const options = groups.map((group) => group.options as NativeOptimizerOptions)
    const amsgrad = groups.flatMap(({ size }, i) =>
      Array<boolean>(size).fill((options[i] as NativeOptimizerOptions).amsgrad),
    )
    for (const [i, entry] of parameters.entries()) {
      if (amsgrad[i] && entry && entry.tensors.max_exp_avg_sq === undefined) {
        throw new RangeError(
          `The state of parameter ${i} lacks max_exp_avg_sq, which amsgrad needs`,
        )
      }
    }
    return options
  }
}

/**
 * Kingma and Ba 2015 (arXiv:1412.6980); `weightDecay` is an L2 penalty.
 *
 * @example
 * const adam = new Adam([w], { lr: 0.1 })
 * await w.square().mean().backward()
 * await adam.step()
 * await adam.zeroGrad()
 */
export class Adam extends Optimizer<AdamOptions> {
  constructor(
    params: readonly Tensor[] | readonly ParameterGroup<AdamOptions>[],
    options: AdamOptions = {},
  ) {
    super('adam', params, DEFAULTS, options)
  }
}

/** Adam with decoupled weight decay: Loshchilov and Hutter 2019 (arXiv:1711.05101). */
export class AdamW extends Optimizer<AdamOptions> {
  constructor(
    params: readonly Tensor[] | readonly ParameterGroup<AdamOptions>[],
    options: AdamOptions = {},
  ) {
    super('adamw', params, { ...DEFAULTS, weightDecay: 0.01 }, options)
  }
}

/** Stochastic gradient descent, with or without (Nesterov) momentum. */
export class SGD extends Optimizer<SGDOptions> {
  constructor(
    params: readonly Tensor[] | readonly ParameterGroup<SGDOptions>[],
    options: SGDOptions = {},
  ) {
    super('sgd', params, DEFAULTS, options)
  }
}

const DEFAULTS: NativeOptimizerOptions = {
  lr: 1e-3,
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  amsgrad: false,
  momentum: 0,
  dampening: 0,
  nesterov: false,
}

type AnyOptions = AdamOptions & SGDOptions & Partial<NativeOptimizerOptions>

function merge(base: NativeOptimizerOptions, over: AnyOptions): NativeOptimizerOptions {
  const betas = over.betas ?? [over.beta1 ?? base.beta1, over.beta2 ?? base.beta2]
  const [beta1, beta2] = checkArray(betas, 'betas')
  return {
    lr: over.lr ?? base.lr,
    weightDecay: over.weightDecay ?? base.weightDecay,
    beta1,
    beta2,
    eps: over.eps ?? base.eps,
    amsgrad: over.amsgrad ?? base.amsgrad,
    momentum: over.momentum ?? base.momentum,
    dampening: over.dampening ?? base.dampening,
    nesterov: over.nesterov ?? base.nesterov,
  }
}

function checkOptions(options: NativeOptimizerOptions): NativeOptimizerOptions {
  for (const name of ['lr', 'weightDecay', 'eps', 'momentum'] as const) {
    checkAtLeast(options[name], 0, name)
  }
  for (const name of ['beta1', 'beta2'] as const) {
    if (checkAtLeast(options[name], 0, name) >= 1) {
      throw new RangeError(`Expected ${name} below 1 but received ${options[name]}`)
    }
  }
  if (options.nesterov && (options.momentum === 0 || options.dampening !== 0)) {
    throw new RangeError('nesterov: expected a momentum above 0 and a dampening of 0')
  }
  return options
}

function wrapState(state: NativeParameterState | null): ParameterState | null {
  if (state === null) return null
  const tensors = Object.entries(state.tensors).map(([name, handle]) => [
    name,
    wrap(handle),
  ])
  return {
    step: state.step,
    tensors: Object.fromEntries(tensors) as Record<string, Tensor>,
  }
}

function unwrapState({ step, tensors }: ParameterState): NativeParameterState {
  const handles = Object.entries(tensors).map(([name, t]) => [name, handleOf(t, name)])
  return {
    step: checkInteger(step, 'step'),
    tensors: Object.fromEntries(handles) as NativeParameterState['tensors'],
  }
}
