// What the library knows of one kind of model: its configuration, its parameters' names and shapes,
// its module. Files, fresh models and saving are the same for all of them. Knows no model.

import type { ModuleSpec, Tensor } from '../torch/index.js'
import type { BackboneConfig, BackboneDType, Quantization } from './contract.js'

/** How a parameter starts in a fresh model. */
export type InitialValue =
  | { kind: 'normal'; std: number }
  | { kind: 'constant'; value: number }

export interface ParameterShape {
  /** As in the Hugging Face checkpoint, without its prefix. */
  name: string
  shape: readonly number[]
  initial: InitialValue
}

export interface Architecture<C extends BackboneConfig = BackboneConfig> {
  /** For messages: `GPT-2`. */
  readonly title: string
  /** config.json's `model_type`s. */
  readonly modelTypes: readonly string[]

  /**
   * Reads config.json's content.
   *
   * @param path names the file in errors
   * @throws LoptError `ERR_MODEL_FILE` naming the field that is wrong; `ERR_UNSUPPORTED` naming the
   *   one that asks for mathematics that is not here.
   */
  parseConfig(raw: Readonly<Record<string, unknown>>, path: string): C
  /** config.json's content, with what it had besides. */
  storedConfig(config: C): Record<string, unknown>
  /** What the fingerprint covers. Written out: prompts in the world carry it. */
  readonly fingerprintFields: readonly string[]

  /** Every parameter, in the order of the module. */
  parameters(config: C): ParameterShape[]
  /** The token embedding's name. */
  readonly tokenEmbedding: string
  /** The output matrix's name where it is separate. */
  readonly outputMatrix: string
  /** A parameter's name in a checkpoint that this library writes. */
  storedName(name: string): string
  /** The parameter that a stored tensor is, the token embedding for a copy of it; undefined: none. */
  plainName(stored: string): string | undefined
  /**
   * What to do when config.json ties the output matrix to the token embedding and the file holds
   * another: `refuse`, or take the file's `separate` one.
   */
  readonly otherOutputMatrix: 'refuse' | 'separate'
  /** What a parameter is kept in when the model computes in `dtype`. */
  parameterDType(name: string, dtype: BackboneDType): BackboneDType

  /** Whether a parameter is the weight of a layer's product, which may be kept in 8 bits. */
  isProduct(name: string): boolean
  /** How such a weight lies in the checkpoint. */
  readonly weightsLie: 'in-out' | 'out-in'

  /**
   * The module that meets docs/backbone-contract.md.
   *
   * @param quantization the weights of products are of 8 bits, with a `scale` beside each `weight` (int8.ts)
   */
  module(
    config: C,
    tensor: (name: string) => Tensor,
    quantization: Quantization | null,
  ): ModuleSpec
}
