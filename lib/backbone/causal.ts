// A causal backbone over a compiled module: checks what a caller gives, calls the module. Knows no
// architecture and no file.

import { type ScriptValue, type Tensor, tidy } from '../torch/index.js'
import type {
  CausalBackbone,
  Gpt2BackboneConfig,
  RunOptions,
  RunResult,
} from './contract.js'
import { ScriptedBackbone } from './scripted.js'

export class ScriptedCausalBackbone
  extends ScriptedBackbone<Gpt2BackboneConfig>
  implements CausalBackbone
{
  readonly kind = 'causal'

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
