// What the rest of the library knows of a backbone and its tokenizer: types and shapes only.
// docs/backbone-contract.md describes the TorchScript module behind them.

import type { DType, Tensor } from '../torch/index.js'

/**
 * Text to token ids and back. Ids are plain numbers. The methods answer at once, on the calling
 * thread; `tokenize` is for much text.
 */
export interface Tokenizer {
  /** Ids are below this: the largest id plus one. */
  readonly vocabSize: number
  /** Ids of a text, without special tokens of the tokenizer's own; `[]` for an empty text. */
  encode(text: string): number[]
  /** `encode` of each text, on several cores. */
  encodeBatch(texts: readonly string[]): number[][]
  /** As `encodeBatch`, off the event loop. */
  tokenize(texts: readonly string[]): Promise<number[][]>
  /** The text of token ids. Special tokens are left out unless `skipSpecialTokens` is false. */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string
  /** Ends a text. */
  readonly eosTokenId?: number
  readonly bosTokenId?: number
  readonly padTokenId?: number
  /** A token that the tokenizer itself would put first (`encode` does not), as BERT's does. */
  readonly firstTokenId?: number
  /** File name to text: what `saveBackbone` writes so that the tokenizer can be read again. */
  readonly files: Readonly<Record<string, string>>
}

/** What a backbone is, in the library's own names; `raw` is config.json as it was read. */
export interface BackboneConfig {
  readonly modelType: 'gpt2'
  /** N: rows of the token embedding. */
  readonly vocabSize: number
  /** H */
  readonly hiddenSize: number
  /** L */
  readonly layers: number
  /** Attention heads; they divide H. */
  readonly heads: number
  /** Rows of the position embedding: the longest sequence. */
  readonly positions: number
  /** Width of a block's MLP. */
  readonly innerSize: number
  /** Name of the MLP's activation, as transformers spells it. */
  readonly activation: string
  readonly layerNormEpsilon: number
  /** Attention scores are divided by the square root of a head's size. */
  readonly scaleAttention: boolean
  /** Scores of layer i, counted from 0, are divided by i + 1 as well. */
  readonly scaleByLayer: boolean
  /** The output matrix is the token embedding. */
  readonly tiedHead: boolean
  /** Standard deviation of fresh weights. */
  readonly initializerRange: number
  readonly raw: Readonly<Record<string, unknown>>
}

/** Element types that a backbone can compute in. */
export type BackboneDType = 'float64' | 'float32' | 'float16' | 'bfloat16'

export interface RunOptions {
  /** [B, Q, H], the backbone's dtype: embeddings when `first` is 0, else a layer's output. */
  x: Tensor
  /** int64 [B, Q]: each row's place in its sequence, in 0..positions - 1. Used by layer 0. */
  positions: Tensor
  /**
   * bool [B, S] with S = S_past + Q: true where a key may be attended to, besides causality. A
   * query always sees itself, so that a padding query gives finite values. Leave it out when
   * nothing is hidden: that is faster, and right-padded causal rows need none.
   */
  mask?: Tensor | undefined
  /**
   * Keys and values of earlier positions, k, v of layer `first`, k, v of the next…: each
   * [B or 1, heads, S_past, H / heads]. Batch 1 is shared by all rows; gradients sum over them.
   */
  past?: readonly Tensor[] | undefined
  /** First layer to run, 0 by default. */
  first?: number | undefined
  /** Layer to stop before, L by default. */
  last?: number | undefined
  /**
   * int64 [B, K], indices into Q: the positions whose output is wanted. The last layer then
   * computes only their queries and MLP. Needs `last` to be L.
   */
  queries?: Tensor | undefined
}

export interface RunResult {
  /** [B, Q, H], or [B, K, H] with `queries`. After the final norm when `last` is L. */
  hidden: Tensor
  /** Keys and values of the layers run, the past's included: the next call's `past`. */
  present: Tensor[]
}

/**
 * A frozen causal language model. Its methods are jobs: they run in the order of the calls, off the
 * event loop, in the caller's grad mode. Symbols: B batch, Q positions run now, S positions seen,
 * H hidden size, N vocabulary, L layers.
 */
export interface CausalBackbone {
  readonly kind: 'causal'
  readonly config: BackboneConfig
  readonly tokenizer: Tokenizer
  /** Where it computes, such as `cpu` or `cuda:0`. */
  readonly device: string
  /** What it computes in. */
  readonly dtype: BackboneDType
  /**
   * SHA-256 (hex) of the architecture and 64 rows of the token embedding as stored in the file.
   * After the token embedding was trained and frozen again it is that of the weights in memory.
   */
  readonly fingerprint: string
  /** Where it came from: a folder, `builtin:NAME`, or `created`. */
  readonly source: string
  /** [N, H]: the module's own parameter, not a copy. */
  readonly tokenEmbedding: Tensor

  /**
   * Token embeddings, without positions.
   *
   * @param ids int64 [B, T], each below N
   * @returns [B, T, H]
   * @throws TypeError or RangeError for another dtype, shape or device; LoptError `ERR_TORCH` for
   *   an id outside the vocabulary.
   */
  embed(ids: Tensor): Promise<Tensor>

  /**
   * Runs layers `first`..`last - 1`. Layer 0 adds the position embeddings, layer L - 1 is followed
   * by the final norm.
   *
   * @throws TypeError or RangeError for dtypes, shapes, devices or layers that do not fit, and, on
   *   a CPU, for positions that the model does not have. (On another device reading them back would
   *   stall it: keep them in 0..positions - 1 yourself.)
   */
  run(options: RunOptions): Promise<RunResult>

  /**
   * Logits.
   *
   * @param h [M, H] from `run` up to the last layer
   * @param rows int64 [V]: only these rows of the output matrix
   * @returns [M, N], or [M, V] with `rows`
   */
  head(h: Tensor, rows?: Tensor): Promise<Tensor>

  /** By checkpoint name without prefix, such as `h.0.attn.c_attn.weight`; not copies. */
  parameters(): Map<string, Tensor>

  /**
   * Makes the parameters whose name matches trainable and freezes the rest; false freezes all, as
   * a backbone is at first. Training changes memory only, never the file that was loaded.
   *
   * @throws RangeError for a pattern that matches no parameter.
   */
  setTrainable(pattern: RegExp | false): Promise<void>

  /** Frees the weights. Later calls throw LoptError `ERR_DISPOSED`. */
  dispose(): void
}

export const BACKBONE_DTYPES: readonly BackboneDType[] = [
  'float64',
  'float32',
  'float16',
  'bfloat16',
]

/** @throws TypeError unless a backbone can compute in `dtype`. */
export function checkBackboneDType(dtype: DType | string): BackboneDType {
  if (BACKBONE_DTYPES.includes(dtype as BackboneDType)) return dtype as BackboneDType
  throw new TypeError(
    `Expected dtype to be one of ${BACKBONE_DTYPES.join(', ')} but received ${String(dtype)}`,
  )
}
