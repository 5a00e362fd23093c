// Fresh backbones with random weights, for pretraining and tests. Knows no file.

import { checkInteger, kindOf } from '../torch/check.js'
import { binding } from '../torch/context.js'
import {
  full,
  Generator,
  noGrad,
  parseDevice,
  randn,
  ScriptModule,
  type Tensor,
  tidy,
} from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import { causalBackbone } from './causal.js'
import {
  type BackboneDType,
  type CausalBackbone,
  checkBackboneDType,
  type Tokenizer,
} from './contract.js'
import { checkGpt2Config, type Gpt2Config } from './gpt2/config.js'
import {
  gpt2Module,
  gpt2Parameters,
  type InitialValue,
  TOKEN_EMBEDDING,
} from './gpt2/gpt2.js'

export interface CreateBackboneOptions {
  /** The same seed gives the same weights on every device. An integer from 0. */
  seed: number
  tokenizer: Tokenizer
  /** Default: `cpu`. */
  device?: string | undefined
  /** Default: float32. */
  dtype?: BackboneDType | undefined
}

/**
 * A GPT-2 with fresh weights, frozen: `setTrainable` starts its training.
 *
 * @param config sizes in the library's own names; `vocabSize` is the tokenizer's unless given
 * @throws TypeError or RangeError naming the option that is wrong.
 */
export async function createBackbone(
  config: Gpt2Config,
  { seed, tokenizer, device = 'cpu', dtype = 'float32' }: CreateBackboneOptions,
): Promise<CausalBackbone> {
  if (typeof tokenizer?.vocabSize !== 'number') {
    throw new TypeError(
      `Expected tokenizer to be a Tokenizer but received ${kindOf(tokenizer)}`,
    )
  }
  checkInteger(seed, 'seed')
  const place = parseDevice(device)
  const kind = checkBackboneDType(dtype)
  const complete = checkGpt2Config({
    ...config,
    vocabSize: config.vocabSize ?? tokenizer.vocabSize,
  })
  if (tokenizer.vocabSize > complete.vocabSize) {
    throw new RangeError(
      `Expected config.vocabSize to be at least the tokenizer's ${tokenizer.vocabSize} but ` +
        `received ${complete.vocabSize}`,
    )
  }
  const generator = new Generator({ seed })
  return await tidy(async () => {
    const parameters = new Map<string, Tensor>()
    for (const { name, shape, initial } of gpt2Parameters(complete)) {
      // The draw is always float32 on the CPU, so that it is the same for every dtype and device.
      const drawn = noGrad(() => startValue(shape, initial, generator))
      parameters.set(
        name,
        wrap(await binding().jobs.to(handleOf(drawn), kind, place, false)),
      )
      drawn.dispose()
    }
    const module = await ScriptModule.compile(
      gpt2Module(complete, (name) => parameters.get(name) as Tensor),
    )
    return await causalBackbone({
      module,
      config: complete,
      tokenizer,
      parameters,
      tokenEmbedding: TOKEN_EMBEDDING,
      device: place,
      dtype: kind,
      source: 'created',
    })
  })
}

function startValue(
  shape: readonly number[],
  initial: InitialValue,
  generator: Generator,
): Tensor {
  if (initial.kind === 'constant') return full([...shape], initial.value)
  return tidy(() => randn([...shape], { generator }).mul(initial.std))
}
