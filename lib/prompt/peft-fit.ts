// Whether a PEFT adapter's configuration goes with a backbone. Knows no tensor.

import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { checkLength, keyValueShape } from './fit.js'
import { type AdapterConfig, TASK_TYPES } from './peft-config.js'
import { pairsFor } from './peft-weights.js'

/**
 * @param path names the configuration's file in errors
 * @throws LoptError `ERR_UNSUPPORTED` for an adapter that is more than a prompt, or whose prefix PEFT
 *   applies otherwise; `ERR_PROMPT_FILE` for one of a backbone of another kind or other sizes.
 */
export function checkAdapter(
  path: string,
  config: AdapterConfig,
  backbone: Backbone,
  allowOtherBackbone: boolean,
): void {
  checkKind(path, config, backbone)
  const { num_virtual_tokens: length, peft_type: type } = config
  checkLength(path, length, backbone)
  const check = type === 'PREFIX_TUNING' ? checkPrefix : checkVectors
  check(path, config, backbone, allowOtherBackbone)
}

function checkKind(
  path: string,
  config: AdapterConfig,
  { kind, source }: Backbone,
): void {
  const { task_type: task, num_transformer_submodules: parts, modules_to_save } = config
  const refuse = (what: string): never => {
    throw new LoptError('ERR_UNSUPPORTED', `${path}: ${what}`)
  }
  if (modules_to_save?.length) {
    refuse(
      `modules_to_save: ${modules_to_save.join(', ')} were trained beside the prompt`,
    )
  }
  const types: readonly string[] = Object.values(TASK_TYPES)
  if (task && !types.includes(task)) {
    refuse(`task_type ${task} puts a head on the model; ${types.join(' and ')} are read`)
  }
  if (task && task !== TASK_TYPES[kind]) {
    throw new LoptError(
      'ERR_PROMPT_FILE',
      `${path}: task_type ${task}, but ${source} is of the kind ${kind}`,
    )
  }
  const most = kind === 'causal' ? 1 : 2
  if ((parts ?? 1) > most) {
    refuse(
      `num_transformer_submodules: Expected 1..${most} for a backbone of the kind ${kind} but received ${parts}`,
    )
  }
}

function checkVectors(
  path: string,
  config: AdapterConfig,
  { source, config: { hiddenSize, layers, heads } }: Backbone,
  allowOtherBackbone: boolean,
): void {
  const refuse = (what: string): never => {
    throw new LoptError('ERR_PROMPT_FILE', `${path}: ${what}`)
  }
  if (config.token_dim !== hiddenSize) {
    refuse(
      `token_dim is ${config.token_dim}; ${source} has a hidden size of ${hiddenSize}`,
    )
  }
  // These change nothing of a prompt, but tell another model.
  const alike = [
    ['num_layers', config.num_layers, layers],
    ['num_attention_heads', config.num_attention_heads, heads],
  ] as const
  for (const [name, found, wanted] of alike) {
    if (found == null || found === wanted || allowOtherBackbone) continue
    refuse(
      `${name} is ${found}, but ${source} has ${wanted}: give allowOtherBackbone if that is wanted`,
    )
  }
}

function checkPrefix(
  path: string,
  config: AdapterConfig,
  backbone: Backbone,
  allowOtherBackbone: boolean,
): void {
  const { kind, source } = backbone
  const { layers, heads, headSize } = keyValueShape(backbone)
  const refuse = (what: string): never => {
    throw new LoptError('ERR_PROMPT_FILE', `${path}: ${what}`)
  }
  if (kind === 'encoder-decoder' && config.num_transformer_submodules === 1) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path}: num_transformer_submodules is 1: PEFT then lets the decoder's attention to the encoder ` +
        'look at the prefix and the decoded tokens too, which no prompt here does. With 2, the ' +
        'default, it does not',
    )
  }
  if (config.token_dim !== heads * headSize) {
    refuse(
      `token_dim is ${config.token_dim}; keys and values of ${source} have ${heads} heads of ` +
        `${headSize} numbers, ${heads * headSize}`,
    )
  }
  const { num_attention_heads: foundHeads } = config
  if (foundHeads != null && foundHeads !== heads) {
    refuse(`num_attention_heads is ${foundHeads}, but ${source} has ${heads}`)
  }
  const N = prefixPairs(config, backbone)
  if (N < layers) {
    refuse(`num_layers is ${N}, but ${layers} layers of ${source} take keys and values`)
  }
  const known = [backbone.config.layers, pairsFor(backbone)]
  if (known.includes(N) || allowOtherBackbone) return
  refuse(
    `num_layers is ${N}, but ${source} has ${known[0]}: give allowOtherBackbone if that is wanted`,
  )
}

/** N: how many pairs of a key and a value a prefix holds; PEFT's default are the encoder's layers. */
export function prefixPairs({ num_layers }: AdapterConfig, backbone: Backbone): number {
  return num_layers ?? backbone.config.layers
}
