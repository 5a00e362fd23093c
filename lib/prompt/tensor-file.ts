// What all files of learned tensors share: safetensors whose metadata are checked. Knows no tensor.

import { z } from 'zod'
import { LoptError } from '../errors.js'
import { openSafetensors, type SafetensorsFile } from '../torch/index.js'

/** @throws LoptError `ERR_PROMPT_FILE` for a damaged file; `ERR_IO` for one that cannot be read. */
export function openTensors(path: string): SafetensorsFile {
  try {
    return openSafetensors(path)
  } catch (cause) {
    if (!(cause instanceof LoptError) || cause.code !== 'ERR_MODEL_FILE') throw cause
    throw new LoptError('ERR_PROMPT_FILE', cause.message, { cause })
  }
}

/** JSON in a metadata string: to be piped into what it must be. */
export const jsonText = z.string().transform((text, context) => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    context.addIssue('expected JSON')
    return z.NEVER
  }
})
