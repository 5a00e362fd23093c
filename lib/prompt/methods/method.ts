// What a method of shaping a backbone's input is. Knows no placement, no backbone, no file.

import type { Tensor } from '../../torch/index.js'
import type { Activation } from '../activation.js'
import type { Placement } from '../placement.js'

/** How a prompt is made of its trainable numbers. */
export type MethodName =
  | 'lopt-1'
  | 'lopt-2'
  | 'full'
  | 'dpt'
  | 'ulpt'
  | 'residual'
  | 'p-tuning'
  | 'dept'
  | 'prefix'

/** Options of `createPrompt` that have a meaning with some methods only. */
export type MethodOption =
  | 'rank'
  | 'activation'
  | 'activationThreshold'
  | 'bottleneck'
  | 'textTokens'
  | 'alpha'

/** The numbers that a method's shapes are made of; 0 where it has no use for one. */
export interface PromptSizes {
  /** Virtual tokens. */
  readonly P: number
  /** Hidden size. */
  readonly H: number
  /** Rank. */
  readonly R: number
  /** Width of a bottleneck. */
  readonly M: number
  /** Tokens of text that are shifted. */
  readonly S: number
  /** Layers that take keys and values: the decoder's, where there is one. */
  readonly L: number
  /** Attention heads of each. */
  readonly heads: number
  /** Size of a head. */
  readonly D: number
}

/** A prompt's tensors by name: `U`, `V`, `X0`, `X`. */
export type Factors<Name extends string = string> = Readonly<Record<Name, Tensor>>

/** What a prompt gives to a backbone's input; what a method does not give is absent. */
export interface Contribution {
  /** `[P, H]`: vectors that stand among the tokens' embeddings. */
  readonly inputs?: Tensor
  /** `[S, H]`: added to the embeddings of each text's first S tokens. */
  readonly embeddingDelta?: Tensor
  /** k and v a layer, each [1, heads, P, D]: keys and values that stand before all others. */
  readonly past?: readonly Tensor[]
}

/** What a method's equation needs besides its factors. */
export interface Settings {
  readonly sizes: PromptSizes
  /** σ */
  readonly activation: Activation
  /** α */
  readonly alpha: number
}

/** What a start is made from. All tensors are float64 on the CPU. */
export interface Start extends Settings {
  /** Standard deviation of the backbone's token embeddings: what X is brought to. */
  readonly std: number
  /** Draws a tensor from N(0, std²). */
  normal(shape: readonly number[], std: number): Tensor
  /** Draws a tensor evenly from -bound..bound. */
  uniform(shape: readonly number[], bound: number): Tensor
}

/** `Name`: the tensors that the method is made of. */
export interface Method<Name extends string = string> {
  readonly name: MethodName
  readonly uses: readonly MethodOption[]
  /** Where it can stand; absent: everywhere. */
  readonly placements?: {
    readonly allowed: readonly Placement[]
    /** Why nowhere else. */
    readonly because: string
  }
  /** What `createPrompt` takes where the caller says nothing, if not what other methods do. */
  readonly defaults?: { readonly rank?: number; readonly init?: string }
  /** The highest R; absent: min(P, H). */
  maxRank?(sizes: PromptSizes): number
  /** Shapes of the tensors that are trained. */
  trainable(sizes: PromptSizes): Readonly<Record<string, readonly number[]>>
  /** Shapes of the tensors that stay as they were at the start. */
  fixed(sizes: PromptSizes): Readonly<Record<string, readonly number[]>>
  contribution(factors: Factors<Name>, settings: Settings): Contribution
  /** Factors of a random start. */
  random(start: Start): Factors<Name>
  /** Factors that give X [P, H], or the nearest that the method can; absent: it has no X. */
  from?(X: Tensor, start: Start): Factors<Name>
}
