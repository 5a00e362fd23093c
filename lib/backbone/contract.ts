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
  /**
   * `vocabSize` without the tokens that were added to the tokenizer's own vocabulary. A model needs rows
   * for these ids only; a text that uses another is then refused. Absent: `vocabSize`.
   */
  readonly baseVocabSize?: number
  /**
   * Characters (UTF-16 units) of a text that a token stands for at most: a text of more than n times as many has more than n
   * tokens. Infinity, or absent, where nothing says so.
   */
  readonly charactersPerToken?: number
  /** Ids of a text, without special tokens of the tokenizer's own; `[]` for an empty text. */
  encode(text: string): number[]
  /** `encode` of each text, on several cores. */
  encodeBatch(texts: readonly string[]): number[][]
  /** As `encodeBatch`, off the event loop. */
  tokenize(texts: readonly string[]): Promise<number[][]>
  /**
   * The text of token ids. Special tokens are left out unless `skipSpecialTokens` is false; an id that
   * has no token gives no text.
   */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string
  /** `decode` of each list. */
  decodeBatch(
    lists: readonly (readonly number[])[],
    options?: { skipSpecialTokens?: boolean },
  ): string[]
  /** Ends a text. A model may have more that do: `CommonBackbone.endTokenIds`. */
  readonly eosTokenId?: number
  readonly bosTokenId?: number
  readonly padTokenId?: number
  /** A token that the tokenizer itself would put first (`encode` does not), as BERT's does. */
  readonly firstTokenId?: number
  /** File name to text: what `saveBackbone` writes so that the tokenizer can be read again. */
  readonly files: Readonly<Record<string, string>>
}

/** What every backbone has, in the library's own names. */
interface CommonConfig {
  /** N: rows of the token embedding. */
  readonly vocabSize: number
  /** H */
  readonly hiddenSize: number
  /** L: layers, the encoder's where there is one. */
  readonly layers: number
  /** Attention heads. */
  readonly heads: number
  /** Width of a block's MLP. */
  readonly innerSize: number
  /** Name of the MLP's activation, as transformers spells it. */
  readonly activation: string
  readonly layerNormEpsilon: number
  /** The output matrix is the token embedding. */
  readonly tiedHead: boolean
  /** config.json as it was read. */
  readonly raw: Readonly<Record<string, unknown>>
}

/** The shape of a GPT-2. */
export interface Gpt2BackboneConfig extends CommonConfig {
  readonly modelType: 'gpt2'
  /** Rows of the position embedding: the longest sequence. */
  readonly positions: number
  /** Attention scores are divided by the square root of a head's size, H / heads. */
  readonly scaleAttention: boolean
  /** Scores of layer i, counted from 0, are divided by i + 1 as well. */
  readonly scaleByLayer: boolean
  /** Scores and their softmax are float32 in a model of half precision. */
  readonly upcastAttention: boolean
  /** Standard deviation of fresh weights. */
  readonly initializerRange: number
}

/** The shape of a T5. */
export interface T5BackboneConfig extends CommonConfig {
  readonly modelType: 't5' | 'mt5'
  readonly decoderLayers: number
  /** D, size of a head: it need not be H / heads. */
  readonly headSize: number
  /** The MLP multiplies the activation by a second projection (T5 1.1, flan-t5, mt5). */
  readonly gated: boolean
  /** Buckets of relative positions, each with a bias a head. */
  readonly relativeBuckets: number
  /** Distances from here on share a bucket. */
  readonly relativeMaxDistance: number
  /** Logits are divided by the square root of H (the first T5's). */
  readonly scaleOutput: boolean
  /** The token that the decoder starts from. */
  readonly decoderStartTokenId: number
  /** Scales the standard deviations of fresh weights. */
  readonly initializerFactor: number
}

/** The shape of a model. */
export type BackboneConfig = Gpt2BackboneConfig | T5BackboneConfig

/** What weights may be kept in besides. */
export type Quantization = 'int8'

