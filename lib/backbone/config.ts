// config.json of any kind of model, and whether a tokenizer goes with it. Knows no model and no file.

import { LoptError } from '../errors.js'
import { findArchitecture, MODEL_TYPES } from './architectures.js'
import type { BackboneConfig, Tokenizer } from './contract.js'

/**
 * Reads config.json's content.
 *
 * @param path names the file in errors
 * @throws LoptError `ERR_MODEL_FILE` naming the field that is wrong; `ERR_UNSUPPORTED` for a model that
 *   is not here, or naming the field that asks for mathematics that is not.
 */
export function parseConfig(
  raw: Readonly<Record<string, unknown>>,
  path: string,
): BackboneConfig {
  const modelType = raw.model_type
  if (typeof modelType !== 'string') {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: model_type: expected a name such as "gpt2"`,
    )
  }
  const architecture = findArchitecture(modelType)
  if (architecture === undefined) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path}: model_type: ${modelType} is not supported; this version has ${MODEL_TYPES.join(', ')}`,
    )
  }
  return architecture.parseConfig(raw, path)
}

/** @throws LoptError `ERR_MODEL_FILE` when a tokenizer has ids that the model has no row for. */
export function checkVocabulary(
  tokenizer: Tokenizer,
  config: BackboneConfig,
  where: string,
): void {
  if (tokenizer.vocabSize <= config.vocabSize) return
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${where}: the tokenizer has ids up to ${tokenizer.vocabSize - 1}, but the model's vocab_size ` +
      `is ${config.vocabSize}: they do not belong together`,
  )
}
