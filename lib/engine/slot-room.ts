// How much a slot of the key-value cache has room for, and what all of them take at most. Knows no request.

import type { Backbone } from '../backbone/index.js'
import { cacheBytes, type DecodingSize } from '../inference/index.js'
import type { CheckedLimits } from './limits.js'

export type SlotRoom = Pick<DecodingSize, 'capacity' | 'textCapacity'>

/** Positions that a prompt takes of an encoder-decoder's slot, at most. */
const MAX_PROMPT = 1024

/** Room for the longest text with its prompt, and for all that may follow. */
export function slotRoom(
  { kind, maxPositions }: Backbone,
  { maxTextTokens, maxNewTokens }: CheckedLimits,
): SlotRoom {
  if (kind === 'causal') return { capacity: maxPositions, textCapacity: 1 }
  return {
    capacity: MAX_PROMPT + maxNewTokens,
    textCapacity: MAX_PROMPT + maxTextTokens + 1,
  }
}

/** Bytes of keys and values if every slot were full. */
export function maxCacheBytes(backbone: Backbone, limits: CheckedLimits): number {
  const { capacity, textCapacity } = slotRoom(backbone, limits)
  const { config, dtype } = backbone
  const shape = { heads: config.heads, slots: limits.maxRunning }
  if (backbone.kind === 'causal') {
    const headSize = config.hiddenSize / config.heads
    return cacheBytes({ ...shape, layers: config.layers, headSize, capacity }, dtype)
  }
  const { decoderLayers: layers, headSize } = backbone.config
  const own = cacheBytes({ ...shape, layers, headSize, capacity }, dtype)
  return own + cacheBytes({ ...shape, layers, headSize, capacity: textCapacity }, dtype)
}
