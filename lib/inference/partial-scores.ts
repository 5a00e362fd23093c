// The scores of what may answer a causal model's text, which is read a piece at a time, so that others go on between two pieces:
// first the text, once, then candidates behind it. Knows no queue.

import type { CausalBackbone } from '../backbone/index.js'
import { binding } from '../torch/context.js'
import { noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import { makeCausalBatch } from './batch.js'
import type { CandidateRow } from './candidates.js'
import { CausalPrefill } from './causal-prefill.js'
import { Inputs } from './inputs.js'
import { batchOptions } from './label-hidden.js'
import { logitsOf } from './label-logits.js'
import type { PromptSet } from './prompt-set.js'

export class PartialScores {
  readonly #backbone: CausalBackbone
  readonly #candidates: CandidateRow['candidates']
  readonly #prefill: CausalPrefill
  readonly #scores: number[] = []
  /** Places of candidates of which the first token alone is scored; undefined until the text was read. */
  #left: number[] | undefined

  private constructor(
    backbone: CausalBackbone,
    candidates: CandidateRow['candidates'],
    prefill: CausalPrefill,
  ) {
    this.#backbone = backbone
    this.#candidates = candidates
    this.#prefill = prefill
  }

  /** @param set whose prompts the row names by its place; it is not needed any more when this resolves */
  static async begin(
    backbone: CausalBackbone,
    set: PromptSet,
    { text, candidates, prompt }: CandidateRow,
  ): Promise<PartialScores> {
    return await noGrad(() =>
      tidy(async () => {
        const batch = makeCausalBatch(
          [{ text, labels: [[0]], prompt }],
          batchOptions(set.layouts, new Inputs(backbone.device)),
        )
        const prefill = await CausalPrefill.of(backbone, await set.prepared, batch)
        return new PartialScores(backbone, candidates, prefill)
      }),
    )
  }

  /**
   * Reads so many positions more, at most, and one candidate at least.
   *
   * @returns the scores as `candidateScores` has them, once all was read
   */
  async read(positions: number): Promise<readonly number[] | undefined> {
    await noGrad(() =>
      tidy(async () => {
        if (this.#left !== undefined) await this.#readCandidates(this.#left, positions)
        else if (await this.#prefill.read(positions)) await this.#begin()
      }),
    )
    return this.#left?.length === 0 ? this.#scores : undefined
  }

  /** First tokens are read off where the text ends. */
  async #begin(): Promise<void> {
    const first = this.#candidates.map((ids) => ids[0] as number)
    const all = await this.#logProbabilities(this.#prefill.hidden) // [1, N]
    this.#scores.push(
      ...(await this.#valuesAt(
        all,
        first.map((id) => [0, id]),
      )),
    )
    const places = [...first.keys()]
    this.#left = places.filter((i) => (this.#candidates[i]?.length ?? 0) > 1)
  }

  /** As many candidates as are `positions` together, the others of their tokens behind the text. */
  async #readCandidates(left: number[], positions: number): Promise<void> {
    let K = 0 // that are read of the longest
    let count = 0
    for (const i of left) {
      const grown = Math.max(K, (this.#candidates[i]?.length ?? 0) - 1)
      if (count > 0 && grown * (count + 1) > positions) break
      K = grown
      count += 1
    }
    const some = left.slice(0, count)
    const rows = some.map((i) => this.#candidates[i] as readonly number[])
    const padded = rows.map((ids) => Array.from({ length: K }, (_, j) => ids[j] ?? 0))
    const { past } = this.#prefill
    const before = past[0]?.shape[2] as number
    const { hidden } = await this.#backbone.run({
      x: await this.#backbone.embed(this.#int64(padded)),
      // A padding position's place does not matter, but it must be one that the model has.
      positions: this.#int64(
        rows.map(() => Array.from({ length: K }, (_, j) => before + j)),
      ),
      past,
      present: false,
    })
    const all = await this.#logProbabilities(hidden.reshape([rows.length * K, -1]))
    const cells = rows.flatMap((ids, b) =>
      ids.slice(1).map((id, j): [number, number] => [b * K + j, id]),
    )
    const values = await this.#valuesAt(all, cells)
    for (const [b, i] of some.entries()) {
      const own = values.splice(0, (rows[b]?.length ?? 0) - 1)
      this.#scores[i] = own.reduce((sum, value) => sum + value, this.#scores[i] as number)
    }
    this.#left = left.slice(count)
  }

  async #logProbabilities(hidden: Tensor): Promise<Tensor> {
    const logits = await logitsOf(this.#backbone, hidden)
    return wrap(await binding().jobs.logSoftmax(handleOf(logits), 1))
  }

  /** @param cells row and column of each in [M, N] */
  async #valuesAt(all: Tensor, cells: readonly (readonly number[])[]): Promise<number[]> {
    const N = all.shape[1] as number
    const index = this.#int64(
      cells.map(([row, id]) => (row as number) * N + (id as number)),
    )
    return Array.from(await all.reshape([-1]).indexSelect(0, index).read(), Number)
  }

  #int64(values: number[] | number[][]): Tensor {
    return tensor(values, { dtype: 'int64', device: this.#backbone.device })
  }

  dispose(): void {
    this.#prefill.dispose()
  }
}
