// The soft prompt: a method's factors, where it is placed, what it was trained for. Knows neither
// tasks nor the backbone it is used with, beyond the fingerprint.

import { resolve } from 'node:path'
import { z } from 'zod'
import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { keep, parameter, type Tensor, tidy } from '../torch/index.js'
import { ACTIVATION_NAMES, type ActivationName, activationOf } from './activation.js'
import type { PromptConfig, PromptStart, PromptTask } from './config.js'
import {
  embeddingStd,
  givenInputs,
  type Init,
  isPromptFile,
  normalDraws,
} from './init.js'
import { METHOD_NAMES, METHODS } from './methods/index.js'
import type { Factors, MethodName } from './methods/method.js'
import { PLACEMENTS, type Placement } from './placement.js'

// Far beyond any use: a bound against a slip where the model has none.
const MAX_LENGTH = 2 ** 16

/** A trainable module that gives the soft prompt. */
export class Prompt {
  readonly config: PromptConfig
  /** Trained tensors by name; leaves that require a gradient. */
  readonly parameters: Factors
  /** Tensors that stay as they are: `X0` of LoPT-2. */
  readonly buffers: Factors
  /** Set by training. */
  task: PromptTask | undefined
  /** Where its numbers came from, where that is known: a run folder's configuration says it. */
  readonly start: PromptStart | undefined

  /** @param factors the method's tensors; the prompt owns them from here on */
  constructor(
    config: PromptConfig,
    factors: Factors,
    { task, start }: { task?: PromptTask | undefined; start?: PromptStart } = {},
  ) {
    const method = METHODS[config.method]
    const sizes = { P: config.length, H: config.hiddenSize, R: config.rank }
    const pick = (names: object, make: (tensor: Tensor) => Tensor) =>
      Object.fromEntries(
        Object.keys(names).map((name) => [name, keep(make(factors[name] as Tensor))]),
      )
    this.config = config
    this.parameters = pick(method.trainable(sizes), parameter)
    this.buffers = pick(method.fixed(sizes), (tensor) => tensor.detach())
    this.task = task
    this.start = start
  }

  /** How many numbers are trained. */
  get trainableParameters(): number {
    return Object.values(this.parameters).reduce((sum, { numel }) => sum + numel, 0)
  }

  /** The soft prompt X [P, H], in the factors' dtype and on their device, with its graph. */
  inputs(): Tensor {
    const { method, activation, activationThreshold } = this.config
    const σ = activationOf(activation, activationThreshold)
    return tidy(() => METHODS[method].inputs({ ...this.parameters, ...this.buffers }, σ))
  }

  dispose(): void {
    for (const tensor of Object.values({ ...this.parameters, ...this.buffers })) {
      tensor.dispose()
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

export interface CreatePromptOptions {
  /** Default `lopt-1`. */
  method?: MethodName
  /** P, virtual tokens, default 20. */
  length?: number
  /** R, in 1..min(P, H), default 4; not used by `full`. */
  rank?: number
  /** σ of `lopt-2`, default `relu`. */
  activation?: ActivationName
  /** Threshold of `soft-threshold`, default 0.1. */
  activationThreshold?: number
  /** Default `prefix`. */
  placement?: Placement
  /**
   * `vocab` (default): embeddings of sampled common tokens; `random`; `labels`: the label words';
   * `text:…`: a text's; or the path of a prompt file. Repeated where shorter than P.
   */
  init?: Init
  /** Words of the labels, for `init: 'labels'`. */
  labels?: readonly string[]
  /** Seed of every draw, default 0. */
  seed?: number
}

const options = z.strictObject({
  method: z.enum(METHOD_NAMES as [MethodName, ...MethodName[]]).default('lopt-1'),
  length: z.number().default(20),
  rank: z.number().default(4),
  activation: z.enum(ACTIVATION_NAMES).default('relu'),
  activationThreshold: z.number().default(0.1),
  placement: z.enum(PLACEMENTS).default('prefix'),
  init: z.string().default('vocab'),
  labels: z.array(z.string()).optional(),
  seed: z.number().default(0),
})

/**
 * Makes a prompt for a backbone: float32 factors on the backbone's device (float64 for a float64
 * backbone).
 *
 * @throws TypeError or RangeError naming the option that is wrong; LoptError `ERR_PROMPT_FILE` for
 *   an init file, `ERR_UNSUPPORTED` for a placement that the tokenizer does not allow.
 */
export function createPrompt(
  backbone: Backbone,
  given: CreatePromptOptions = {},
): Prompt {
  const checked = options.safeParse(given)
  if (!checked.success) throw new TypeError(z.prettifyError(checked.error))
  const { method: name, length, init, labels, seed, ...rest } = checked.data
  const { hiddenSize } = backbone.config
  const method = METHODS[name]
  // A token of text and one of the label stand beside it.
  checkRange('length', length, 1, Math.min(backbone.maxPositions - 2, MAX_LENGTH))
  if (method.usesRank) checkRange('rank', rest.rank, 1, Math.min(length, hiddenSize))
  checkRange('seed', seed, 0, Number.MAX_SAFE_INTEGER)
  if (!(rest.activationThreshold >= 0)) {
    throw new RangeError(
      `Expected activationThreshold to be 0 or more but received ${rest.activationThreshold}`,
    )
  }
  checkPlacement(rest.placement, backbone)

  const config: PromptConfig = {
    ...rest,
    method: name,
    length,
    rank: method.usesRank ? rest.rank : 0,
    hiddenSize,
    backbone: backbone.fingerprint,
  }
  // On `meta` embeddings have no values to start from; any start has the shapes.
  const isMeta = backbone.device === 'meta'
  return tidy(() => {
    const start = {
      sizes: { P: length, H: hiddenSize, R: config.rank },
      activation: activationOf(config.activation, config.activationThreshold),
      get std() {
        return isMeta ? 1 : embeddingStd(backbone) // only a random start asks
      },
      normal: normalDraws(seed),
    }
    const factors =
      init === 'random' || isMeta
        ? method.random(start)
        : method.from(givenInputs(init, { backbone, length, seed, labels }), start)
    return new Prompt(config, placed(factors, backbone), {
      start: {
        init: isPromptFile(init) ? resolve(init) : init,
        seed,
        ...(init === 'labels' && labels !== undefined ? { labels } : {}),
      },
    })
  })
}

/** Factors in the prompt's dtype, on the backbone's device, on storages of their own. */
export function placed(factors: Factors, backbone: Backbone): Factors {
  const dtype = backbone.dtype === 'float64' ? 'float64' : 'float32'
  const { device } = backbone
  return Object.fromEntries(
    Object.entries(factors).map(([key, tensor]) => [
      key,
      tensor.detach().to({ dtype, device }).clone().contiguous(),
    ]),
  )
}

/** @throws LoptError `ERR_UNSUPPORTED` for `after-first-token` where no token comes first. */
export function checkPlacement(placement: Placement, backbone: Backbone): void {
  if (placement !== 'after-first-token') return
  if (backbone.tokenizer.firstTokenId !== undefined) return
  throw new LoptError(
    'ERR_UNSUPPORTED',
    "The placement after-first-token is for models whose tokenizer puts a first token; this one's " +
      'puts none, so that it would tear the first word off the text: use prefix',
  )
}

function checkRange(name: string, value: number, low: number, high: number): void {
  if (Number.isSafeInteger(value) && value >= low && value <= high) return
  throw new RangeError(`Expected ${name} in ${low}..${high} but received ${value}`)
}
