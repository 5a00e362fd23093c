// A sweep's folder, and what its cells share: the model, the tasks, the passes. Knows no groups of cells, and not when they
// are run.

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../atomic-file.js'
import type { Backbone } from '../backbone/index.js'
import { checkAborted, LoptError } from '../errors.js'
import { tryLock } from '../hub/index.js'
import { isLessBetter } from '../run/index.js'
import type { Task } from '../task/index.js'
import { type Cell, differences, type Group, settingsHash } from './cells.js'
import { type CellResult, readResult, writeResult } from './result-file.js'
import { openBackbone, openTask, runCell, whyImpossible } from './run-cell.js'
import { mostTogether, passKey, runTogether } from './run-together.js'
import type { RunSettings } from './settings.js'
import type { SweepOptions } from './sweep.js'
import { type ReadSweepConfig, withAbsolutePaths } from './sweep-config.js'
import type { SweepEvent } from './sweep-events.js'

export const SWEEP_FILE = 'sweep.json'

/** A sweep's folder and what its cells share: the model, the tasks. */
export class Study {
  /** Cells that cannot be, with the reason. */
  readonly impossible = new Map<string, string>()
  readonly #config: ReadSweepConfig
  readonly #cells: readonly Cell[]
  readonly #out: string
  readonly #signal: AbortSignal | undefined
  readonly #together: number | undefined
  readonly #backbone: Backbone
  readonly #tasks = new Map<string, Task>()

