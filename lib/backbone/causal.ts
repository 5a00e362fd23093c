// A causal backbone over a compiled module: checks what a caller gives, calls the module, keeps the
// parameters. Knows no architecture and no file.

import { native } from '../native.js'
import { kindOf, shapeText } from '../torch/check.js'
import {
  type DType,
  keep,
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
  CausalBackbone,
  RunOptions,
  RunResult,
  Tokenizer,
} from './contract.js'
import { fingerprint, fingerprintRows } from './fingerprint.js'

export interface CausalParts {
  module: ScriptModule
  config: BackboneConfig
  tokenizer: Tokenizer
  /** The module's own tensors by dotted name. */
  parameters: ReadonlyMap<string, Tensor>
  /** Name of the token embedding among them. */
  tokenEmbedding: string
  device: string
  dtype: BackboneDType
  /** Of the stored weights; without one, that of the weights in memory is taken. */
  fingerprint?: string
  source: string
}

/** Takes over the module and the parameters: they live until the backbone is disposed of. */
export async function causalBackbone(parts: CausalParts): Promise<CausalBackbone> {
  const embedding = parts.parameters.get(parts.tokenEmbedding) as Tensor
  const print = parts.fingerprint ?? (await fingerprintInMemory(parts.config, embedding))
  for (const parameter of parts.parameters.values()) keep(parameter)
  return new ScriptedCausalBackbone(parts, embedding, print)
}

/** Reads the rows as they are now, off the event loop. */
async function fingerprintInMemory(
  config: BackboneConfig,
  embedding: Tensor,
): Promise<string> {
  const [rows = 0] = embedding.shape
  const wanted = fingerprintRows(rows)
  const bytes = await tidy(async () => {
    const index = tensor(wanted, { dtype: 'int64', device: embedding.device })
    return await native().readBytes(handleOf(embedding.detach().indexSelect(0, index)))
  })
  const rowBytes = bytes.length / wanted.length
  const at = new Map(wanted.map((row, i) => [row, i * rowBytes]))
  const row = (index: number) => {
    const begin = at.get(index) as number
    return bytes.subarray(begin, begin + rowBytes)
  }
  return fingerprint(config, { dtype: embedding.dtype, rows, row })
}

class ScriptedCausalBackbone implements CausalBackbone {
  readonly kind = 'causal'
  readonly config: BackboneConfig
  readonly tokenizer: Tokenizer
  readonly device: string
  readonly dtype: BackboneDType
  readonly source: string
  readonly tokenEmbedding: Tensor
  readonly #module: ScriptModule
  readonly #parameters: ReadonlyMap<string, Tensor>
  #fingerprint: string

  constructor(parts: CausalParts, tokenEmbedding: Tensor, print: string) {
    this.config = parts.config
    this.tokenizer = parts.tokenizer
    this.device = parts.device
    this.dtype = parts.dtype
    this.source = parts.source
    this.tokenEmbedding = tokenEmbedding
    this.#module = parts.module
    this.#parameters = parts.parameters
    this.#fingerprint = print
  }

  get fingerprint(): string {
    return this.#fingerprint
  }

  async embed(ids: Tensor): Promise<Tensor> {
    this.#check('ids', ids, 'int64', ['B', 'T'])
    return (await this.#module.call('embed', ids)) as Tensor
  }

  async run(options: RunOptions): Promise<RunResult> {
    const { x, positions, mask = null, past = [], queries = null } = options
    const { first = 0, last = this.config.layers } = options
    this.#checkRun(options, first, last)
    const result = await this.#module.call(
      'run',
      x,
      positions,
      mask,
      past as ScriptValue[],
      first,
      last,
      queries,
    )
    const [hidden, present] = result as [Tensor, Tensor[]]
    return { hidden, present }
  }

  async head(h: Tensor, rows?: Tensor): Promise<Tensor> {
    this.#check('h', h, this.dtype, ['M', this.config.hiddenSize])
    if (rows !== undefined) this.#check('rows', rows, 'int64', ['V'])
    return (await this.#module.call('head', h, rows ?? null)) as Tensor
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

  dispose(): void {
    this.#module.dispose()
    for (const parameter of this.#parameters.values()) parameter.dispose()
  }

  #checkRun(options: RunOptions, first: number, last: number): void {
    const { layers, heads, hiddenSize, positions: limit } = this.config
    const { x, positions, mask, past = [], queries } = options
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
    this.#check('x', x, this.dtype, ['B', 'Q', hiddenSize])
    const [B, Q] = x.shape as [number, number, number]
    this.#check('positions', positions, 'int64', [B, Q])
    if (first === 0) this.#checkPositions(positions, limit)

    const expected = 2 * (last - first)
    if (!Array.isArray(past)) {
      throw new TypeError(
        `Expected past to be an array of Tensors but received ${kindOf(past)}`,
      )
    }
    if (past.length !== 0 && past.length !== expected) {
      throw new RangeError(
        `Expected past to hold ${expected} tensors, k and v of ${last - first} layers, but ` +
          `received ${past.length}`,
      )
    }
    const pastLength = past.length === 0 ? 0 : (past[0]?.shape[2] ?? -1)
    past.forEach((kept: Tensor, i) => {
      const rows = isTensor(kept) && kept.shape[0] === 1 ? 1 : B
      this.#check(`past[${i}]`, kept, this.dtype, [
        rows,
        heads,
        pastLength,
        hiddenSize / heads,
      ])
    })
    if (mask !== undefined) this.#check('mask', mask, 'bool', [B, pastLength + Q])
    if (queries === undefined) return
    this.#check('queries', queries, 'int64', [B, 'K'])
    if (last !== layers) {
      throw new RangeError(
        `Expected last to be ${layers} with queries but received ${last}`,
      )
    }
  }

  /** libtorch refuses these too, without saying which argument it is. */
  #checkPositions(positions: Tensor, limit: number): void {
    if (this.device !== 'cpu') return
    const [least, most] = tidy(
      () => [positions.amin().item(), positions.amax().item()] as const,
    )
    if (least >= 0 && most < limit) return
    throw new RangeError(
      `Expected positions in 0..${limit - 1}, which is what this model has, but received ` +
        `${least < 0 ? least : most}`,
    )
  }

  /** A named size accepts 1 or more; a number only itself. */
  #check(
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
