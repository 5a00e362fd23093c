// Gradients: the mode that decides whether ops build a graph, leaves, and functions of gradients.

import { checkArray, checkFunction, checkNumber, checkObject } from './check.js'
import { binding, inContext } from './context.js'
import type { DType } from './dtype.js'
import {
  handleOf,
  handlesOf,
  isTensor,
  optionalHandleOf,
  type Tensor,
  wrap,
} from './tensor.js'

export { isGradEnabled } from './context.js'

/** Runs `fn`, sync or async, without building a graph. */
export function noGrad<R>(fn: () => R): R {
  return inContext({ gradEnabled: false }, checkFunction(fn))
}

/** Runs `fn`, sync or async, building a graph, also inside `noGrad`. */
export function enableGrad<R>(fn: () => R): R {
  return inContext({ gradEnabled: true }, checkFunction(fn))
}

/**
 * A new leaf on the elements of `tensor` that requires a gradient, as `nn.Parameter`.
 *
 * @throws RangeError for a dtype that is no float.
 */
export function parameter<D extends DType>(tensor: Tensor<D>): Tensor<D> {
  return wrap(binding().ops.asParameter(handleOf(tensor, 'tensor')))
}

/**
 * The gradients of `outputs`, summed, by each of `inputs`; nothing is accumulated.
 *
 * @example
 * const w = parameter(tensor([2, 3]))
 * const [slope] = await grad(w.square().sum(), w) // [4, 6]
 *
 * @param options.gradOutputs the gradient by each output; null for one that has one element
 * @param options.allowUnused null, not an error, for an input that no output was computed from
 * @throws RangeError for an input that was not used, or a graph that was freed.
 */
export async function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: {
    gradOutputs?: readonly (Tensor | null)[]
    retainGraph?: boolean
    createGraph?: boolean
    allowUnused?: boolean
  } = {},
): Promise<(Tensor | null)[]> {
  const {
    gradOutputs,
    createGraph = false,
    retainGraph = createGraph,
    allowUnused = false,
  } = checkObject(options)
  const seeds =
    gradOutputs &&
    checkArray(gradOutputs, 'gradOutputs').map((seed, i) =>
      optionalHandleOf(seed, `gradOutputs[${i}]`),
    )
  const gradients = await binding().gradients(
    handlesOf(isTensor(outputs) ? [outputs] : outputs, 'outputs'),
    handlesOf(isTensor(inputs) ? [inputs] : inputs, 'inputs'),
    seeds ?? null,
    retainGraph,
    createGraph,
    allowUnused,
  )
  return gradients.map((gradient) => (gradient === null ? null : wrap(gradient)))
}

/**
 * Scales the gradients of `parameters` so that their common L2 norm is at most `maxNorm`, and
 * gives the norm before: a single number, NaN or infinite if a gradient is.
 *
 * @param maxNorm above 0; Infinity only measures
 * @throws RangeError for another `maxNorm`, or when no parameter has a gradient.
 */
export async function clipGradNorm(
  parameters: readonly Tensor[],
  maxNorm: number,
): Promise<Tensor> {
  const handles = handlesOf(parameters, 'parameters')
  return wrap(await binding().clipGradNorm(handles, checkNumber(maxNorm, 'maxNorm')))
}
