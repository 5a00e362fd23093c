// An encoder-decoder backbone over a compiled module: checks what a caller gives, calls the module.
// Knows no architecture and no file.

import {
  arange,
  cat,
  type DType,
  type ScriptValue,
  type Tensor,
  tensor,
  tidy,
} from '../torch/index.js'
import type {
  CrossDecodeStepOptions,
  DecodeEncodedOptions,
  DecodeOptions,
  EncodeOptions,
  EncoderDecoderBackbone,
  RunResult,
  T5BackboneConfig,
} from './contract.js'
import { ScriptedBackbone, writeNewest } from './scripted.js'

export class ScriptedEncoderDecoderBackbone
  extends ScriptedBackbone<T5BackboneConfig>
  implements EncoderDecoderBackbone
{
  readonly kind = 'encoder-decoder'
  readonly maxPositions = Number.POSITIVE_INFINITY
  // Scores would be rounded to half precision; weights of 8 bits know their product alone.
  readonly decodesEncoded =
    this.quantization === null &&
    ['float32', 'float64'].includes(this.dtype) &&
    this.offers('decode_encoded')
  readonly decodesInPlace = this.offers('decode_step')

  async encode({ x, mask, first = 0, last }: EncodeOptions): Promise<Tensor> {
    const { layers, hiddenSize } = this.config
    const end = last ?? layers
    this.checkLayers(first, end, layers)
    this.check('x', x, this.#streamDType(first), ['B', 'S', hiddenSize])
    if (mask !== undefined) this.check('mask', mask, 'bool', x.shape.slice(0, 2))
    return (await this.module.call('encode', x, mask ?? null, first, end)) as Tensor
  }

  async crossKeyValues(encoded: Tensor): Promise<Tensor[]> {
    this.check('encoded', encoded, this.dtype, ['B', 'S', this.config.hiddenSize])
    return (await this.module.call('cross_key_values', encoded)) as Tensor[]
  }

  async decode(options: DecodeOptions): Promise<RunResult> {
    const { x, past = [], cross, crossMask, first = 0 } = options
    const { decoderLayers, hiddenSize, headSize } = this.config
    const last = options.last ?? decoderLayers
    this.checkLayers(first, last, decoderLayers)
    this.check('x', x, this.#streamDType(first), ['B', 'Q', hiddenSize])
    const B = x.shape[0] as number
    if (!Array.isArray(past) || past.length > 0) {
      this.checkKeyValues('past', past, { layers: last - first, B, headSize })
    }
    const layers = decoderLayers
    const S = this.checkKeyValues('cross', cross, { layers, B, headSize })
    if (crossMask !== undefined) this.check('crossMask', crossMask, 'bool', [B, S])
    const tensors = [x, past as ScriptValue[], cross as ScriptValue[], crossMask ?? null]
    return await this.runMethod('decode', [...tensors, first, last], options.present)
  }

  async decodeEncoded(options: DecodeEncodedOptions): Promise<Tensor> {
    const { x, past = [], encoded, crossMask } = options
    const { decoderLayers: layers, hiddenSize, headSize } = this.config
    this.check('x', x, this.dtype, ['B', 'Q', hiddenSize])
    const B = x.shape[0] as number
    this.check('encoded', encoded, this.dtype, [B, 'S', hiddenSize])
    if (!this.decodesEncoded) {
      const cross = await this.crossKeyValues(encoded)
      return (await this.decode({ x, past, cross, crossMask, present: false })).hidden
    }
    if (!Array.isArray(past) || past.length > 0) {
      this.checkKeyValues('past', past, { layers, B, headSize })
    }
    if (crossMask !== undefined) {
      this.check('crossMask', crossMask, 'bool', encoded.shape.slice(0, 2))
    }
    const given = [x, past as ScriptValue[], encoded, crossMask ?? null]
    return (await this.module.call('decode_encoded', ...given)) as Tensor
  }

  async decodeStep(options: CrossDecodeStepOptions): Promise<Tensor> {
    const { x, cache, lengths, read, cross, crossLengths, crossRead } = options
    const { decoderLayers: layers, hiddenSize, headSize } = this.config
    this.check('x', x, this.dtype, ['B', 1, hiddenSize])
    const B = x.shape[0] as number
    const own = { cache: 'cache', lengths: 'lengths', read: 'read' }
    this.checkSlots(own, options, { layers, B, headSize, most: read - 1 })
    const text = { cache: 'cross', lengths: 'crossLengths', read: 'crossRead' }
    const given = { cache: cross, lengths: crossLengths, read: crossRead }
    this.checkSlots(text, given, { layers, B, headSize, most: crossRead })
    if (this.decodesInPlace) {
      const kept = [cache as ScriptValue[], lengths, read]
      const encoded = [cross as ScriptValue[], crossLengths, crossRead]
      return (await this.module.call('decode_step', x, ...kept, ...encoded)) as Tensor
    }
    return await tidy(() => this.#decodeByLength(options))
  }

  /** For a module of another's making, whose `decode` knows one length: the rows of each length by themselves. */
  async #decodeByLength(options: CrossDecodeStepOptions): Promise<Tensor> {
    const { x, cache, lengths, cross, crossLengths, crossRead } = options
    const counts = Array.from((await lengths.read()) as BigInt64Array, Number)
    const places = arange(0, crossRead, { dtype: 'int64', device: this.device })
    const mask = places.unsqueeze(0).lt(crossLengths.unsqueeze(1)) // [B, crossRead]
    const hidden: Tensor[] = []
    const order: number[] = []
    for (const length of new Set(counts)) {
      const slots = [...counts.keys()].filter((b) => counts[b] === length)
      const index = tensor(slots, { dtype: 'int64', device: this.device })
      const own = (kept: Tensor, count: number) =>
        kept.indexSelect(0, index).slice(2, 0, count)
      const found = await this.decode({
        x: x.indexSelect(0, index),
        past: length === 0 ? [] : cache.map((kept) => own(kept, length)),
        cross: cross.map((kept) => own(kept, crossRead)),
        crossMask: mask.indexSelect(0, index),
      })
      await writeNewest(
        cache,
        found.present,
        slots.map((slot) => ({ slot, length })),
      )
      hidden.push(found.hidden.select(1, 0))
      order.push(...slots)
    }
    const back = [...order.keys()].sort(
      (a, b) => (order[a] as number) - (order[b] as number),
    )
    return cat(hidden, 0).indexSelect(
      0,
      tensor(back, { dtype: 'int64', device: this.device }),
    )
  }

  /** Between layers a float16 model's residual stream is float32: see t5/feed_forward.py. */
  #streamDType(first: number): DType {
    return this.dtype === 'float16' && first > 0 ? 'float32' : this.dtype
  }
}