/** Element types that a backbone can compute in. */
export type BackboneDType = 'float64' | 'float32' | 'float16' | 'bfloat16'

/** A pass of a causal model over layers. */
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
   * [M, heads, S_past, H / heads], M a divisor of B: that of rows 0..M - 1, of the next M, and so on, [1, ..] that of
   * every row. Gradients sum over the rows that share it.
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
  /** Whether `present` is wanted, true by default: a training step does without. */
  present?: boolean | undefined
}

/** What such a pass gives. */
export interface RunResult {
  /** [B, Q, H], or [B, K, H] with `queries`. After the final norm when `last` is L. */
  hidden: Tensor
  /**
   * Keys and values of the layers run, the past's included: the next call's `past`. Empty where it is
   * not wanted.
   */
  present: Tensor[]
}

/** Rows behind keys and values that several of them share. */
export interface RunBehindOptions {
  /** `[B, Q, H]`: embeddings of the rows. */
  x: Tensor
  /** int64 [B, Q]: each row's place in its sequence. */
  positions: Tensor
  /** k, v of each layer: [M, heads, P, H / heads], which several rows may share. */
  past: readonly Tensor[]
  /**
   * int64 [B], in 0..M - 1: whose keys and values each row stands behind. Leave it out where as many stand behind each,
   * in their order: that is faster, and a gradient a sum in a fixed order on every device.
   */
  owners?: Tensor | undefined
  /** bool [B, P + Q]: as for `run`; false where a row has fewer keys and values before it. */
  mask?: Tensor | undefined
  /** int64 [B, K], indices into Q: the positions whose output is wanted. */
  queries?: Tensor | undefined
  /** Whether `present` is wanted, true by default. */
  present?: boolean | undefined
}

/** A pass in which prefixes run beside the rows that stand behind them. */
export interface RunWithPrefixesOptions {
  /** [K, P, H], the backbone's dtype: vectors at positions 0..P - 1 before the rows. A shorter one is padded. */
  prefixes: Tensor
  /** `[B, Q, H]`: embeddings of the rows. */
  x: Tensor
  /** int64 [B, Q]: each row's place in its sequence, from its prefix's length on. */
  positions: Tensor
  /**
   * int64 [B], in 0..K - 1: which prefix each row stands behind. Leave it out where as many stand behind each, in
   * the prefixes' order: that is faster, and its gradient a sum in a fixed order on every device.
   */
  owners?: Tensor | undefined
  /** bool [B, P + Q]: as for `run`; false where a row's prefix is padded. */
  mask?: Tensor | undefined
  /** int64 [B, asked], indices into Q: the positions whose output is wanted. */
  queries?: Tensor | undefined
}

/** A pass of an encoder over layers. */
export interface EncodeOptions {
  /** `[B, S, H]`: embeddings when `first` is 0, else a layer's output. */
  x: Tensor
  /**
   * bool [B, S]: true where a key may be attended to, one at least in each row. Leave it out when
   * nothing is hidden: that is faster.
   */
  mask?: Tensor | undefined
  /** First layer to run, 0 by default. */
  first?: number | undefined
  /** Layer to stop before, L by default. */
  last?: number | undefined
}

/** A pass of a decoder over layers. */
export interface DecodeOptions {
  /** `[B, Q, H]`: embeddings when `first` is 0, else a layer's output. */
  x: Tensor
  /**
   * Keys and values of earlier positions, k, v of layer `first`, k, v of the next…: each
   * [B or 1, heads, S_past, D]. Batch 1 is shared by all rows.
   */
  past?: readonly Tensor[] | undefined
  /** `crossKeyValues` of all decoder layers: each [B or 1, heads, S, D]. */
  cross: readonly Tensor[]
  /** bool [B, S]: true where the encoder's output may be attended to; the mask it was made with. */
  crossMask?: Tensor | undefined
  /** First decoder layer to run, 0 by default. */
  first?: number | undefined
  /** Decoder layer to stop before, all by default. */
  last?: number | undefined
  /** Whether `present` is wanted, true by default: a training step does without. */
  present?: boolean | undefined
}

