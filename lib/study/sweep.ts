// Runs a sweep: each cell once, whatever happens to some of them. Trains and evaluates nothing itself.

import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import { checkAborted } from '../errors.js'
import { checked } from '../fields.js'
import { type Cell, expandCells, type Group, groupCells } from './cells.js'
import { Study } from './study.js'
import { readSweepConfig, type SweepConfig } from './sweep-config.js'
import type { SweepEvent } from './sweep-events.js'

/** What `sweep` takes. */
export interface SweepOptions {
  /** The configuration, or its file (YAML or JSON): docs/studies.md. */
  config: string | SweepConfig
  /** Folder of the sweep; each cell's run folder is in it. May hold what an earlier call left. */
  out: string
  /** Only these cells: the `index`-th (from 1) of `of` parts. Together the parts are all cells. */
  shard?: { index: number; of: number }
  /**
   * Cells that are trained in one pass at most, where they can be: those of one task with the same steps and batch sizes. Each has
   * the numbers and the files that it has alone, but for rounding and times. Default: as many as memory allows, up
   * to 16; 1: each alone.
   */
  together?: number
  /** Stops after the step at hand; called again, the sweep goes on. */
  signal?: AbortSignal
}

const WAIT_MS = 1000

const shardSchema = z.strictObject({ index: z.int().min(1), of: z.int().min(1) })
const togetherSchema = z.int().min(1).optional()

/**
 * Runs every cell of a grid, and yields what happens. Finished cells are kept: called again, a sweep goes
 * on where it was. A cell that fails is recorded and tried again by the next call; one whose loss
 * diverged is a result. Several processes may work on one folder: each takes all cells of a pass, so give `together` or `shard`
 * there.
 *
 * @example
 * for await (const event of sweep({ config: 'recipes/ablation.yaml', out: 'runs/ablation' })) console.log(event)
 * await report({ folders: ['runs/ablation'], out: 'ablation.html' })
 *
 * @throws RangeError for a configuration that is wrong, with the path of the field; LoptError
 *   `ERR_ABORTED`, `ERR_IO` for the sweep's folder, and what opening the backbone or a task throws.
 */
export async function* sweep(options: SweepOptions): AsyncGenerator<SweepEvent> {
  const started = performance.now()
  const { signal } = options
  const shard = checked(shardSchema, options.shard ?? { index: 1, of: 1 })
  checked(togetherSchema, options.together, 'together')
  if (shard.index > shard.of) {
    throw new RangeError(`Expected shard in 1..${shard.of} but received ${shard.index}`)
  }
  const config = readSweepConfig(options.config)
  const cells = expandCells(config)
  const groups = groupCells(cells, config.select, shard)
  const study = await Study.open(config, cells, options)
  const counts = { done: 0, diverged: 0, failed: 0, impossible: 0, changed: 0 }
  try {
    await study.save()
    const own = groups.flatMap(({ first, later }) => [...first, ...later])
    const isImpossible = ({ name }: Cell) => study.impossible.has(name)
    yield {
      type: 'plan',
      cells: own.length,
      groups: groups.length,
      total: cells.length,
      impossible: own.filter(isImpossible).length,
    }
    const settled = new Set<string>()
    const run = async function* (cells: readonly Cell[]): AsyncGenerator<SweepEvent> {
      const left = cells.filter(({ name }) => !settled.has(name))
      for await (const event of study.run(left)) {
        if (event.type === 'cell') {
          settled.add(event.cell)
          counts[event.status] += 1
        }
        yield event
      }
    }
    const areSettled = (cells: readonly Cell[]) =>
      cells.every(({ name }) => settled.has(name))
    let open: readonly Group[] = groups
    while (open.length > 0) {
      yield* run(open.flatMap(({ first }) => first))
      const later = new Map<Group, readonly Cell[]>()
      for (const group of open.filter(({ first }) => areSettled(first))) {
        const chosen = await study.chosen(group)
        if (chosen.event) yield chosen.event
        later.set(group, chosen.cells)
      }
      yield* run([...later.values()].flat())
      const busy = open.filter((group) => !areSettled(later.get(group) ?? group.first))
      if (busy.length > 0) {
        const names = busy.flatMap(({ first }) => first.map(({ name }) => name))
        if (open === groups) yield { type: 'waiting', cells: names }
        checkAborted(signal)
        await wait(WAIT_MS)
      }
      open = busy
    }
  } finally {
    study.dispose()
  }
  yield { type: 'done', counts, seconds: (performance.now() - started) / 1000 }
}
