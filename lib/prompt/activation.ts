// σ of LoPT-2. The paper calls it a non-linear thresholding operation and names none: it is an
// option. Knows no prompt.

import type { Tensor } from '../torch/index.js'

export const ACTIVATION_NAMES = [
  'relu',
  'soft-threshold',
  'tanh',
  'gelu',
  'identity',
] as const

/** The function σ of LoPT-2. */
export type ActivationName = (typeof ACTIVATION_NAMES)[number]

/** An elementwise function. */
export type Activation = (x: Tensor) => Tensor

/**
 * `relu` max(x, 0); `soft-threshold` sign(x) max(|x| - threshold, 0); `tanh`; `gelu` in its exact
 * form, by erf; `identity`.
 */
export function activationOf(name: ActivationName, threshold: number): Activation {
  switch (name) {
    case 'relu':
      return (x) => x.relu()
    case 'soft-threshold':
      return (x) => x.softshrink(threshold)
    case 'tanh':
      return (x) => x.tanh()
    case 'gelu':
      return (x) => x.gelu()
    case 'identity':
      return (x) => x
  }
}