/** A pass of a decoder over texts that were encoded, whose keys and values are not made. */
export interface DecodeEncodedOptions {
  /** `[B, Q, H]`: embeddings. */
  x: Tensor
  /** As for `decode`, of all layers. */
  past?: readonly Tensor[] | undefined
  /** [B, S, H], of `encode` up to its last layer. */
  encoded: Tensor
  /** bool [B, S]: true where `encoded` may be attended to; the mask it was made with. */
  crossMask?: Tensor | undefined
}

/** A token more of each of B rows, each at a length of its own. Symbols: slots and capacity of the cache, D a head's size. */
export interface DecodeStepOptions {
  /** `[B, 1, H]`: embeddings of each row's newest token. */
  x: Tensor
  /**
   * Keys and values of the rows' earlier positions, k, v of the first layer, k, v of the next…: each
   * [slots, heads, capacity, D]. Row b's are the first `lengths[b]` of slot b; those of its newest token are written
   * behind them, in place.
   */
  cache: readonly Tensor[]
  /** int64 [B], each below `read`: how many a row has. A causal model's newest token stands at this position. */
  lengths: Tensor
  /** Keys that are read of a slot, at most its capacity. */
  read: number
}

/** As `DecodeStepOptions`, of an encoder-decoder model's decoder. */
export interface CrossDecodeStepOptions extends DecodeStepOptions {
  /** `crossKeyValues` of the rows' texts, laid out as `cache`. */
  cross: readonly Tensor[]
  /** int64 [B], each at most `crossRead`: how many a row's text has. */
  crossLengths: Tensor
  crossRead: number
}

/** What every frozen language model offers. Methods that return promises are jobs. */
export interface CommonBackbone {
  readonly tokenizer: Tokenizer
  /** Where it computes, such as `cpu` or `cuda:0`. */
  readonly device: string
  /** What it computes in. */
  readonly dtype: BackboneDType
  /** What the weights of its products are kept in where that is not `dtype`; then it is for inference alone. */
  readonly quantization: Quantization | null
  /**
   * SHA-256 (hex) of the architecture and 64 rows of the token embedding as stored in the file.
   * After the token embedding was trained and frozen again it is that of the weights in memory.
   */
  readonly fingerprint: string
  /** Where it came from: a folder, `builtin:NAME`, or `created`. */
  readonly source: string
  /**
   * The longest sequence that a prompt can be in, prompt, text and label together; Infinity where
   * positions are relative.
   */
  readonly maxPositions: number
  /**
   * The tokens that end a generated text, each below N: those that generation_config.json or else
   * config.json says, or `tokenizer.eosTokenId`, which alone is written where a text is ended.
   */
  readonly endTokenIds: readonly number[]
  /** `[N, H]`: the module's own parameter, not a copy. */
  readonly tokenEmbedding: Tensor
  /**
   * Whether `decodeStep` reads nothing back, so that it can be captured (`captureGraph`); a `.pt` file may be without
   * `decode_step`.
   */
  readonly decodesInPlace: boolean

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
   * Logits.
   *
   * @param h [M, H] from the last layer
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

  /** Calls `free` when the backbone is disposed of, for what was computed with its weights. */
  onDispose(free: () => void): void

  /** Frees the weights. Later calls throw LoptError `ERR_DISPOSED`. */
  dispose(): void
}

/**
 * A frozen causal language model. Its methods are jobs: they run in the order of the calls, off the
 * event loop, in the caller's grad mode. Symbols: B batch, Q positions run now, S positions seen,
 * H hidden size, N vocabulary, L layers.
 */
export interface CausalBackbone extends CommonBackbone {
  readonly kind: 'causal'
  readonly config: Gpt2BackboneConfig

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
   * Runs all layers of rows that stand behind keys and values that several of them share, each read where it lies as
   * far as the device and dtype allow. `present` has those of the rows' own positions alone, [B, heads, Q, H / heads].
   *
   * @throws as `run`; on a CPU RangeError for owners that are not there
   */
  runBehind(options: RunBehindOptions): Promise<RunResult>

