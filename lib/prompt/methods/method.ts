// What a method of parametrising a soft prompt is. Knows no placement, no backbone, no file.

import type { Tensor } from '../../torch/index.js'
import type { Activation } from '../activation.js'

export type MethodName = 'lopt-1' | 'lopt-2' | 'full'

/** P virtual tokens, hidden size H, rank R (0 for a method without one). */
export interface PromptSizes {
  readonly P: number
  readonly H: number
  readonly R: number
}

/** A prompt's tensors by name: `U`, `V`, `X0`, `X`. */
export type Factors<Name extends string = string> = Readonly<Record<Name, Tensor>>

/** What a start is made from. All tensors are float64 on the CPU. */
export interface Start {
  readonly sizes: PromptSizes
  readonly activation: Activation
  /** Standard deviation of the backbone's token embeddings: what X is brought to. */
  readonly std: number
  /** Draws a tensor from N(0, std²). */
  normal(shape: readonly number[], std: number): Tensor
}

/** `Name`: the tensors that the method is made of. */
export interface Method<Name extends string = string> {
  readonly name: MethodName
  readonly usesRank: boolean
  /** Shapes of the tensors that are trained. */
  trainable(sizes: PromptSizes): Readonly<Record<string, readonly number[]>>
  /** Shapes of the tensors that stay as they were at the start. */
  fixed(sizes: PromptSizes): Readonly<Record<string, readonly number[]>>
  /** The soft prompt X [P, H]. */
  inputs(factors: Factors<Name>, activation: Activation): Tensor
  /** Factors of a random start. */
  random(start: Start): Factors<Name>
  /** Factors that give X [P, H], or the nearest that the method can. */
  from(X: Tensor, start: Start): Factors<Name>
}
