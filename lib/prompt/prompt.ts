// The soft prompt: a method's factors, where it is placed, what it was trained for. Knows neither
// tasks nor the backbone it is used with, beyond the fingerprint.

import { resolve } from 'node:path'
import { z } from 'zod'
import type { Backbone } from '../backbone/index.js'
import { checkMade, LoptError } from '../errors.js'
import { checkOptions } from '../fields.js'
import { keep, parameter, type Tensor, tidy } from '../torch/index.js'
import { ACTIVATION_NAMES, type ActivationName } from './activation.js'
import type { PromptConfig, PromptStart, PromptTask } from './config.js'
import { keyValueShape } from './fit.js'
import {
  draws,
  embeddingStd,
  givenFactors,
  givenInputs,
  type Init,
  isPromptFile,
} from './init.js'
import { METHOD_NAMES, METHODS } from './methods/index.js'
import type { Contribution, Factors, MethodName, MethodOption } from './methods/method.js'
import { PLACEMENTS, type Placement } from './placement.js'
import { maxRank, settingsOf, sizesOf } from './settings.js'

// Far beyond any use: a bound against a slip where the model has none.
const MAX_LENGTH = 2 ** 16

/** What is known of a prompt besides its numbers and their meaning. */
export interface PromptAbout {
  readonly task?: PromptTask | undefined
  readonly start?: PromptStart
  readonly allowOtherBackbone?: boolean
}

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
  /** Whether it may be run with another backbone than the one it was made for: its loader said so. */
  readonly allowsOtherBackbone: boolean

  /** @param factors the method's tensors; the prompt owns them from here on */
  constructor(
    config: PromptConfig,
    factors: Factors,
    { task, start, allowOtherBackbone = false }: PromptAbout = {},
  ) {
    const method = METHODS[config.method]
    const sizes = sizesOf(config)
    const pick = (names: object, make: (tensor: Tensor) => Tensor) =>
      Object.fromEntries(
        Object.keys(names).map((name) => [name, keep(make(factors[name] as Tensor))]),
      )
    this.config = config
    this.parameters = pick(method.trainable(sizes), parameter)
    this.buffers = pick(method.fixed(sizes), (tensor) => tensor.detach())
    this.task = task
    this.start = start
    this.allowsOtherBackbone = allowOtherBackbone
  }

  /** How many numbers are trained. */
  get trainableParameters(): number {
    return Object.values(this.parameters).reduce((sum, { numel }) => sum + numel, 0)
  }

  /** What it gives to a backbone's input, in the factors' dtype and on their device, with its graph. */
  contribution(): Contribution {
    const factors = { ...this.parameters, ...this.buffers }
    return tidy(() =>
      METHODS[this.config.method].contribution(factors, settingsOf(this.config)),
    )
  }

  /**
   * The soft prompt X [P, H], with its graph.
   *
   * @throws LoptError `ERR_UNSUPPORTED` for a method that puts no vectors among the tokens.
   */
  inputs(): Tensor {
    return tidy(() => {
      const { inputs } = this.contribution()
      if (inputs !== undefined) return inputs
      throw new LoptError(
        'ERR_UNSUPPORTED',
        `A prompt of the method ${this.config.method} has no vectors among the tokens`,
      )
    })
  }

  /** Frees its tensors; it cannot be used afterwards. */
  dispose(): void {
    for (const tensor of Object.values({ ...this.parameters, ...this.buffers })) {
      tensor.dispose()
    }
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** What `createPrompt` takes; each method has its defaults. */
export interface CreatePromptOptions {
  /** Default `lopt-1`. */
  method?: MethodName
  /** P, virtual tokens, default 20. */
  length?: number
  /**
   * R, default 4 (`dpt`: 10), of the methods that have one: in 1..min(P, H); `ulpt` in 1..H, `dept` in
   * 1..min(S, H).
   */
  rank?: number
  /** σ of `lopt-2`, default `relu`. */
  activation?: ActivationName
  /** Threshold of `soft-threshold`, default 0.1. */
  activationThreshold?: number
  /** Width of the network of `residual`, default 400. */
  bottleneck?: number
  /** S, tokens of a text that `dept` shifts, default 256 or what a text can have at most. */
  textTokens?: number
  /** α of `dept`, default 8: the shift is A B α/√R. */
  alpha?: number
  /** Default `prefix`. */
  placement?: Placement
  /**
   * `vocab` (default; `random` for `dpt` and `prefix`): embeddings of sampled common tokens; `random`; `labels`: the label words';
   * `text:…`: a text's; or the path of a prompt file. Repeated where shorter than P. A file of the same method and
   * shapes is taken as it is; `prefix` starts from such a file or at random.
   */
  init?: Init
  /** Words of the labels, for `init: 'labels'`. */
  labels?: readonly string[]
  /** Seed of every draw, default 0. */
  seed?: number
}

export const promptFields = z.strictObject({
  method: z.enum(METHOD_NAMES as [MethodName, ...MethodName[]]).default('lopt-1'),
  length: z.number().default(20),
  rank: z.number().optional(),
  activation: z.enum(ACTIVATION_NAMES).default('relu'),
  activationThreshold: z.number().default(0.1),
  bottleneck: z.number().optional(),
  textTokens: z.number().optional(),
  alpha: z.number().optional(),
  placement: z.enum(PLACEMENTS).default('prefix'),
  init: z.string().optional(),
  labels: z.array(z.string()).optional(),
  seed: z.number().default(0),
})

/**
 * Makes a prompt for a backbone: float32 factors on the backbone's device (float64 for a float64
 * backbone).
 *
 * @example
 * const prompt = createPrompt(backbone, { method: 'lopt-1', length: 20, rank: 4, seed: 0 })
 *
 * @throws TypeError or RangeError naming the option that is wrong; LoptError `ERR_PROMPT_FILE` for
 *   an init file, `ERR_UNSUPPORTED` for a placement that the tokenizer does not allow.
 */
export function createPrompt(
  backbone: Backbone,
  given: CreatePromptOptions = {},
): Prompt {
  checkMade({ backbone })
  const data = checkOptions(promptFields, given)
  const { method: name, length, labels, seed, placement } = data
  const method = METHODS[name]
  const init = data.init ?? method.defaults?.init ?? 'vocab'
  // A token of text and one of the label stand beside it.
  checkRange('length', length, 1, Math.min(backbone.maxPositions - 2, MAX_LENGTH))
  checkRange('seed', seed, 0, Number.MAX_SAFE_INTEGER)
  if (!(data.activationThreshold >= 0)) {
    throw new RangeError(
      `Expected activationThreshold to be 0 or more but received ${data.activationThreshold}`,
    )
  }
  checkPlacement(placement, name, backbone)

  const own = methodConfig(backbone, data)
  const config: PromptConfig = {
    method: name,
    length,
    rank: 0,
    hiddenSize: backbone.config.hiddenSize,
    placement,
    activation: data.activation,
    activationThreshold: data.activationThreshold,
    ...own,
    backbone: backbone.fingerprint,
  }
  // On `meta` embeddings have no values to start from; any start has the shapes.
  const isMeta = backbone.device === 'meta'
  if (method.uses.includes('rank')) {
    checkRange('rank', config.rank, 1, maxRank(name, sizesOf(config)))
  }
  return tidy(() => {
    const start = {
      ...settingsOf(config),
      get std() {
        return isMeta ? 1 : embeddingStd(backbone) // not every start asks
      },
      ...draws(seed),
    }
    const isRandom = init === 'random' || isMeta
    const factors = isRandom ? method.random(start) : givenFactors(init, config)
    const from = () => {
      if (method.from !== undefined) {
        return method.from(givenInputs(init, { backbone, length, seed, labels }), start)
      }
      throw new RangeError(
        `Expected init to be random, or a file of a ${name} prompt of these shapes, but received ` +
          `${init}: the method ${name} has no vectors among the tokens that could be given`,
      )
    }
    return new Prompt(config, placed(factors ?? from(), backbone), {
      start: {
        init: isPromptFile(init) ? resolve(init) : init,
        seed,
        ...(init === 'labels' && labels !== undefined ? { labels } : {}),
      },
    })
  })
}

/** What the method's own options give, and nothing of what it has no use for. */
function methodConfig(
  backbone: Backbone,
  given: z.infer<typeof promptFields>,
): Partial<PromptConfig> {
  const { method: name, length } = given
  const { uses, defaults } = METHODS[name]
  for (const option of ['bottleneck', 'textTokens', 'alpha'] as const) {
    if (given[option] === undefined || uses.includes(option)) continue
    throw new RangeError(`${option} has no meaning with the method ${name}`)
  }
  const used = <T>(option: MethodOption, value: () => T) =>
    uses.includes(option) ? { [option]: value() } : {}
  return {
    ...used('rank', () => given.rank ?? defaults?.rank ?? 4),
    ...used('bottleneck', () => {
      const width = given.bottleneck ?? 400
      checkRange('bottleneck', width, 1, MAX_LENGTH)
      return width
    }),
    ...used('textTokens', () => {
      const most = Math.min(backbone.maxPositions - length - 1, MAX_LENGTH)
      const tokens = given.textTokens ?? Math.min(256, most)
      checkRange('textTokens', tokens, 1, most)
      return tokens
    }),
    ...used('alpha', () => {
      const { alpha = 8 } = given
      if (alpha > 0 && Number.isFinite(alpha)) return alpha
      throw new RangeError(`Expected alpha to be above 0 but received ${alpha}`)
    }),
    ...(name === 'prefix' && keyValueShape(backbone)),
  }
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

/**
 * @throws LoptError `ERR_UNSUPPORTED` where the method cannot stand there, and for
 *   `after-first-token` where no token comes first.
 */
export function checkPlacement(
  placement: Placement,
  method: MethodName,
  backbone: Backbone,
): void {
  const only = METHODS[method].placements
  if (only && !only.allowed.includes(placement)) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `The method ${method} has no placement ${placement}: ${only.because}. Use ${only.allowed.join(', ')}`,
    )
  }
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
