// From rows to what an encoder-decoder's last layer gives where their labels are predicted. Knows no logit.

import type { EncoderDecoderBackbone } from '../backbone/index.js'
import type { Tensor } from '../torch/index.js'
import { assemble, embedTokens, pastOf } from './assemble.js'
import {
  type BatchGroup,
  type EncoderDecoderBatch,
  makeEncoderDecoderBatch,
  type Row,
} from './batch.js'
import { startAndEnd } from './encode.js'
import type { Inputs } from './inputs.js'
import { batchOptions, type PlacedRows, picked } from './label-hidden.js'
import type { PreparedPrompt, PromptLayout, PromptSet } from './prompt-set.js'

/** Each text goes through the encoder once, however many labels it has. */
export function placeEncoderDecoderRows(
  backbone: EncoderDecoderBackbone,
  layouts: readonly PromptLayout[],
  rows: readonly Row[],
  inputs: Inputs,
  isPadded?: boolean,
): PlacedRows {
  const options = batchOptions(layouts, inputs, isPadded)
  const batch = makeEncoderDecoderBatch(rows, options, startAndEnd(backbone))
  return {
    targets: batch.targets,
    hidden: (set) => encodeAndDecode(backbone, set, batch),
  }
}

async function encodeAndDecode(
  backbone: EncoderDecoderBackbone,
  set: PromptSet,
  { given, encoder, decoder, asked }: EncoderDecoderBatch,
): Promise<Tensor> {
  const mask = encoder.mask ?? undefined
  const prepared = await set.prepared
  const x = await assemble(backbone, prepared, encoder)
  const { checkpoints } = set
  const encode = (x: Tensor, range?: { first: number; last: number }) =>
    backbone.encode({ x, mask, first: range?.first, last: range?.last })
  const encoded =
    checkpoints === null
      ? await encode(x)
      : await checkpoints.run(backbone.config.layers, { x, past: [] }, encode)
  const positions = decoder.reduce((sum, { shape }) => sum + (shape[1] as number), 0)
  const isDirect =
    set.fastPaths && backbone.decodesEncoded && isFew(positions, encoded, backbone)
  const cross = isDirect ? null : await backbone.crossKeyValues(encoded)
  const sections = sectionsOf(prepared, encoder.groups).map((groups) => {
    const own = rowsOf(groups, given.length)
    return {
      own,
      past: pastOf(prepared, groups),
      encoded: own(encoded),
      cross: cross?.map(own) ?? null,
      crossMask: mask && own(mask),
    }
  })
  const decoded: Tensor[] = []
  for (const ids of decoder) {
    for (const { own, ...read } of sections) {
      decoded.push(await decode(backbone, { ...read, ids: own(ids) }))
    }
  }
  return picked(decoded, asked)
}

/**
 * Groups whose prompts give the decoder as many keys and values: relative positions count from them, so that they
 * are as many for all rows of a call.
 */
function sectionsOf(
  prepared: readonly PreparedPrompt[],
  groups: readonly BatchGroup[],
): BatchGroup[][] {
  const lengthOf = (group: BatchGroup | undefined) =>
    group && (prepared[group.prompt]?.past?.shape[2] ?? 0)
  const sections: BatchGroup[][] = []
  for (const group of groups) {
    const last = sections.at(-1)
    if (lengthOf(last?.[0]) === lengthOf(group)) last?.push(group)
    else sections.push([group])
  }
  return sections
}

/** Gives the rows of some groups of a batch of `all` rows. */
function rowsOf(groups: readonly BatchGroup[], all: number): (tensor: Tensor) => Tensor {
  const begin = groups[0]?.begin ?? 0
  const size = groups.reduce((sum, group) => sum + group.size, 0)
  return size === all
    ? (tensor) => tensor
    : (tensor) => tensor.slice(0, begin, begin + size)
}

interface DecoderRows {
  /** int64 [B, K] */
  readonly ids: Tensor
  readonly past: readonly Tensor[]
  /** [B, S, H] */
  readonly encoded: Tensor
  /** Keys and values of what was encoded; null: the decoder reads it itself. */
  readonly cross: readonly Tensor[] | null
  readonly crossMask: Tensor | undefined
}

/** [B, K, H] */
async function decode(
  backbone: EncoderDecoderBackbone,
  { ids, past, encoded, cross, crossMask }: DecoderRows,
): Promise<Tensor> {
  const x = await embedTokens(backbone, ids)
  if (cross === null) return await backbone.decodeEncoded({ x, past, encoded, crossMask })
  return (await backbone.decode({ x, past, cross, crossMask, present: false })).hidden
}

/**
 * Whether Q decoder positions a text take less work over the encoded text itself, [B, S, H], than over its keys
 * and values: multiplications for a key, or a value, of one text in one layer, there and back.
 */
function isFew(Q: number, encoded: Tensor, { config }: EncoderDecoderBackbone): boolean {
  const { heads, headSize, hiddenSize: H } = config
  const S = encoded.shape[1] as number
  const inner = heads * headSize
  // A gradient takes one product more where a factor is frozen, two where neither is.
  const [frozen, free] = encoded.requiresGrad ? [2, 3] : [1, 1]
  const projected = frozen * S * H * inner + free * Q * S * inner
  const carried = frozen * Q * H * inner + free * Q * heads * S * H
  return carried < projected
}
