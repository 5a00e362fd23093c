// `lopt sweep`: runs a grid. Parses, prints, and leaves the rest to `sweep`.

import type { Command } from 'commander'
import { z } from 'zod'
import { type CellResult, type SweepEvent, sweep } from '../index.js'
import { askedEvents } from './failure.js'
import type { Context } from './interrupt.js'
import {
  addCommand,
  integer,
  jsonOption,
  optional,
  optionValues,
  path,
  required,
} from './options.js'
import { duration, type Output, oneLine, percent, table } from './output.js'

const shard = z
  .string()
  .regex(/^[1-9]\d{0,5}\/[1-9]\d{0,5}$/, 'Expected i/N, such as 1/4.')
  .transform((text) => {
    const [index, of] = text.split('/').map(Number)
    return { index: index as number, of: of as number }
  })
  .refine(({ index, of }) => index <= of, 'Expected i/N with i in 1..N.')

const options = {
  config: required('--config <file>', 'the grid, as YAML or JSON: docs/studies.md', path),
  out: required('--out <dir>', 'folder of the sweep; one there is gone on with', path),
  shard: optional(
    '--shard <i/N>',
    'only the i-th of N parts, to split a sweep over machines',
    shard,
  ),
  together: optional(
    '--together <n>',
    'cells that are trained in one pass at most; 1: each alone',
    integer(1),
    'as many as memory allows, up to 16',
  ),
  json: jsonOption,
}

const HELP = `
Cells of one task with the same steps and batch sizes share a pass: each has the numbers that it has alone, but for
rounding, and the time is shared. Finished cells are kept: the same command goes on where it was stopped, and several
processes may work on one folder (with --together or --shard, so that one does not take all cells of a pass). A cell
that fails is recorded and does not stop the others; the exit code is then 1.

Examples:
  npx lopt sweep --config recipes/ablation.yaml --out runs/ablation
  npx lopt sweep --config recipes/ablation.yaml --out runs/ablation --shard 2/4
  npx lopt report runs/ablation --out ablation.html`

export function addSweep(
  program: Command,
  { output, signal }: Context,
  fail: () => void,
): void {
  const command = addCommand(program, 'sweep', {
    description: 'Runs every combination of a grid, and evaluates each on test.',
    help: HELP,
    options: { 'Options:': options },
  })
  command.action(async () => {
    const { config, out, shard, together } = optionValues(command, options)
    const parts = {
      ...(shard !== undefined && { shard }),
      ...(together !== undefined && { together }),
    }
    const say = createNarrator(output)
    for await (const event of askedEvents(sweep({ config, out, ...parts, signal }))) {
      output.event(flat(event))
      say(event)
      if (event.type !== 'done') continue
      if (event.counts.failed + event.counts.changed > 0) fail()
    }
  })
}

/** A training event as a line of its own, with the cell it is of. */
function flat(event: SweepEvent): Record<string, unknown> {
  return event.type === 'train' ? { ...event.event, cell: event.cell } : { ...event }
}

/** A line at most this often about a cell's steps. */
const quietMs = 10_000

function createNarrator(output: Output): (event: SweepEvent) => void {
  let cells = 0
  let settled = 0
  let lastLine = 0
  return (event) => {
    if (event.type === 'plan') {
      cells = event.cells
      const part = event.cells === event.total ? '' : ` of ${event.total}`
      output.note(`${event.cells}${part} cells, ${event.impossible} of them impossible`)
    } else if (event.type === 'train' && event.event.type === 'step') {
      const now = performance.now()
      if (now - lastLine < quietMs) return
      lastLine = now
      const { step, loss } = event.event
      output.note(`        ${event.cell}  step ${step}  loss ${loss.toFixed(4)}`)
    } else if (event.type === 'cell') {
      settled += 1
      lastLine = performance.now()
      const place = `${settled}/${cells}`.padStart(7)
      output.note(`${place} ${event.cell}  ${outcome(event)}`)
    } else if (event.type === 'select') {
      output.note(`        ${event.over} ${event.value} is the best on dev`)
    } else if (event.type === 'apart') {
      output.note(
        `        ${event.cells.length} cells are run one by one: ${event.reason}`,
      )
    } else if (event.type === 'waiting') {
      output.note(
        `        waiting for other processes: ${oneLine(event.cells.join(', '), 200)}`,
      )
    } else if (event.type === 'done') {
      const counts = Object.entries(event.counts).filter(([, count]) => count > 0)
      output.print(
        `${table(
          counts.map(([status, count]) => [status, String(count)]),
          [1],
        )}\n${duration(event.seconds)}`,
      )
    }
  }
}

function outcome(event: Extract<SweepEvent, { type: 'cell' }>): string {
  const { status, kept, reason, result } = event
  const words = [status + (kept && status !== 'changed' ? ', kept' : '')]
  if (status === 'done' && result) words.push(...figures(result))
  if (reason) words.push(reason)
  return words.join('  ')
}

function figures({ task, dev, test, seconds }: CellResult): string[] {
  const shown = (name: string, found: CellResult['dev']) => {
    const value = found?.[task.metric]
    return value === undefined ? [] : [`${name} ${percent(value)}`]
  }
  return [...shown('dev', dev), ...shown('test', test), duration(seconds.train)]
}
