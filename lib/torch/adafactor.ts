// Adafactor (Shazeer and Stern 2018, arXiv:1804.04235) as transformers has it with
// scale_parameter=False, relative_step=False and warmup_init=False: a learning rate from outside.
// Every operation is a job; the calls of one optimizer are carried out one after the other.

import { noGrad } from './autograd.js'
import {
  checkAtLeast,
  checkInteger,
  checkNumber,
  checkObject,
  checkReceiver,
} from './check.js'
import { binding } from './context.js'
import type {
  OptimizerOptions,
  OptimizerState,
  ParameterGroup,
  ParameterState,
} from './optim.js'
import { checkParameters, checkStateForm, toGroups } from './optimizer-arguments.js'
import { keep, tidy } from './scope.js'
import { handleOf, type Tensor, wrap } from './tensor.js'

export interface AdafactorOptions extends OptimizerOptions {
  /** Added to the squared gradient, default 1e-30. */
  eps?: number
  /** Greatest root mean square of an update before the learning rate, default 1. */
  clipThreshold?: number
  /** The second moment decays by 1 - step^decayRate, default -0.8. */
  decayRate?: number
  /** Decay of the running average of updates; null (default): none is kept. */
  beta1?: number | null
}

export type AdafactorGroupOptions = Required<AdafactorOptions>

const DEFAULTS: AdafactorGroupOptions = {
  lr: 1e-3,
  weightDecay: 0,
  eps: 1e-30,
  clipThreshold: 1,
  decayRate: -0.8,
  beta1: null,
}

interface Group {
  readonly params: readonly Tensor[]
  options: AdafactorGroupOptions
}

/**
 * Second moments of matrices are kept as the means of their rows and columns. `weightDecay` is
 * decoupled: it shrinks a parameter by weightDecay · lr.
 */
