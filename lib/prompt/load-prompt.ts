// Prompts to and from files, checked against the backbone that they are to be used with.

import { resolve } from 'node:path'
import type { Backbone } from '../backbone/index.js'
import { checkMade, LoptError } from '../errors.js'
import { tidy } from '../torch/index.js'
import type { PromptConfig } from './config.js'
import { checkPlacement, keyValueShape, Prompt, placed } from './prompt.js'
import { readPromptFile, writePromptFile } from './prompt-file.js'

export interface LoadPromptOptions {
  /** Take a prompt that was trained on another backbone of the same hidden size. */
  allowOtherBackbone?: boolean
}

/**
 * Saves a prompt as one small safetensors file, atomically; its factors as float32.
 *
 * @throws LoptError `ERR_IO` when the file cannot be written.
 */
export async function savePrompt(path: string, prompt: Prompt): Promise<void> {
  checkMade({ prompt })
  await writePromptFile(path, {
    config: prompt.config,
    factors: { ...prompt.parameters, ...prompt.buffers },
    task: prompt.task,
  })
}

/**
 * Loads a prompt for a backbone, onto its device.
 *
 * @throws LoptError `ERR_PROMPT_FILE` for a damaged file, and for a prompt of another backbone.
 */
export function loadPrompt(
  path: string,
  backbone: Backbone,
  { allowOtherBackbone = false }: LoadPromptOptions = {},
): Prompt {
  checkMade({ backbone })
  return tidy(() => {
    const { config, factors, task } = readPromptFile(path)
    const { maxPositions } = backbone
    const { hiddenSize } = backbone.config
    if (config.hiddenSize !== hiddenSize) {
      throw new LoptError(
        'ERR_PROMPT_FILE',
        `${path} is for a backbone of hidden size ${config.hiddenSize}; ${backbone.source} has ${hiddenSize}`,
      )
    }
    if (config.length > maxPositions - 2) {
      throw new LoptError(
        'ERR_PROMPT_FILE',
        `${path} holds ${config.length} virtual tokens; ${backbone.source} has only ${maxPositions} positions`,
      )
    }
    checkPlacement(config.placement, config.method, backbone)
    checkKeyValues(path, config, backbone)
    if (config.backbone === undefined) {
      process.emitWarning(
        `${path} does not say which backbone it was trained on; it is used with ${backbone.source}`,
        'LoptWarning',
      )
    } else if (config.backbone !== backbone.fingerprint && !allowOtherBackbone) {
      throw new LoptError(
        'ERR_PROMPT_FILE',
        `${path} was trained on the backbone ${config.backbone}, but ${backbone.source} is ` +
          `${backbone.fingerprint}: give allowOtherBackbone if that is wanted`,
      )
    }
    const start = { file: resolve(path) }
    return new Prompt(config, placed(factors, backbone), { task, start })
  })
}

/** @throws LoptError `ERR_PROMPT_FILE` for keys and values that the backbone's layers do not take. */
function checkKeyValues(path: string, config: PromptConfig, backbone: Backbone): void {
  if (config.method !== 'prefix') return
  const wanted = keyValueShape(backbone)
  const { layers, heads, headSize } = config
  if (
    layers === wanted.layers &&
    heads === wanted.heads &&
    headSize === wanted.headSize
  ) {
    return
  }
  throw new LoptError(
    'ERR_PROMPT_FILE',
    `${path} has keys and values for ${layers} layers of ${heads} heads of ${headSize}; ` +
      `${backbone.source} has ${wanted.layers} layers of ${wanted.heads} heads of ${wanted.headSize}`,
  )
}
