// Weights of 8 bits: which of a model's are kept so, and what they become. Knows no file and no product.

import { LoptError } from '../errors.js'
import { binding } from '../torch/context.js'
import type { Tensor } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import type { Architecture } from './architecture.js'
import type { Backbone } from './contract.js'

/** The scales of a weight's rows. */
export function scaleName(weight: string): string {
  return weight.replace(/\.weight$/, '.scale')
}

/** Whether a weight is kept in 8 bits: those of products, which are most of a model. */
export function isKeptInInt8(architecture: Architecture, name: string): boolean {
  return architecture.isProduct(name) || name === architecture.outputMatrix
}

/**
 * A weight as int8 [out, in], symmetric around 0, with a float32 scale [out] for each output. The weight itself is left as
 * it is. A tied output matrix, of which the token embedding is the weight, becomes one of its own beside it.
 */
export async function inInt8(
  architecture: Architecture,
  name: string,
  weight: Tensor,
): Promise<[name: string, tensor: Tensor][]> {
  const isInOut = architecture.isProduct(name) && architecture.weightsLie === 'in-out'
  const { jobs } = binding()
  const rows = isInOut ? weight.transpose(0, 1) : weight
  const [quantized, scale] = (await jobs.quantizeRows(handleOf(rows))).map(wrap)
  return [
    [name, quantized as Tensor],
    [scaleName(name), scale as Tensor],
  ]
}

/** @throws LoptError `ERR_UNSUPPORTED` for a backbone of int8 weights, saying what cannot be done with it */
export function refuseInt8({ quantization, source }: Backbone, what: string): void {
  if (!quantization) return
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `${source} is open with weights of ${quantization}, which are for inference: open it with dtype float32 or ` +
      `bfloat16 to ${what}`,
  )
}