export class Adafactor {
  readonly #groups: readonly Group[]
  #states: (ParameterState | null)[]
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    params: readonly Tensor[] | readonly ParameterGroup<AdafactorOptions>[],
    options: AdafactorOptions = {},
  ) {
    this.#groups = toGroups(params).map(({ params: members, ...own }) => ({
      params: members,
      options: checked({ ...DEFAULTS, ...given(checkObject(options)), ...given(own) }),
    }))
    checkParameters(this.#parameters)
    this.#states = this.#parameters.map(() => null)
  }

  static #own(value: Adafactor): Adafactor {
    return checkReceiver(value, (object) => #groups in object, 'an optimizer')
  }

  get #parameters(): readonly Tensor[] {
    return this.#groups.flatMap(({ params }) => params)
  }

  /** Learning rate of each group. */
  get learningRates(): readonly number[] {
    return Adafactor.#own(this).#groups.map(({ options }) => options.lr)
  }

  /** Changes every parameter that has a gradient. */
  async step(): Promise<void> {
    await Adafactor.#own(this).#inOrder(async () => {
      let i = 0
      for (const { params, options } of this.#groups) {
        for (const parameter of params) {
          await tidy(async () => {
            const gradient = await parameter.grad()
            if (gradient === null) return
            this.#states[i] ??= freshState(parameter, options)
            await update(parameter, gradient, this.#states[i] as ParameterState, options)
          })
          i += 1
        }
      }
    })
  }

  /** Drops the gradients. */
  async zeroGrad(): Promise<void> {
    await Adafactor.#own(this).#inOrder(async () => {
      for (const parameter of this.#parameters) await parameter.zeroGrad()
    })
  }

  /**
   * Sets the learning rate of one group, or of all, for the steps asked for after this.
   *
   * @throws RangeError for a rate below 0 or not finite, or a group that is not there.
   */
  async setLearningRate(lr: number, group?: number): Promise<void> {
    const { length } = Adafactor.#own(this).#groups
    checkAtLeast(lr, 0, 'lr')
    const last = length - 1
    if (group !== undefined && (checkInteger(group, 'group') < 0 || group > last)) {
      throw new RangeError(`Expected group in 0..${last} but received ${group}`)
    }
    await this.#inOrder(async () => {
      for (const [i, own] of this.#groups.entries()) {
        if (group === undefined || group === i) own.options = { ...own.options, lr }
      }
    })
  }

  /** Copies of the state's tensors, with the options: what `loadState` takes. */
  async state(): Promise<OptimizerState> {
    return await Adafactor.#own(this).#inOrder(async () => ({
      kind: 'adafactor',
      groups: this.#groups.map(({ options, params }) => ({
        options,
        size: params.length,
      })),
      parameters: this.#states.map((state) => state && copied(state)),
    }))
  }

  /**
   * Continues from a state that an Adafactor with parameters of the same shapes in the same groups
   * gave. Its tensors are copied.
   *
   * @throws RangeError that says what does not fit; nothing is changed then.
   */
  async loadState(state: OptimizerState): Promise<void> {
    Adafactor.#own(this)
    const { kind, groups, parameters } = checkStateForm(state)
    if (kind !== 'adafactor') {
      throw new RangeError(`Expected the state of adafactor but received that of ${kind}`)
    }
    const sizes = this.#groups.map(({ params }) => params.length)
    const received = groups.map(({ size }) => size)
    if (parameters.length !== this.#states.length) {
      throw new RangeError(
        `Expected the state of ${this.#states.length} parameters but received ${parameters.length}`,
      )
    }
    if (sizes.join() !== received.join()) {
      throw new RangeError(
        `Expected groups of [${sizes.join(', ')}] parameters but received [${received.join(', ')}]`,
      )
    }
    const options = groups.map((group) => checked(group.options as AdafactorGroupOptions))
    const owners = options.flatMap((own, i) => Array<typeof own>(sizes[i] ?? 0).fill(own))
    for (const [i, state] of parameters.entries()) {
      if (state === null) continue
      checkInteger(state.step, 'step')
      checkState(
        i,
        state,
        slots(this.#parameters[i] as Tensor, owners[i] as AdafactorGroupOptions),
      )
    }
    await this.#inOrder(async () => {
      this.#forget()
      this.#states = parameters.map((state) => state && copied(state))
      for (const [i, own] of options.entries()) (this.#groups[i] as Group).options = own
    })
  }

  /** Drops the state. The parameters live on. */
  dispose(): void {
    Adafactor.#own(this).#forget()
    this.#states = this.#parameters.map(() => null)
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    Adafactor.prototype.dispose.call(this)
  }

  #forget(): void {
    for (const state of this.#states) {
      for (const tensor of Object.values(state?.tensors ?? {})) tensor.dispose()
    }
  }

  /** Runs `work` once all that was asked for before is done, without a graph. */
  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => noGrad(work))
    this.#last = done.catch(() => {})
    return done
  }
}

/** Only what was given: an option that is undefined is one that was left out. */
function given(options: AdafactorOptions): AdafactorOptions {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  )
}

function checked(options: AdafactorGroupOptions): AdafactorGroupOptions {
  for (const name of ['lr', 'weightDecay', 'eps'] as const) {
    checkAtLeast(options[name], 0, name)
  }
  if (checkNumber(options.clipThreshold, 'clipThreshold') <= 0) {
    throw new RangeError(
      `Expected clipThreshold above 0 but received ${options.clipThreshold}`,
    )
  }
  if (checkNumber(options.decayRate, 'decayRate') > 0) {
    throw new RangeError(
      `Expected decayRate to be 0 or less but received ${options.decayRate}`,
    )
  }
  if (options.beta1 !== null && checkAtLeast(options.beta1, 0, 'beta1') >= 1) {
    throw new RangeError(`Expected beta1 below 1 but received ${options.beta1}`)
  }
  return options
}

/** Shapes of what is kept of a parameter, by transformers' names. */
function slots(
  { shape }: Tensor,
  { beta1 }: AdafactorGroupOptions,
): Record<string, readonly number[]> {
  const second: Record<string, readonly number[]> =
    shape.length >= 2
      ? {
          exp_avg_sq_row: shape.slice(0, -1),
          exp_avg_sq_col: [...shape.slice(0, -2), ...shape.slice(-1)],
        }
      : { exp_avg_sq: shape }
  return beta1 === null ? second : { ...second, exp_avg: shape }
}

