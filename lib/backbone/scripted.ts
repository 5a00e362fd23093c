// What every backbone over a compiled module shares: embeddings, logits, parameters, and checks of
// what a caller gives. Knows no architecture and no file.

import { LoptError } from '../errors.js'
import { kindOf, shapeText } from '../torch/check.js'
import { binding } from '../torch/context.js'
import {
  type DType,
  keep,
  releaseMemory,
  type ScriptModule,
  type ScriptValue,
  type Tensor,
  tensor,
  tidy,
} from '../torch/index.js'
import { handleOf, isTensor } from '../torch/tensor.js'
import type {
  BackboneConfig,
  BackboneDType,
  Quantization,
  RunResult,
  Tokenizer,
} from './contract.js'
import { fingerprint, fingerprintRows } from './fingerprint.js'

export interface BackboneParts<C extends BackboneConfig = BackboneConfig> {
  module: ScriptModule
  config: C
  tokenizer: Tokenizer
  endTokenIds: readonly number[]
  /** The module's own tensors by dotted name. */
  parameters: ReadonlyMap<string, Tensor>
  /** Name of the token embedding among them. */
  tokenEmbedding: string
  device: string
  dtype: BackboneDType
  quantization: Quantization | null
  /** Of the stored weights, or as `fingerprintInMemory` gives it. */
  fingerprint: string
  source: string
}

/**
 * Of weights that no file holds: reads the rows as they are now, off the event loop.
 *
 * @param dtype what the embedding is kept in
 */
export async function fingerprintInMemory(
  config: BackboneConfig,
  embedding: Tensor,
  dtype: DType = embedding.dtype,
): Promise<string> {
  const [rows = 0] = embedding.shape
  const wanted = fingerprintRows(rows)
  const bytes = await tidy(async () => {
    const index = tensor(wanted, { dtype: 'int64', device: embedding.device })
    const read = embedding.detach().indexSelect(0, index).to(dtype)
    return await binding().readBytes(handleOf(read))
  })
  const rowBytes = bytes.length / wanted.length
  const at = new Map(wanted.map((row, i) => [row, i * rowBytes]))
  const row = (index: number) => {
    const begin = at.get(index) as number
    return bytes.subarray(begin, begin + rowBytes)
  }
  return fingerprint(config, { dtype, rows, row })
}

/** Takes over the module and the parameters: they live until the backbone is disposed of. */
export abstract class ScriptedBackbone<C extends BackboneConfig> {
  readonly config: C
  readonly tokenizer: Tokenizer
  readonly endTokenIds: readonly number[]
  readonly device: string
  readonly dtype: BackboneDType
  readonly quantization: Quantization | null
  readonly source: string
  readonly tokenEmbedding: Tensor
  readonly module: ScriptModule
  readonly #parameters: ReadonlyMap<string, Tensor>
  readonly #onDispose: (() => void)[] = []
  #fingerprint: string

  constructor(parts: BackboneParts<C>) {
    for (const parameter of parts.parameters.values()) keep(parameter)
    this.config = parts.config
    this.tokenizer = parts.tokenizer
    this.endTokenIds = parts.endTokenIds
    this.device = parts.device
    this.dtype = parts.dtype
    this.quantization = parts.quantization
    this.source = parts.source
    this.tokenEmbedding = parts.parameters.get(parts.tokenEmbedding) as Tensor
    this.module = parts.module
    this.#parameters = parts.parameters
    this.#fingerprint = parts.fingerprint
  }

  get fingerprint(): string {
    return this.#fingerprint
  }

  async embed(ids: Tensor): Promise<Tensor> {
    this.check('ids', ids, 'int64', ['B', 'T'])
    return (await this.module.call('embed', ids)) as Tensor
  }

  async head(h: Tensor, rows?: Tensor): Promise<Tensor> {
    this.check('h', h, this.dtype, ['M', this.config.hiddenSize])
    if (rows !== undefined) this.check('rows', rows, 'int64', ['V'])
    return (await this.module.call('head', h, rows ?? null)) as Tensor
  }

  /** Whether the module has a method that a module of its kind may be without. */
  protected offers(method: string): boolean {
    return this.module.methods().some(({ name }) => name === method)
  }

  /** Of a method that returns hidden states, and keys and values. */
  protected async runMethod(
    method: string,
    given: readonly ScriptValue[],
    isPresentWanted = true,
  ): Promise<RunResult> {
    if (!isPresentWanted) {
      return {
        hidden: (await this.module.callFirst(method, ...given)) as Tensor,
        present: [],
      }
    }
    const result = await this.module.call(method, ...given)
    const [hidden, present] = result as [Tensor, Tensor[]]
    return { hidden, present }
  }

