// Runs a sweep: its cells one after the other, each once, whatever happens to some of them. Trains and
// evaluates nothing itself.

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import { writeFileAtomic } from '../atomic-file.js'
import type { Backbone } from '../backbone/index.js'
import { checkAborted, LoptError } from '../errors.js'
import { checked } from '../fields.js'
import { tryLock } from '../hub/index.js'
import type { TrainEvent } from '../run/index.js'
import type { Task } from '../task/index.js'
import {
  type Cell,
  differences,
  expandCells,
  type Group,
  groupCells,
  settingsHash,
} from './cells.js'
import { type CellResult, readResult, writeResult } from './result-file.js'
import { openBackbone, openTask, runCell, whyImpossible } from './run-cell.js'
import type { RunSettings } from './settings.js'
import {
  type ReadSweepConfig,
  readSweepConfig,
  type SweepConfig,
  withAbsolutePaths,
} from './sweep-config.js'

export const SWEEP_FILE = 'sweep.json'

export interface SweepOptions {
  /** The configuration, or its file (YAML or JSON): docs/studies.md. */
  config: string | SweepConfig
  /** Folder of the sweep; each cell's run folder is in it. May hold what an earlier call left. */
  out: string
  /** Only these cells: the `index`-th (from 1) of `of` parts. Together the parts are all cells. */
  shard?: { index: number; of: number }
  /** Stops after the step at hand; called again, the sweep goes on. */
  signal?: AbortSignal
}

/** What became of a cell. */
export type CellStatus = CellResult['status'] | 'impossible' | 'changed'

export type SweepEvent =
  | {
      readonly type: 'plan'
      /** Of this shard. */
      readonly cells: number
      readonly groups: number
      /** Of the whole sweep. */
      readonly total: number
      readonly impossible: number
    }
  | { readonly type: 'cell-start'; readonly cell: string; readonly settings: RunSettings }
  | { readonly type: 'train'; readonly cell: string; readonly event: TrainEvent }
  | {
      readonly type: 'cell'
      readonly cell: string
      readonly status: CellStatus
      /** Whether an earlier call finished it. */
      readonly kept: boolean
      /** Why it is impossible, what changed, or what failed. */
      readonly reason?: string
      readonly result?: CellResult
    }
  | {
      readonly type: 'select'
      readonly over: string
      readonly value: unknown
      /** The cells that were compared, with their figure on dev. */
      readonly compared: readonly { readonly cell: string; readonly figure: number }[]
    }
  /** Other processes run these cells of the folder: the sweep waits for them. */
  | { readonly type: 'waiting'; readonly cells: readonly string[] }
  | {
      readonly type: 'done'
      readonly counts: Readonly<Record<CellStatus, number>>
      readonly seconds: number
    }

const WAIT_MS = 1000

const shardSchema = z.strictObject({ index: z.int().min(1), of: z.int().min(1) })

/**
 * Runs every cell of a grid, and yields what happens. Finished cells are kept: called again, a sweep goes
 * on where it was. A cell that fails is recorded and tried again by the next call; one whose loss
 * diverged is a result. Several processes may work on one folder.
 *
 * @throws RangeError for a configuration that is wrong, with the path of the field; LoptError
 *   `ERR_ABORTED`, `ERR_IO` for the sweep's folder, and what opening the backbone or a task throws.
 */
