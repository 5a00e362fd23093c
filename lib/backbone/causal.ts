// A causal backbone over a compiled module: checks what a caller gives, calls the module. Knows no
// architecture and no file.

import { arange, type ScriptValue, type Tensor, tidy } from '../torch/index.js'
import type {
  CausalBackbone,
  Gpt2BackboneConfig,
  RunOptions,
  RunResult,
  RunWithPrefixOptions,
} from './contract.js'
import { ScriptedBackbone } from './scripted.js'

export class ScriptedCausalBackbone
  extends ScriptedBackbone<Gpt2BackboneConfig>
  implements CausalBackbone
{
  readonly kind = 'causal'
  /** Whether the module has the method that need not be there. */
  readonly #joinsPrefix = this.offers('run_with_prefix')

  get maxPositions(): number {
    return this.config.positions
  }

  async run(options: RunOptions): Promise<RunResult> {
    const { x, positions, mask = null, past = [], queries = null } = options
    const { first = 0, last = this.config.layers } = options
    this.#checkRun(options, first, last)
    const given = [x, positions, mask, past as ScriptValue[], first, last, queries]
    return await this.runMethod('run', given, options.present)
  }

  async runWithPrefix(options: RunWithPrefixOptions): Promise<Tensor> {
    const { prefix, x, positions, queries = null } = options
    this.check('prefix', prefix, this.dtype, ['P', this.config.hiddenSize])
    const { layers } = this.config
    this.#checkRun({ x, positions, queries: queries ?? undefined }, 0, layers)
    if (this.#joinsPrefix) {
      const given = [prefix, x, positions, queries]
      return (await this.module.call('run_with_prefix', ...given)) as Tensor
    }
    // A module of another's making may be without: two passes.
    const place = arange(0, prefix.shape[0] as number, {
      dtype: 'int64',
      device: this.device,
    })
    const { present } = await this.run({
      x: prefix.unsqueeze(0),
      positions: place.unsqueeze(0),
      queries: place.slice(0, 0, 1).unsqueeze(0), // keys and values are wanted: one query is the least
    })
    const { hidden } = await this.run({
      x,
      positions,
      past: present,
      queries: queries ?? undefined,
      present: false,
    })
    return hidden
  }

  #checkRun(options: RunOptions, first: number, last: number): void {
    const { layers, heads, hiddenSize, positions: limit } = this.config
    const { x, positions, mask, past = [], queries } = options
    this.checkLayers(first, last, layers)
    this.check('x', x, this.dtype, ['B', 'Q', hiddenSize])
    const [B, Q] = x.shape as [number, number, number]
    this.check('positions', positions, 'int64', [B, Q])
    if (first === 0) this.#checkPositions(positions, limit)

    const none = Array.isArray(past) && past.length === 0
    const headSize = hiddenSize / heads
    const pastLength = none
      ? 0
      : this.checkKeyValues('past', past, { layers: last - first, B, headSize })
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
}
