// A causal backbone over a compiled module: checks what a caller gives, calls the module. Knows no
// architecture and no file.

import { arange, cat, type ScriptValue, type Tensor, tidy } from '../torch/index.js'
import { isTensor } from '../torch/tensor.js'
import type {
  CausalBackbone,
  DecodeStepOptions,
  Gpt2BackboneConfig,
  RunBehindOptions,
  RunOptions,
  RunResult,
  RunWithPrefixesOptions,
} from './contract.js'
import { ScriptedBackbone, writeNewest } from './scripted.js'

export class ScriptedCausalBackbone
  extends ScriptedBackbone<Gpt2BackboneConfig>
  implements CausalBackbone
{
  readonly kind = 'causal'
  /** Whether the module has the method that need not be there; one without takes a past of 1 or B rows. */
  readonly #joinsPrefixes = this.offers('run_with_prefixes')
  readonly #runsBehind = this.offers('run_behind')
  readonly decodesInPlace = this.offers('decode_step')

  get maxPositions(): number {
    return this.config.positions
  }

  async run(options: RunOptions): Promise<RunResult> {
    const { x, positions, mask = null, past = [], queries = null } = options
    const { first = 0, last = this.config.layers } = options
    this.#checkRun(options, first, last)
    const B = x.shape[0] as number
    const before = this.#joinsPrefixes ? past : past.map((kept) => ofAllRows(kept, B))
    const given = [x, positions, mask, before as ScriptValue[], first, last, queries]
    return await this.runMethod('run', given, options.present)
  }

  async runBehind(options: RunBehindOptions): Promise<RunResult> {
    const { x, positions, past, owners, mask, queries } = options
    const P = this.#checkBehind(options)
    if (this.#runsBehind) {
      const given = [x, positions, owners ?? null, mask ?? null]
      const all = [...given, past as ScriptValue[], queries ?? null]
      return await this.runMethod('run_behind', all, options.present)
    }
    // A module of another's making may be without: joined, as it has them.
    const { hidden, present } = await this.run({
      ...{ x, positions, mask, queries, present: options.present },
      past: pastOfRows(past, owners, x.shape[0] as number),
    })
    return { hidden, present: present.map((kept) => kept.slice(2, P)) }
  }

  async runWithPrefixes(options: RunWithPrefixesOptions): Promise<Tensor> {
    const { prefixes, x, positions, owners, mask, queries } = options
    this.#checkPrefixes(options)
    if (this.#joinsPrefixes) {
      const wanted = [owners ?? null, mask ?? null, queries ?? null]
      const given = [prefixes, x, positions, ...wanted]
      return (await this.module.call('run_with_prefixes', ...given)) as Tensor
    }
    // A module of another's making may be without: two passes.
    const { device } = this
    const [K, P] = prefixes.shape as [number, number, number]
    const place = arange(0, P, { dtype: 'int64', device }).unsqueeze(0)
    const { present } = await this.run({
      x: prefixes,
      positions: place.expand([K, P]),
      queries: place.slice(1, 0, 1).expand([K, 1]), // keys and values are wanted: one query is the least
    })
    const past = pastOfRows(present, owners, x.shape[0] as number)
    return (await this.run({ x, positions, mask, past, queries, present: false })).hidden
  }

  async decodeStep(options: DecodeStepOptions): Promise<Tensor> {
    const { x, cache, lengths, read } = options
    const { layers, heads, hiddenSize, positions } = this.config
    this.check('x', x, this.dtype, ['B', 1, hiddenSize])
    const B = x.shape[0] as number
    const names = { cache: 'cache', lengths: 'lengths', read: 'read' }
    const most = Math.min(read, positions) - 1
    this.checkSlots(names, options, { layers, B, headSize: hiddenSize / heads, most })
    if (this.decodesInPlace) {
      const given = [x, cache as ScriptValue[], lengths, read]
      return (await this.module.call('decode_step', ...given)) as Tensor
    }
    // A module of another's making may be without: its keys and values are joined, and copied back.
    return await tidy(async () => {
      const places = arange(0, read, { dtype: 'int64', device: this.device })
      const before = places.unsqueeze(0).lt(lengths.unsqueeze(1)) // [B, read]
      const own = places.slice(0, 0, 1).unsqueeze(0).expand([B, 1]).eq(0)
      const { hidden, present } = await this.run({
        x,
        positions: lengths.unsqueeze(1),
        mask: cat([before, own], 1),
        past: cache.map((kept) => kept.slice(0, 0, B).slice(2, 0, read)),
      })
      const counts = Array.from((await lengths.read()) as BigInt64Array, Number)
      const rows = counts.map((length, slot) => ({ slot, length }))
      await writeNewest(cache, present, rows)
      return hidden.select(1, 0)
    })
  }

  #checkPrefixes({
    prefixes,
    x,
    positions,
    owners,
    mask,
    queries,
  }: RunWithPrefixesOptions): void {
    const { layers, hiddenSize, positions: limit } = this.config
    this.check('prefixes', prefixes, this.dtype, ['K', 'P', hiddenSize])
    this.#checkRun({ x, positions, queries }, 0, layers)
    const [K, P] = prefixes.shape as [number, number, number]
    const [B, Q] = x.shape as [number, number, number]
    if (P > limit) {
      throw new RangeError(
        `Expected prefixes of 1..${limit} vectors, the positions that this model has, but received ${P}`,
      )
    }
    if (mask !== undefined) this.check('mask', mask, 'bool', [B, P + Q])
    this.#checkOwners(owners, B, { count: K, what: 'prefixes' })
  }

  /** How many keys and values stand before the rows. */
  #checkBehind({ x, positions, past, owners, mask, queries }: RunBehindOptions): number {
    const { layers, heads, hiddenSize } = this.config
    this.#checkRun({ x, positions, queries }, 0, layers)
    const [B, Q] = x.shape as [number, number, number]
    const M = isTensor(past?.[0]) ? (past[0].shape[0] as number) : B
    const P = this.checkKeyValues('past', past, {
      ...{ layers, B: M, headSize: hiddenSize / heads },
      mayShare: () => false,
    })
    if (mask !== undefined) this.check('mask', mask, 'bool', [B, P + Q])
    this.#checkOwners(owners, B, { count: M, what: 'pasts' })
    return P
  }

  #checkOwners(
    owners: Tensor | undefined,
    B: number,
    { count, what }: { count: number; what: string },
  ): void {
    if (owners !== undefined) {
      this.check('owners', owners, 'int64', [B])
      this.#checkBelow('owners', owners, count, `the ${what} that are given`)
    } else if (B % count !== 0) {
      throw new RangeError(
        `Expected as many rows behind each of ${count} ${what}, or owners, but received ${B} rows`,
      )
    }
  }

  #checkRun(options: RunOptions, first: number, last: number): void {
    const { layers, heads, hiddenSize, positions: limit } = this.config
    const { x, positions, mask, past = [], queries } = options
    this.checkLayers(first, last, layers)
    this.check('x', x, this.dtype, ['B', 'Q', hiddenSize])
    const [B, Q] = x.shape as [number, number, number]
    this.check('positions', positions, 'int64', [B, Q])
    if (first === 0)
      this.#checkBelow('positions', positions, limit, 'which is what this model has')

    const none = Array.isArray(past) && past.length === 0
    const headSize = hiddenSize / heads
    const pastLength = none
      ? 0
      : this.checkKeyValues('past', past, {
          ...{ layers: last - first, B, headSize },
          mayShare: (M) => B % M === 0,
        })
    if (mask !== undefined) this.check('mask', mask, 'bool', [B, pastLength + Q])
    if (queries === undefined) return
    this.check('queries', queries, 'int64', [B, 'K'])
    if (last !== layers) {
      throw new RangeError(
        `Expected last to be ${layers} with queries but received ${last}`,
      )
    }
  }

  /** libtorch refuses these too, without saying which argument it is. */
  #checkBelow(name: string, values: Tensor, limit: number, why: string): void {
    if (this.device !== 'cpu') return
    const [least, most] = tidy(
      () => [values.amin().item(), values.amax().item()] as const,
    )
    if (least >= 0 && most < limit) return
    throw new RangeError(
      `Expected ${name} in 0..${limit - 1}, ${why}, but received ${least < 0 ? least : most}`,
    )
  }
}

/** [M, heads, S, D] -> [B, heads, S, D], all M again and again; itself where M is 1 or B. */
function ofAllRows(kept: Tensor, B: number): Tensor {
  const [M, ...rest] = kept.shape as [number, ...number[]]
  if (M === 1 || M === B) return kept
  return kept
    .unsqueeze(0)
    .expand([B / M, M, ...rest])
    .reshape([B, ...rest])
}

/** [M, heads, P, D] each -> [B, heads, P, D]: of each row's owner, or each repeated for as many rows. */
function pastOfRows(
  past: readonly Tensor[],
  owners: Tensor | undefined,
  B: number,
): Tensor[] {
  return past.map((tensor) => {
    if (owners !== undefined) return tensor.indexSelect(0, owners)
    const [M, ...rest] = tensor.shape as [number, ...number[]]
    const repeated = tensor.unsqueeze(1).expand([M, B / M, ...rest])
    return repeated.reshape([B, ...rest])
  })
}
