// What the passes of both kinds of models have in common: where rows stand, and which positions are asked for.
// Knows no backbone's way of running.

import { cat, type Tensor } from '../torch/index.js'
import type { BatchOptions } from './batch.js'
import type { Inputs } from './inputs.js'
import type { PromptLayout, PromptSet } from './prompt-set.js'

/** What is asked of rows that are tensors already: it waits for their prompts, and may be computed again and again. */
export type Waiting<T> = (set: PromptSet) => Promise<T>

/** Rows as tensors. */
export interface PlacedRows {
  /** int64 [M]: the label tokens, row by row; maybe padded. */
  readonly targets: Tensor
  /** [M, H]: last-layer outputs where they are predicted. */
  readonly hidden: Waiting<Tensor>
}

export function batchOptions(
  layouts: readonly PromptLayout[],
  inputs: Inputs,
  isPadded?: boolean,
): BatchOptions {
  return { places: layouts.map(({ place }) => place), inputs, isPadded }
}

/** Rows of several [.., H], one after the other: [M, H]. */
export function picked(hidden: readonly Tensor[], asked: Tensor): Tensor {
  const flat = hidden.map((one) => one.reshape([-1, one.shape.at(-1) as number]))
  return (flat.length === 1 ? (flat[0] as Tensor) : cat(flat, 0)).indexSelect(0, asked)
}