export async function* sweep(options: SweepOptions): AsyncGenerator<SweepEvent> {
  const started = performance.now()
  const { signal } = options
  const shard = checked(shardSchema, options.shard ?? { index: 1, of: 1 })
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
    const run = async function* (cell: Cell): AsyncGenerator<SweepEvent> {
      if (settled.has(cell.name)) return
      for await (const event of study.run(cell)) {
        if (event.type === 'cell') {
          settled.add(cell.name)
          counts[event.status] += 1
        }
        yield event
      }
    }
    let open: readonly Group[] = groups
    while (open.length > 0) {
      const busy: Group[] = []
      for (const group of open) {
        for (const cell of group.first) yield* run(cell)
        const ready = group.first.every(({ name }) => settled.has(name))
        const later = ready ? await study.chosen(group) : undefined
        if (later?.event) yield later.event
        for (const cell of later?.cells ?? []) yield* run(cell)
        const isSettled = (later?.cells ?? []).every(({ name }) => settled.has(name))
        if (!ready || !isSettled) busy.push(group)
      }
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

/** A sweep's folder and what its cells share: the model, the tasks. */
class Study {
  /** Cells that cannot be, with the reason. */
  readonly impossible = new Map<string, string>()
  readonly #config: ReadSweepConfig
  readonly #cells: readonly Cell[]
  readonly #out: string
  readonly #signal: AbortSignal | undefined
  readonly #backbone: Backbone
  readonly #tasks = new Map<string, Task>()

  private constructor(
    config: ReadSweepConfig,
    cells: readonly Cell[],
    { out, signal }: SweepOptions,
    backbone: Backbone,
  ) {
    this.#config = config
    this.#cells = cells
    this.#out = out
    this.#signal = signal
    this.#backbone = backbone
  }

  static async open(
    config: ReadSweepConfig,
    cells: readonly Cell[],
    options: SweepOptions,
  ): Promise<Study> {
    const base = withAbsolutePaths(config.base, config.folder)
    const backbone = await openBackbone(base, options.signal)
    const study = new Study(config, cells, options, backbone)
    try {
      // Prompts that differ in seed and learning rate alone are possible together.
      const known = new Map<string, string | undefined>()
      for (const cell of cells) {
        checkAborted(options.signal)
        const { seed: _seed, learningRate: _rate, ...shape } = cell.settings
        const key = JSON.stringify(shape)
        if (!known.has(key)) known.set(key, await study.#whyImpossible(cell))
        const reason = known.get(key)
        if (reason !== undefined) study.impossible.set(cell.name, reason)
      }
      return study
    } catch (error) {
      study.dispose()
      throw error
    }
  }

  /** Writes which cells there are, and which cannot be: what a report shows of those without a run. */
  async save(): Promise<void> {
    const { base, grid, methods, tasks, select } = this.#config
    const text = JSON.stringify(
      {
        version: 1,
        config: { ...base, grid, methods, tasks, ...(select && { select }) },
        cells: this.#cells.map(({ name, settings }) => ({
          name,
          settings,
          ...(this.impossible.has(name) ? { impossible: this.impossible.get(name) } : {}),
        })),
      },
      null,
      2,
    )
    await mkdir(this.#out, { recursive: true })
    await writeFileAtomic(join(this.#out, SWEEP_FILE), Buffer.from(`${text}\n`))
  }

  /** Runs a cell, unless it has a result or another process is at it: then nothing is yielded. */
  async *run(cell: Cell): AsyncGenerator<SweepEvent> {
    checkAborted(this.#signal)
    const { name, settings } = cell
    const reason = this.impossible.get(name)
    if (reason !== undefined) {
      yield { type: 'cell', cell: name, status: 'impossible', kept: false, reason }
      return
    }
    const folder = join(this.#out, name)
    const kept = await this.#kept(cell)
    if (kept) {
      yield kept
      return
    }
    await mkdir(join(folder, '..'), { recursive: true })
    const release = await tryLock(`${folder}.lock`)
    if (release === undefined) return
    try {
      const found = await this.#kept(cell) // it may have been finished meanwhile
      if (found) {
        yield found
        return
      }
      yield { type: 'cell-start', cell: name, settings }
      const whole = this.#whole(settings)
      const opened = { backbone: this.#backbone, task: await this.#task(whole) }
      const running = runCell(whole, opened, {
        out: folder,
        hash: this.#hash(settings),
        signal: this.#signal,
      })
      try {
        let next = await running.next()
        while (!next.done) {
          yield { type: 'train', cell: name, event: next.value }
          next = await running.next()
        }
        const result = { ...next.value, settings }
        await writeResult(folder, result)
        const { status, error } = result
        const event = { type: 'cell', cell: name, status, kept: false, result } as const
        yield error ? { ...event, reason: `${error.code}: ${error.message}` } : event
      } catch (error) {
        // A process whose hold went stale is at it all the same.
        if (!(error instanceof LoptError && error.code === 'ERR_LOCKED')) throw error
      } finally {
        await running.return(undefined as never)
      }
    } finally {
      await release()
    }
  }

  /** The later cells of a group that have the value that was best on dev. */
  async chosen({ first, later }: Group): Promise<{
    cells: readonly Cell[]
    event?: SweepEvent
  }> {
    const { select } = this.#config
    if (select === undefined || later.length === 0) return { cells: [] }
    const compared: { cell: string; figure: number; value: unknown }[] = []
    for (const { name, settings } of first) {
      const result = await readResult(join(this.#out, name))
      const figure = result?.dev?.[select.by ?? result.task.metric]
      if (result?.hash !== this.#hash(settings) || result.status !== 'done') continue
      if (figure === undefined) {
        throw new RangeError(
          `select.by: Expected one of ${Object.keys(result.dev ?? {}).join(', ')}, the figures on ` +
            `dev, but received ${select.by}`,
        )
      }
      compared.push({ cell: name, figure, value: settings[select.over] })
    }
    // Nothing was possible, or nothing learned: the other seeds have nothing to run with.
    if (compared.length === 0) {
      return { cells: later.filter(({ name }) => this.impossible.has(name)) }
    }
    const best = compared.reduce((a, b) => (b.figure > a.figure ? b : a))
    return {
      cells: later.filter(({ settings }) => settings[select.over] === best.value),
      event: {
        type: 'select',
        over: select.over,
        value: best.value,
        compared: compared.map(({ cell, figure }) => ({ cell, figure })),
      },
    }
  }

  dispose(): void {
    this.#backbone.dispose()
  }

  async #kept(cell: Cell): Promise<Extract<SweepEvent, { type: 'cell' }> | undefined> {
    const { name, settings } = cell
    const result = await readResult(join(this.#out, name))
    if (result === undefined || result.status === 'failed') return undefined
    const event = { type: 'cell', cell: name, kept: true, result } as const
    if (result.hash === this.#hash(settings)) return { ...event, status: result.status }
    const changes = differences(result.settings, settings)
    if (result.backbone.fingerprint !== this.#backbone.fingerprint) {
      changes.push('another backbone')
    }
    return {
      ...event,
      status: 'changed',
      reason: `It was run with other settings (${changes.join(', ')}): remove its folder, or give another \`out\``,
    }
  }

  async #whyImpossible({ settings }: Cell): Promise<string | undefined> {
    const whole = this.#whole(settings)
    return whyImpossible(whole, {
      backbone: this.#backbone,
      task: await this.#task(whole),
    })
  }

  async #task(settings: RunSettings): Promise<Task> {
    const { task, data, evalData, testData, template, dataDir, templates, splits } =
      settings
    const key = JSON.stringify([
      ...[task, data, evalData, testData, template],
      ...[dataDir, templates, splits],
    ])
    const open = this.#tasks.get(key)
    if (open) return open
    const opened = await openTask(settings, this.#backbone, this.#signal)
    this.#tasks.set(key, opened)
    return opened
  }

  #whole(settings: RunSettings): RunSettings {
    return withAbsolutePaths(settings, this.#config.folder)
  }

  #hash(settings: RunSettings): string {
    return settingsHash(settings, this.#backbone.fingerprint)
  }
}
