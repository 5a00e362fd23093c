// Fresh backbones with random weights, for pretraining and tests. Knows no file.

import { checkObject } from '../errors.js'
import { checkInteger, kindOf } from '../torch/check.js'
import {
  full,
  Generator,
  noGrad,
  parseDevice,
  randn,
  type Tensor,
  tidy,
} from '../torch/index.js'
import type { InitialValue } from './architecture.js'
import { architectureOf } from './architectures.js'
import { compileBackbone } from './compile.js'
import {
  type Backbone,
  type BackboneConfig,
  type BackboneDType,
  type CausalBackbone,
  checkBackboneDType,
  type EncoderDecoderBackbone,
  type Tokenizer,
} from './contract.js'
import { checkGpt2Config, type Gpt2Config } from './gpt2/config.js'
import { moved } from './on-device.js'
import { fingerprintInMemory } from './scripted.js'
import { endTokenIds } from './special-tokens.js'
import { checkT5Config, type T5Config } from './t5/config.js'
import { rowsNeeded } from './vocabulary.js'

/** What `createBackbone` takes. */
export interface CreateBackboneOptions {
  /** The same seed gives the same weights on every device. An integer from 0. */
  seed: number
  tokenizer: Tokenizer
  /** Default: `cpu`. On `meta` the model has shapes and no weights. */
  device?: string | undefined
  /** Default: float32. */
  dtype?: BackboneDType | undefined
}

/**
 * A GPT-2, or with `modelType` `t5` or `mt5` a T5, with fresh weights, frozen: `setTrainable` starts
 * its training.
 *
 * @param config sizes in the library's own names; `vocabSize` is the tokenizer's unless given, all its
 *   added tokens included
 * @throws TypeError or RangeError naming the option that is wrong.
 */
export function createBackbone(
  config: Gpt2Config,
  options: CreateBackboneOptions,
): Promise<CausalBackbone>
export function createBackbone(
  config: T5Config,
  options: CreateBackboneOptions,
): Promise<EncoderDecoderBackbone>
export async function createBackbone(
  config: Gpt2Config | T5Config,
  options: CreateBackboneOptions,
): Promise<Backbone> {
  checkObject(config, 'config')
  checkObject(options, 'options')
  const { seed, tokenizer, device = 'cpu', dtype = 'float32' } = options
  if (typeof tokenizer?.vocabSize !== 'number') {
    throw new TypeError(
      `Expected tokenizer to be a Tokenizer but received ${kindOf(tokenizer)}`,
    )
  }
  checkInteger(seed, 'seed')
  const place = parseDevice(device)
  const kind = checkBackboneDType(dtype)
  const complete = checkConfig(config, tokenizer.vocabSize)
  if (rowsNeeded(tokenizer) > complete.vocabSize) {
    throw new RangeError(
      `Expected config.vocabSize to be at least the tokenizer's ${rowsNeeded(tokenizer)} but ` +
        `received ${complete.vocabSize}`,
    )
  }
  const { vocabSize, raw } = complete
  const ends = endTokenIds(tokenizer, vocabSize, { 'config.raw': raw }, (message) => {
    throw new TypeError(message)
  })
  const generator = new Generator({ seed })
  return await tidy(async () => {
    const parameters = new Map<string, Tensor>()
    const architecture = architectureOf(complete)
    let print = ''
    for (const { name, shape, initial } of architecture.parameters(complete)) {
      // The draw is always float32 on the CPU, so that it is the same for every dtype and device.
      const drawn = noGrad(() => startValue(shape, initial, generator))
      const own = architecture.parameterDType(name, kind)
      // Before it moves: from `meta` no row could be read back.
      if (name === architecture.tokenEmbedding)
        print = await fingerprintInMemory(complete, drawn, own)
      parameters.set(name, await moved(drawn, { device: place, dtype: own }))
      drawn.dispose()
    }
    return await compileBackbone({
      config: complete,
      tokenizer,
      endTokenIds: ends,
      parameters,
      device: place,
      dtype: kind,
      quantization: null,
      fingerprint: print,
      source: 'created',
    })
  })
}

function checkConfig(config: Gpt2Config | T5Config, vocabSize: number): BackboneConfig {
  const sized = <C extends Gpt2Config | T5Config>(given: C) => ({
    ...given,
    vocabSize: given.vocabSize ?? vocabSize,
  })
  return isT5(config) ? checkT5Config(sized(config)) : checkGpt2Config(sized(config))
}

function isT5(config: Gpt2Config | T5Config): config is T5Config {
  return config.modelType === 't5' || config.modelType === 'mt5'
}

function startValue(
  shape: readonly number[],
  initial: InitialValue,
  generator: Generator,
): Tensor {
  if (initial.kind === 'constant') return full([...shape], initial.value)
  return tidy(() => randn([...shape], { generator }).mul(initial.std))
}
