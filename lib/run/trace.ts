// Recorded steps as a Chrome trace, the JSON that chrome://tracing and Perfetto open (Google, "Trace Event
// Format"). Records nothing and writes no file.

import { native, packageVersion } from '../native.js'
import type { RecordedOp } from '../torch/index.js'

/** A stretch of `performance.now()`. */
export interface Span {
  readonly name: string
  readonly startMs: number
  readonly endMs: number
}

export interface RecordedStep {
  /** When the ops' clock began. */
  readonly startMs: number
  /** The step itself and its phases, each behind those within it. */
  readonly spans: readonly Span[]
  readonly ops: readonly RecordedOp[]
}

/** Whole nanoseconds: rounded numbers keep the order of what they stand for, so that spans still nest. */
interface Interval {
  readonly start: number
  readonly end: number
}

// Rows of the trace; those of the ops lie below, one for each of libtorch's threads.
const PROCESS = 1
const PHASES = 1
const NO_OP = 2
const FIRST_THREAD = 3

/** Shorter ones are not drawn: the recorder's own time between two ops is in them. */
const LEAST_GAP_NS = 1000

/** The file in parts, one a step. Time begins with the first step. */
export async function* traceChunks(
  steps: readonly RecordedStep[],
): AsyncGenerator<Uint8Array> {
  const threads = new Set(steps.flatMap(({ ops }) => ops.map(({ thread }) => thread)))
  const rows = [...threads].sort((a, b) => a - b)
  const rowOf = new Map(rows.map((thread, i) => [thread, FIRST_THREAD + i]))
  const lines = [
    named('process_name', PHASES, 'lopt train'),
    named('thread_name', PHASES, 'phases'),
    named('thread_name', NO_OP, 'no op runs'),
    ...rows.map((thread, i) =>
      named('thread_name', FIRST_THREAD + i, `ops, libtorch thread ${thread}`),
    ),
  ]
  const { torchVersion, products } = native()
  const otherData = { lopt: packageVersion(), torch: torchVersion, products }
  const head = `{"displayTimeUnit":"ms","otherData":${JSON.stringify(otherData)},"traceEvents":[\n`
  yield Buffer.from(head + textOf(lines))
  const zeroMs = steps[0]?.startMs ?? 0
  for (const step of steps) {
    yield Buffer.from(`,\n${textOf(stepEvents(step, zeroMs, rowOf))}`)
  }
  yield Buffer.from('\n]}\n')
}

function textOf(events: readonly object[]): string {
  return events.map((event) => JSON.stringify(event)).join(',\n')
}

function stepEvents(
  { startMs, spans, ops }: RecordedStep,
  zeroMs: number,
  rowOf: ReadonlyMap<number, number>,
): object[] {
  const phases = spans.map(({ name, startMs, endMs }) => ({
    name,
    start: Math.round((startMs - zeroMs) * 1e6),
    end: Math.round((endMs - zeroMs) * 1e6),
  }))
  const began = (startMs - zeroMs) * 1e6
  const ran = ops.map((op) => ({
    op,
    start: Math.round(began + op.startUs * 1e3),
    end: Math.round(began + (op.startUs + op.durationUs) * 1e3),
  }))
  const whole = phases.at(-1) as (typeof phases)[number]
  const idle = gaps(whole, ran)
  const noOpNs = idle.reduce((sum, { start, end }) => sum + end - start, 0)
  const drawn = (gap: Interval) => gap.end - gap.start >= LEAST_GAP_NS
  // Those that ended last first: of spans with the same times the outer one comes first.
  const inner = [...phases].reverse().slice(1)
  const events = [
    complete(whole.name, 'step', PHASES, whole, { noOpMs: noOpNs / 1e6 }),
    ...inner.map((phase) => complete(phase.name, 'phase', PHASES, phase)),
    ...gaps(whole, inner)
      .filter(drawn)
      .map((gap) => complete('other JavaScript', 'phase', PHASES, gap)),
    ...idle.filter(drawn).map((gap) => complete('no op', 'gap', NO_OP, gap)),
    ...ran.reverse().map(({ op, ...times }) => {
      const category = op.backward ? 'backward' : 'op'
      const inputs = op.inputs.map(
        ({ dtype, shape, device }) => `${dtype} [${shape.join(', ')}] ${device}`,
      )
      return complete(op.name, category, rowOf.get(op.thread) as number, times, {
        inputs,
      })
    }),
  ]
  return events.sort((a, b) => a.ts - b.ts || b.dur - a.dur)
}

/** What of `whole` none of `intervals` covers. */
function gaps(whole: Interval, intervals: readonly Interval[]): Interval[] {
  const found: Interval[] = []
  let covered = whole.start
  for (const { start, end } of [...intervals].sort((a, b) => a.start - b.start)) {
    if (start > covered) found.push({ start: covered, end: Math.min(start, whole.end) })
    covered = Math.max(covered, end)
  }
  if (whole.end > covered) found.push({ start: covered, end: whole.end })
  return found.filter(({ start, end }) => end > start)
}

/** A "complete" event; the format's times are microseconds. */
function complete(
  name: string,
  cat: string,
  tid: number,
  { start, end }: Interval,
  args: object = {},
): { ts: number; dur: number } {
  const event = { ph: 'X', name, cat, pid: PROCESS, tid, args }
  return { ...event, ts: start / 1e3, dur: (end - start) / 1e3 }
}

function named(what: string, tid: number, name: string): object {
  return { ph: 'M', name: what, pid: PROCESS, tid, args: { name } }
}