  private constructor(
    config: ReadSweepConfig,
    cells: readonly Cell[],
    { out, signal, together }: SweepOptions,
    backbone: Backbone,
  ) {
    this.#config = config
    this.#cells = cells
    this.#out = out
    this.#signal = signal
    this.#together = together
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

  /**
   * Runs cells, in one pass those that may share it, but none that has a result or cannot be, and none that another process
   * is at: then nothing is yielded.
   */
  async *run(cells: readonly Cell[]): AsyncGenerator<SweepEvent> {
    const left: Cell[] = []
    for (const cell of cells) {
      checkAborted(this.#signal)
      const kept = await this.#kept(cell)
      if (kept) yield kept
      else left.push(cell)
    }
    for (const pass of this.#passes(left)) {
      const taken: { cell: Cell; release: () => Promise<void> }[] = []
      try {
        for (const cell of pass) {
          checkAborted(this.#signal)
          const release = await this.#take(cell)
          if (release !== undefined) taken.push({ cell, release })
        }
        yield* this.#runTaken(taken.map(({ cell }) => cell))
      } finally {
        for (const { release } of taken) await release()
      }
    }
  }

  /** Cells that may share a pass, as many as may, in the order of the first of each. */
  #passes(cells: readonly Cell[]): Cell[][] {
    const settings = cells.map(({ settings }) => settings)
    const most = this.#together ?? mostTogether(settings, this.#backbone)
    const passes: Cell[][] = []
    const open = new Map<string, Cell[]>()
    for (const cell of cells) {
      const key = passKey(cell.settings)
      const last = key === undefined ? undefined : open.get(key)
      if (last !== undefined && last.length < most) {
        last.push(cell)
        continue
      }
      const pass = [cell]
      passes.push(pass)
      if (key !== undefined) open.set(key, pass)
    }
    return passes
  }

  /** Holds a cell's folder, unless another process does or has just finished it. */
  async #take({ name }: Cell): Promise<(() => Promise<void>) | undefined> {
    const folder = join(this.#out, name)
    await mkdir(join(folder, '..'), { recursive: true })
    return await tryLock(`${folder}.lock`)
  }

  /** Runs cells whose folders are held. */
  async *#runTaken(taken: readonly Cell[]): AsyncGenerator<SweepEvent> {
    const cells: Cell[] = []
    for (const cell of taken) {
      const found = await this.#kept(cell) // it may have been finished meanwhile
      if (found) yield found
      else cells.push(cell)
    }
    for (const { name, settings } of cells) {
      yield { type: 'cell-start', cell: name, settings }
    }
    if (cells.length > 1) yield* this.#runTogether(cells)
    else for (const cell of cells) yield* this.#runAlone(cell)
  }

  async *#runTogether(cells: readonly Cell[]): AsyncGenerator<SweepEvent> {
    const whole = cells.map(({ name, settings }) => ({
      settings: this.#whole(settings),
      out: join(this.#out, name),
      hash: this.#hash(settings),
    }))
    const opened = {
      backbone: this.#backbone,
      task: await this.#task(whole[0]?.settings as RunSettings),
    }
    const at = (place: number) => cells[place] as Cell
    const alone: Cell[] = []
    for await (const one of runTogether(whole, opened, this.#signal)) {
      if ('event' in one) {
        yield { type: 'train', cell: at(one.cell).name, event: one.event }
      } else if ('result' in one) {
        yield await this.#settled(at(one.cell), one.result)
      } else {
        const apart = one.alone.map(at)
        const names = apart.map(({ name }) => name)
        alone.push(...apart)
        if (one.reason) yield { type: 'apart', cells: names, reason: one.reason }
      }
    }
    for (const cell of alone) yield* this.#runAlone(cell)
  }

  async *#runAlone(cell: Cell): AsyncGenerator<SweepEvent> {
    const { name, settings } = cell
    const whole = this.#whole(settings)
    const opened = { backbone: this.#backbone, task: await this.#task(whole) }
    const running = runCell(whole, opened, {
      out: join(this.#out, name),
      hash: this.#hash(settings),
      signal: this.#signal,
    })
    try {
      let next = await running.next()
      while (!next.done) {
        yield { type: 'train', cell: name, event: next.value }
        next = await running.next()
      }
      yield await this.#settled(cell, next.value)
    } catch (error) {
      // A process whose hold went stale is at it all the same.
      if (!(error instanceof LoptError && error.code === 'ERR_LOCKED')) throw error
    } finally {
      await running.return(undefined as never)
    }
  }

  /** Writes a cell's result, its settings as they were given. */
  async #settled({ name, settings }: Cell, found: CellResult): Promise<SweepEvent> {
    const result = { ...found, settings }
    await writeResult(join(this.#out, name), result)
    const { status, error } = result
    const event = { type: 'cell', cell: name, status, kept: false, result } as const
    return error ? { ...event, reason: `${error.code}: ${error.message}` } : event
  }

  /** The later cells of a group that have the value that was best on dev. */
  async chosen({ first, later }: Group): Promise<{
    cells: readonly Cell[]
    event?: SweepEvent
  }> {
    const { select } = this.#config
    if (select === undefined || later.length === 0) return { cells: [] }
    const compared: { cell: string; figure: number; value: unknown }[] = []
    let isLess = false
    for (const { name: cell, settings } of first) {
      const result = await readResult(join(this.#out, cell))
      const name = select.by ?? result?.task.metric ?? ''
      const figure = result?.dev?.[name]
      isLess = isLessBetter(name)
      if (result?.hash !== this.#hash(settings) || result.status !== 'done') continue
      if (figure === undefined) {
        throw new RangeError(
          `select.by: Expected one of ${Object.keys(result.dev ?? {}).join(', ')}, the figures on ` +
            `dev, but received ${select.by}`,
        )
      }
      compared.push({ cell, figure, value: settings[select.over] })
    }
    // Nothing was possible, or nothing learned: the other seeds have nothing to run with.
    if (compared.length === 0) {
      return { cells: later.filter(({ name }) => this.impossible.has(name)) }
    }
    const isBetter = (figure: number, other: number) =>
      isLess ? figure < other : figure > other
    const best = compared.reduce((a, b) => (isBetter(b.figure, a.figure) ? b : a))
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

  /** What became of a cell that is not to be run: it has a result, or cannot be. */
  async #kept(cell: Cell): Promise<Extract<SweepEvent, { type: 'cell' }> | undefined> {
    const { name, settings } = cell
    const reason = this.impossible.get(name)
    if (reason !== undefined) {
      return { type: 'cell', cell: name, status: 'impossible', kept: false, reason }
    }
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