function freshState(parameter: Tensor, options: AdafactorGroupOptions): ParameterState {
  const { ops } = binding()
  const tensors = Object.entries(slots(parameter, options)).map(([name, shape]) => [
    name,
    keep(wrap(ops.zeros(shape, parameter.dtype, parameter.device))),
  ])
  return { step: 0, tensors: Object.fromEntries(tensors) as ParameterState['tensors'] }
}

function checkState(
  i: number,
  { tensors }: ParameterState,
  expected: Record<string, readonly number[]>,
): void {
  for (const [name, shape] of Object.entries(expected)) {
    const found = tensors[name]
    if (found === undefined) {
      throw new RangeError(`The state of parameter ${i} lacks ${name}`)
    }
    if (found.shape.join() === shape.join()) continue
    throw new RangeError(
      `The state ${name} of parameter ${i} has shape [${found.shape.join(', ')}] but ` +
        `[${shape.join(', ')}] is expected`,
    )
  }
}

function copied({ step, tensors }: ParameterState): ParameterState {
  const copies = Object.entries(tensors).map(([name, tensor]) => [
    name,
    keep(tensor.clone()),
  ])
  return { step, tensors: Object.fromEntries(copies) as ParameterState['tensors'] }
}

/** One step of one parameter: transformers' `Adafactor.step`, line by line. */
async function update(
  parameter: Tensor,
  gradient: Tensor,
  state: ParameterState,
  { lr, weightDecay, eps, clipThreshold, decayRate, beta1 }: AdafactorGroupOptions,
): Promise<void> {
  const { jobs } = binding()
  state.step += 1
  const beta2 = 1 - state.step ** decayRate
  const { exp_avg_sq_row: row, exp_avg_sq_col: col, exp_avg_sq: whole } = state.tensors
  const slot = state.tensors.exp_avg
  const g = handleOf(gradient)
  // Handles of a step's own are freed with the scope that `wrap` puts them into.
  const made = async (handle: ReturnType<typeof jobs.square>) =>
    handleOf(wrap(await handle))

  const squared = await made(jobs.add(await made(jobs.square(g)), eps, 1))
  const decayInto = async (average: Tensor, now: ReturnType<typeof handleOf>) => {
    await jobs.mul_(handleOf(average), beta2)
    await jobs.add_(handleOf(average), now, 1 - beta2)
  }
  let factor: ReturnType<typeof handleOf>
  if (row !== undefined && col !== undefined) {
    await decayInto(row, await made(jobs.mean(squared, [-1], false)))
    await decayInto(col, await made(jobs.mean(squared, [-2], false)))
    const mean = await made(jobs.mean(handleOf(row), [-1], true))
    const rows = await made(jobs.rsqrt(await made(jobs.div(handleOf(row), mean))))
    const columns = await made(jobs.rsqrt(handleOf(col)))
    factor = await made(
      jobs.mul(
        await made(jobs.unsqueeze(rows, -1)),
        await made(jobs.unsqueeze(columns, -2)),
      ),
    )
  } else {
    await decayInto(whole as Tensor, squared)
    factor = await made(jobs.rsqrt(handleOf(whole as Tensor)))
  }
  const raw = await made(jobs.mul(factor, g))
  const norm = await made(jobs.norm(raw, 2, [], false))
  const tooLarge = await made(
    jobs.clamp(
      await made(jobs.div(norm, Math.sqrt(parameter.numel) * clipThreshold)),
      1,
      null,
    ),
  )
  const step = await made(jobs.mul(await made(jobs.div(raw, tooLarge)), lr))
  if (slot !== undefined && beta1 !== null) {
    await jobs.mul_(handleOf(slot), beta1)
    await jobs.add_(handleOf(slot), step, 1 - beta1)
  }
  const p = handleOf(parameter)
  if (weightDecay !== 0) await jobs.mul_(p, 1 - weightDecay * lr)
  await jobs.add_(p, slot === undefined ? step : handleOf(slot), -1)
}
