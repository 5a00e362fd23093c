// What is known of a prompt besides its numbers: types only.

import type { ActivationName } from './activation.js'
import type { MethodName } from './methods/method.js'
import type { Placement } from './placement.js'

/** Everything about a prompt that is not a number it learns. */
export interface PromptConfig {
  readonly method: MethodName
  /** P */
  readonly length: number
  /** R; 0 for a method without a rank. */
  readonly rank: number
  /** H */
  readonly hiddenSize: number
  readonly placement: Placement
  /** σ, for methods that have one. */
  readonly activation: ActivationName
  /** Threshold of `soft-threshold`. */
  readonly activationThreshold: number
  /** Width of `residual`'s network. */
  readonly bottleneck?: number | undefined
  /** S: tokens of a text that `dept` shifts. */
  readonly textTokens?: number | undefined
  /** α of `dept`. */
  readonly alpha?: number | undefined
  /** Layers that `prefix` has keys and values for: L, a T5's decoder's. */
  readonly layers?: number | undefined
  /** Attention heads of each, for `prefix`. */
  readonly heads?: number | undefined
  /** Size of a head, for `prefix`. */
  readonly headSize?: number | undefined
  /** Fingerprint of the backbone it was made for; absent in files made elsewhere. */
  readonly backbone?: string | undefined
}

/** What a prompt was trained for: enough to use it again without its task. */
export interface PromptTask {
  readonly template: string
  /** Label → the words that stand for it, in the task's order. */
  readonly labels: Readonly<Record<string, string>>
  /** Where its rows were answered by texts: how. */
  readonly target?:
    | { readonly template?: string | undefined; readonly end: boolean }
    | undefined
  /** What it was trained by, where that is known. */
  readonly objective?: 'lm' | 'verbalizer' | undefined
  /** Tokens of text at most, where that is known. */
  readonly maxLength?: number | undefined
}

/** What a prompt's numbers were before training. */
export type PromptStart =
  | {
      /** As `createPrompt` takes it; a prompt file as an absolute path. */
      readonly init: string
      readonly seed: number
      /** The labels' words, where they are what it started from. */
      readonly labels?: readonly string[]
    }
  /** Loaded from this prompt file: an absolute path. */
  | { readonly file: string }