  parameters(): Map<string, Tensor> {
    return new Map(this.#parameters)
  }

  async setTrainable(pattern: RegExp | false): Promise<void> {
    if (pattern !== false && !(pattern instanceof RegExp)) {
      throw new TypeError(
        `Expected a RegExp or false for pattern but received ${kindOf(pattern)}`,
      )
    }
    const names = [...this.#parameters.keys()]
    if (pattern !== false && this.quantization !== null) {
      throw new LoptError(
        'ERR_UNSUPPORTED',
        `Weights of ${this.quantization} are for inference: open the model with dtype float32 to train them`,
      )
    }
    // `search` ignores the state that a global pattern keeps between calls of `test`.
    const wanted = new Set(names.filter((name) => pattern && name.search(pattern) !== -1))
    if (pattern && wanted.size === 0) {
      throw new RangeError(
        `Expected a pattern that matches a parameter, such as ${names.at(-1)}, but received ${pattern}`,
      )
    }
    const wasTrained = this.tokenEmbedding.requiresGrad
    for (const [name, parameter] of this.#parameters) {
      if (wanted.has(name) === parameter.requiresGrad) continue
      await parameter.requiresGrad_(wanted.has(name))
    }
    if (wasTrained && !this.tokenEmbedding.requiresGrad) {
      this.#fingerprint = await fingerprintInMemory(this.config, this.tokenEmbedding)
    }
  }

  onDispose(free: () => void): void {
    this.#onDispose.push(free)
  }

  dispose(): void {
    for (const free of this.#onDispose.splice(0)) free()
    this.module.dispose()
    for (const parameter of this.#parameters.values()) parameter.dispose()
    releaseMemory()
  }

  /** @throws TypeError or RangeError unless `first`..`last - 1` are layers. */
  protected checkLayers(first: number, last: number, layers: number): void {
    if (!Number.isInteger(first) || !Number.isInteger(last)) {
      throw new TypeError(
        `Expected first and last to be integers but received ${first}, ${last}`,
      )
    }
    if (first < 0 || first >= last || last > layers) {
      throw new RangeError(
        `Expected 0 <= first < last <= ${layers} but received first ${first} and last ${last}`,
      )
    }
  }

  /**
   * Checks keys and values: k and v of each of `layers`, [B or 1, heads, length, size of a head].
   *
   * @returns their length, 0 for none
   */
  protected checkKeyValues(
    name: string,
    given: readonly Tensor[],
    {
      layers,
      B,
      headSize,
      mayShare = (rows) => rows === 1,
    }: {
      layers: number
      B: number
      headSize: number
      /** Whether B rows may stand behind as many keys and values. */
      mayShare?: (rows: number) => boolean
    },
  ): number {
    if (!Array.isArray(given)) {
      throw new TypeError(
        `Expected ${name} to be an array of Tensors but received ${kindOf(given)}`,
      )
    }
    if (given.length !== 2 * layers) {
      throw new RangeError(
        `Expected ${name} to hold ${2 * layers} tensors, k and v of ${layers} layers, but ` +
          `received ${given.length}`,
      )
    }
    const length = given[0]?.shape[2] ?? -1
    const { heads } = this.config
    given.forEach((kept: Tensor, i) => {
      const rows = isTensor(kept) && mayShare(kept.shape[0] as number) ? kept.shape[0] : B
      this.check(`${name}[${i}]`, kept, this.dtype, [rows, heads, length, headSize])
    })
    return length
  }

  /**
   * Checks keys and values in slots: k and v of each of `layers`, [slots, heads, capacity, size of a head], for B rows
   * that have `lengths` of them, of which `read` are read.
   *
   * @param most how many a row may have
   */
  protected checkSlots(
    names: { cache: string; lengths: string; read: string },
    { cache, lengths, read }: { cache: readonly Tensor[]; lengths: Tensor; read: number },
    {
      layers,
      B,
      headSize,
      most,
    }: { layers: number; B: number; headSize: number; most: number },
  ): void {
    const slots = isTensor(cache?.[0]) ? (cache[0].shape[0] as number) : B
    const capacity = this.checkKeyValues(names.cache, cache, {
      ...{ layers, B: slots, headSize },
      mayShare: () => false,
    })
    if (slots < B) {
      throw new RangeError(
        `Expected ${names.cache} of ${B} slots at least but received ${slots}`,
      )
    }
    if (!Number.isInteger(read) || read < 1 || read > capacity) {
      throw new RangeError(
        `Expected ${names.read} in 1..${capacity} but received ${read}`,
      )
    }
    this.check(names.lengths, lengths, 'int64', [B])
    if (this.device !== 'cpu') return // reading them back would stall it
    const values = lengths.data() as BigInt64Array
    const wrong = values.find((length) => length < 0n || length > most)
    if (wrong === undefined) return
    throw new RangeError(`Expected ${names.lengths} in 0..${most} but received ${wrong}`)
  }

  /** A named size accepts 1 or more; a number only itself. */
  protected check(
    name: string,
    value: Tensor,
    dtype: DType,
    shape: readonly (string | number)[],
  ): void {
    if (!isTensor(value)) {
      throw new TypeError(`Expected a Tensor for ${name} but received ${kindOf(value)}`)
    }
    if (value.dtype !== dtype) {
      throw new TypeError(`Expected ${name} to be ${dtype} but received ${value.dtype}`)
    }
    const given = value.shape
    const fits =
      given.length === shape.length &&
      shape.every((size, i) =>
        typeof size === 'number' ? given[i] === size : given[i] !== 0,
      )
    if (!fits) {
      throw new RangeError(
        `Expected ${name} of shape [${shape.join(', ')}] but received ${shapeText(given)}`,
      )
    }
    if (value.device !== this.device) {
      throw new RangeError(
        `Expected ${name} on ${this.device}, where the backbone is, but received ${value.device}`,
      )
    }
  }
}

/** Puts the last of `present`'s keys and values, [B, heads, S, D], behind those that each row has in its slot. */
export async function writeNewest(
  cache: readonly Tensor[],
  present: readonly Tensor[],
  rows: readonly { slot: number; length: number }[],
): Promise<void> {
  const writes = present.flatMap((made, i) => {
    const S = made.shape[2] as number
    return rows.map(({ slot, length }, b) => {
      const place = (cache[i] as Tensor).select(0, slot).slice(1, length, length + 1)
      return place.copy_(made.select(0, b).slice(1, S - 1, S))
    })
  })
  await Promise.all(writes)
}
