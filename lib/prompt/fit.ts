// Whether a prompt can be used with a backbone. Knows no file and no number that is learned.

import type { Backbone } from '../backbone/index.js'
import { checkMade, LoptError } from '../errors.js'
import type { PromptConfig } from './config.js'
import type { Prompt } from './prompt.js'

/**
 * @param what names the prompt in the message
 * @throws LoptError `ERR_PROMPT_FILE` for a prompt whose sizes are not the backbone's, or that was made for another
 *   one, unless `allowOtherBackbone`.
 */
export function checkFit(
  what: string,
  config: PromptConfig,
  backbone: Backbone,
  allowOtherBackbone: boolean,
): void {
  const { source } = backbone
  const { hiddenSize } = backbone.config
  if (config.hiddenSize !== hiddenSize) {
    refuse(
      what,
      `is for a backbone of hidden size ${config.hiddenSize}; ${source} has ${hiddenSize}`,
    )
  }
  checkLength(what, config.length, backbone)
  if (config.method === 'prefix') checkKeyValues(what, config, backbone)
  checkTrainedOn(what, config.backbone, backbone, allowOtherBackbone)
}

/** @throws LoptError `ERR_PROMPT_FILE` for a prompt beside which no text and label would have a position. */
export function checkLength(what: string, length: number, backbone: Backbone): void {
  const { source, maxPositions } = backbone
  if (length <= maxPositions - 2) return
  refuse(
    what,
    `holds ${length} virtual tokens; ${source} has only ${maxPositions} positions`,
  )
}

function checkKeyValues(
  what: string,
  { layers, heads, headSize }: PromptConfig,
  backbone: Backbone,
): void {
  const wanted = keyValueShape(backbone)
  const isSame =
    layers === wanted.layers && heads === wanted.heads && headSize === wanted.headSize
  if (isSame) return
  refuse(
    what,
    `has keys and values for ${layers} layers of ${heads} heads of ${headSize}; ` +
      `${backbone.source} has ${wanted.layers} layers of ${wanted.heads} heads of ${wanted.headSize}`,
  )
}

/**
 * @param found the fingerprint of the backbone that the prompt was made for, where that is known
 * @throws LoptError `ERR_PROMPT_FILE` for another backbone's, unless `allowOtherBackbone`.
 */
export function checkTrainedOn(
  what: string,
  found: string | undefined,
  { source, fingerprint }: Backbone,
  allowOtherBackbone: boolean,
): void {
  if (found === undefined || found === fingerprint || allowOtherBackbone) return
  refuse(
    what,
    `was trained on the backbone ${found}, but ${source} is ${fingerprint}: ` +
      'load it with allowOtherBackbone if that is wanted',
  )
}

function refuse(what: string, why: string): never {
  throw new LoptError('ERR_PROMPT_FILE', `${what} ${why}`)
}

/**
 * Checks a prompt that is to be run with a backbone.
 *
 * @param what names it in messages
 * @throws TypeError for anything but a prompt; RangeError for one on another device; LoptError `ERR_PROMPT_FILE` as
 *   `checkFit`.
 */
export function checkPrompt(prompt: Prompt, backbone: Backbone, what?: string): void {
  checkMade({ prompt }, what)
  checkFit(what ?? 'The prompt', prompt.config, backbone, prompt.allowsOtherBackbone)
  for (const { device } of Object.values({ ...prompt.parameters, ...prompt.buffers })) {
    if (device === backbone.device) continue
    throw new RangeError(
      `Expected ${what ?? 'prompt'} on ${backbone.device}, where the backbone is, but received ${device}`,
    )
  }
}

/**
 * Checks prompts that are run together.
 *
 * @throws TypeError or RangeError unless they are a list of different prompts; LoptError `ERR_PROMPT_FILE` as `checkFit`.
 */
export function checkPrompts(prompts: readonly Prompt[], backbone: Backbone): void {
  if (!Array.isArray(prompts)) {
    throw new TypeError(
      `Expected prompts to be a list of prompts but received ${typeof prompts}`,
    )
  }
  if (prompts.length === 0)
    throw new RangeError('Expected one prompt at least in prompts')
  for (const [i, prompt] of prompts.entries()) {
    checkPrompt(prompt, backbone, `prompts[${i}]`)
    const first = prompts.indexOf(prompt)
    if (first === i) continue
    throw new RangeError(
      `Expected each prompt once in prompts, but prompts[${i}] is prompts[${first}]`,
    )
  }
}

/** The keys and values that a backbone's layers take: a decoder's, where there is one. */
export function keyValueShape({
  kind,
  config,
}: Backbone): Required<Pick<PromptConfig, 'layers' | 'heads' | 'headSize'>> {
  const { heads } = config
  return kind === 'causal'
    ? { layers: config.layers, heads, headSize: config.hiddenSize / heads }
    : { layers: config.decoderLayers, heads, headSize: config.headSize }
}
