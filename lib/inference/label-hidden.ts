// What the passes of both kinds of models have in common: where rows stand, and which positions are asked for.
// Knows no backbone's way of running.

import type { Backbone } from '../backbone/index.js'
import { cat, type Tensor } from '../torch/index.js'
import type { BatchOptions } from './batch.js'
import type { PromptSet } from './prompt-set.js'

/** What a pass gives. */
export interface LabelHidden {
  /** [M, H]: last-layer outputs where label tokens are predicted, row by row. */
  readonly hidden: Tensor
  /** int64 [M]: those tokens. */
  readonly targets: Tensor
}

export function batchOptions({ device }: Backbone, { layouts }: PromptSet): BatchOptions {
  return { places: layouts.map(({ place }) => place), device }
}

/** Rows of several [.., H], one after the other: [M, H]. */
export function picked(hidden: readonly Tensor[], asked: Tensor): Tensor {
  const flat = hidden.map((one) => one.reshape([-1, one.shape.at(-1) as number]))
  return (flat.length === 1 ? (flat[0] as Tensor) : cat(flat, 0)).indexSelect(0, asked)
}
