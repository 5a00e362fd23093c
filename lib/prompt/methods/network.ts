// Linear layers as PyTorch starts them. Knows no prompt.

import type { Tensor } from '../../torch/index.js'
import type { Start } from './method.js'

/** `nn.Linear`'s start: weight [outputs, inputs] and bias from U(±1/√inputs). */
export function linearStart(
  inputs: number,
  outputs: number,
  { uniform }: Pick<Start, 'uniform'>,
): { weight: Tensor; bias: Tensor } {
  const bound = 1 / Math.sqrt(inputs)
  return { weight: uniform([outputs, inputs], bound), bias: uniform([outputs], bound) }
}
