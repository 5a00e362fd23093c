// config.json of any kind of model. Knows no model and no file.

import { LoptError } from '../errors.js'
import { findArchitecture, MODEL_TYPES } from './architectures.js'
import type { BackboneConfig } from './contract.js'

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
