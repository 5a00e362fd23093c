// Prompts to and from files, checked against the backbone that they are to be used with.

import { resolve } from 'node:path'
import type { Backbone } from '../backbone/index.js'
import { checkMade } from '../errors.js'
import { tidy } from '../torch/index.js'
import { checkFit } from './fit.js'
import { checkPlacement, Prompt, placed } from './prompt.js'
import { readPromptFile, writePromptFile } from './prompt-file.js'

/** What `loadPrompt` takes. */
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
 * @example
 * const prompt = loadPrompt('topics.lopt.safetensors', backbone)
 * const [first] = await score({ backbone, prompt, texts: ['a large dog'] })
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
    checkFit(path, config, backbone, allowOtherBackbone)
    checkPlacement(config.placement, config.method, backbone)
    if (config.backbone === undefined) {
      process.emitWarning(
        `${path} does not say which backbone it was trained on; it is used with ${backbone.source}`,
        'LoptWarning',
      )
    }
    const start = { file: resolve(path) }
    return new Prompt(config, placed(factors, backbone), {
      task,
      start,
      allowOtherBackbone,
    })
  })
}