  /**
   * Runs all layers of rows that stand behind prefixes, and of the prefixes, each once for all of its rows: as
   * `run` of the prefixes, and `run` of the rows with their keys and values as their past, in one. For
   * prefixes that change from call to call, as in training; one that stays is better run once.
   *
   * @returns [B, Q, H], or [B, asked, H] with `queries`, after the final norm
   * @throws as `run`
   */
  runWithPrefixes(options: RunWithPrefixesOptions): Promise<Tensor>

  /**
   * Runs all layers of a token more of each row, and writes its keys and values into the cache. No gradient.
   *
   * @returns [B, H], after the final norm
   * @throws as `run`; on a CPU RangeError for a length that does not fit too
   */
  decodeStep(options: DecodeStepOptions): Promise<Tensor>
}

/**
 * A frozen encoder-decoder language model. Symbols: B batch, S encoder positions, Q decoder positions
 * run now, H hidden size, D a head's size, N vocabulary.
 */
export interface EncoderDecoderBackbone extends CommonBackbone {
  readonly kind: 'encoder-decoder'
  readonly config: T5BackboneConfig

  /**
   * Runs encoder layers `first`..`last - 1`; layer L - 1 is followed by the final norm.
   *
   * @returns [B, S, H]
   * @throws TypeError or RangeError for dtypes, shapes, devices or layers that do not fit.
   */
  encode(options: EncodeOptions): Promise<Tensor>

  /**
   * What the decoder attends to, once for each encoded text.
   *
   * @param encoded [B, S, H], of `encode` up to its last layer
   * @returns k, v of each decoder layer, each [B, heads, S, D]
   */
  crossKeyValues(encoded: Tensor): Promise<Tensor[]>

  /**
   * Runs decoder layers `first`..`last - 1`; the last is followed by the final norm. A position sees
   * itself and those before it.
   *
   * @throws TypeError or RangeError for dtypes, shapes, devices or layers that do not fit.
   */
  decode(options: DecodeOptions): Promise<RunResult>

  /**
   * Whether `decodeEncoded` does without keys and values: in float32 and float64, unless a `.pt` file has no
   * `decode_encoded`.
   */
  readonly decodesEncoded: boolean

  /**
   * Runs all decoder layers over `encoded` itself: the same as `decode` with `crossKeyValues(encoded)`, in
   * less work where Q is below the size of a head (with a gradient, two thirds of it). It calls these two where it cannot do without.
   *
   * @returns [B, Q, H], after the final norm
   * @throws as `decode`
   */
  decodeEncoded(options: DecodeEncodedOptions): Promise<Tensor>

  /**
   * Runs all decoder layers of a token more of each row, and writes its keys and values into the cache. No gradient.
   *
   * @returns [B, H], after the final norm
   * @throws as `decode`; on a CPU RangeError for a length that does not fit too
   */
  decodeStep(options: CrossDecodeStepOptions): Promise<Tensor>
}

/** A frozen language model; `kind` tells the two apart. */
export type Backbone = CausalBackbone | EncoderDecoderBackbone

export const BACKBONE_DTYPES: readonly BackboneDType[] = [
  'float64',
  'float32',
  'float16',
  'bfloat16',
]

/**
 * @param others what may be given besides
 * @throws TypeError unless a backbone can compute in `dtype`.
 */
export function checkBackboneDType(
  dtype: DType | string,
  others: readonly string[] = [],
): BackboneDType {
  if (BACKBONE_DTYPES.includes(dtype as BackboneDType)) return dtype as BackboneDType
  const known = [...BACKBONE_DTYPES, ...others].join(', ')
  throw new TypeError(
    `Expected dtype to be one of ${known} but received ${String(dtype)}`,
  )
}
