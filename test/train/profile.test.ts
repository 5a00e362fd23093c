// Traces of training steps.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  type Backbone,
  loadBackbone,
  type ProfileOptions,
  type TrainOptions,
} from '../../lib/index.js'
import { createPrompt, type PromptConfig } from '../../lib/prompt/index.js'
import { selectWeights } from '../../lib/run/index.js'
import { recordOps } from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import { fixture } from '../backbone/golden.js'
import { temporaryFolder } from '../cli/run-cli.js'
import { bytesOf, loadSmall, run, task } from './small-runs.js'

interface TraceEvent {
  ph: string
  name: string
  cat: string
  pid: number
  tid: number
  ts: number
  dur: number
  args: { inputs?: string[]; noOpMs?: number; name?: string }
}

/** Two clocks are read one after the other. */
const SKEW_NS = 200_000

let backbone: Backbone
const folder = temporaryFolder()
let files = 0

beforeAll(async () => {
  backbone = await loadSmall()
})

/** A run that writes a trace, what it gave, and the trace. */
async function profiled(
  options: Omit<Partial<TrainOptions>, 'profile'> & { profile?: Partial<ProfileOptions> },
  shape: Partial<PromptConfig> = {},
) {
  const path = join(folder, `made ${++files}`, 'trace.json')
  const { profile, backbone: model = backbone } = options
  const prompt = createPrompt(model, { length: 4, rank: 2, ...shape })
  const { events } = await run({
    ...options,
    backbone: model,
    prompt,
    profile: { path, ...profile },
  })
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '{"traceEvents":[]}'
  const trace = JSON.parse(text) as { traceEvents: TraceEvent[] }
  const complete = trace.traceEvents.filter(({ ph }) => ph === 'X')
  return { events, prompt, path, trace, complete }
}

function stepsOf(events: readonly TraceEvent[]): string[] {
  return events.filter(({ cat }) => cat === 'step').map(({ name }) => name)
}

function phasesOf(events: readonly TraceEvent[]): Set<string> {
  return new Set(events.filter(({ cat }) => cat === 'phase').map(({ name }) => name))
}

/** Microseconds to whole nanoseconds, as they were before they were written. */
function times({ ts, dur }: TraceEvent): [number, number] {
  const start = Math.round(ts * 1e3)
  return [start, start + Math.round(dur * 1e3)]
}

describe('a trace', () => {
  let made: Awaited<ReturnType<typeof profiled>>
  beforeAll(async () => {
    made = await profiled({ steps: 6, accumulate: 2 })
  })

  test('shows three steps behind three others', () => {
    expect(stepsOf(made.complete)).toEqual(['step 4', 'step 5', 'step 6'])
    expect(made.events.filter(({ type }) => type === 'profile')).toEqual([
      { type: 'profile', step: 6, path: made.path },
    ])
  })

  test('holds complete events and names of rows, and nothing else', () => {
    const { traceEvents } = made.trace
    expect(new Set(traceEvents.map(({ ph }) => ph))).toEqual(new Set(['M', 'X']))
    const wrong = made.complete.filter(
      ({ name, cat, pid, tid, ts, dur }) =>
        !(name && cat && pid === 1 && Number.isInteger(tid) && ts >= 0 && dur >= 0),
    )
    expect(wrong).toEqual([])
    const rows = traceEvents.filter(({ name }) => name === 'thread_name')
    const named = new Set(rows.map(({ tid }) => tid))
    expect(new Set(made.complete.map(({ tid }) => tid))).toEqual(named)
    expect(rows.map(({ args }) => args.name).slice(0, 2)).toEqual([
      'phases',
      'no op runs',
    ])
  })

  test('holds on each row spans within or behind each other, the outer one first', () => {
    for (const row of new Set(made.complete.map(({ tid }) => tid))) {
      const spans = made.complete.filter(({ tid }) => tid === row).map(times)
      const open: number[] = []
      let last = 0
      for (const [start, end] of spans) {
        expect(start).toBeGreaterThanOrEqual(last)
        last = start
        while (open.length > 0 && (open.at(-1) as number) <= start) open.pop()
        const outer = open.at(-1) ?? Number.POSITIVE_INFINITY
        if (end > outer)
          expect.fail(`${start}..${end} ends behind ${outer}, on row ${row}`)
        open.push(end)
      }
    }
  })

  test('names the phases of a step, each as often as it came', () => {
    expect(phasesOf(made.complete)).toEqual(
      new Set([
        'prompt',
        'embed',
        'runWithPrefixes',
        'head',
        'loss',
        'backward',
        'optimizer',
        'other JavaScript',
      ]),
    )
    const often = (wanted: string) =>
      made.complete.filter(({ name, cat }) => name === wanted && cat === 'phase').length
    // Three steps of two parts: the prefix runs with the text behind it.
    expect([often('prompt'), often('runWithPrefixes'), often('head')]).toEqual([6, 6, 6])
    expect([often('backward'), often('optimizer')]).toEqual([6, 6])
  })

  test('holds each op within a step and its phase, with the shapes that it read', () => {
    const spanOf = (wanted: string) =>
      made.complete.filter(({ name, cat }) => name === wanted && cat !== 'op').map(times)
    const isWithin = (event: TraceEvent, spans: [number, number][]) => {
      const [start, end] = times(event)
      return spans.some(([from, to]) => from - SKEW_NS <= start && end <= to + SKEW_NS)
    }
    const steps = ['step 4', 'step 5', 'step 6'].flatMap(spanOf)
    const ops = made.complete.filter(({ cat }) => cat === 'op' || cat === 'backward')
    expect(ops.every((op) => isWithin(op, steps))).toBe(true)
    const backwardOps = ops.filter(({ cat }) => cat === 'backward')
    expect(backwardOps.length).toBeGreaterThan(0)
    expect(backwardOps.every((op) => isWithin(op, spanOf('backward')))).toBe(true)
    // U [4, 2] V [2, 32] of LoPT-1
    const product = ops.find(
      ({ name, args }) =>
        name === 'aten::mm' &&
        args.inputs?.join() === 'float32 [4, 2] cpu,float32 [2, 32] cpu',
    )
    expect(product && isWithin(product, spanOf('prompt'))).toBe(true)
    const layers = ops.filter(({ name }) => name === 'aten::scaled_dot_product_attention')
    expect(layers.length).toBeGreaterThan(0)
    expect(layers.every((op) => isWithin(op, spanOf('runWithPrefixes')))).toBe(true)
  })

  test('shows the time in which no op runs, and how much it is', () => {
    const idle = made.complete.filter(({ cat }) => cat === 'gap').map(times)
    const ops = made.complete
      .filter(({ cat }) => cat === 'op' || cat === 'backward')
      .map(times)
    const busy = idle.filter(([start, end]) =>
      ops.some(([from, to]) => from < end && start < to),
    )
    expect(busy).toEqual([])
    for (const { dur, args } of made.complete.filter(({ cat }) => cat === 'step')) {
      expect(args.noOpMs).toBeGreaterThan(0)
      expect(args.noOpMs).toBeLessThan(dur / 1e3)
    }
  })

  test('leaves no other file behind', () => {
    expect(readdirSync(join(made.path, '..'))).toEqual(['trace.json'])
  })
})

test('the steps and the warm-up can be chosen; a short run gives what it has', async () => {
  const chosen = await profiled({ steps: 6, profile: { steps: 2, warmupSteps: 1 } })
  expect(stepsOf(chosen.complete)).toEqual(['step 2', 'step 3'])
  const types = chosen.events.map(({ type }) => type)
  expect(types.slice(0, 5)).toEqual(['start', 'step', 'step', 'step', 'profile'])
  const short = await profiled({ steps: 2 })
  expect(stepsOf(short.complete)).toEqual(['step 1', 'step 2'])
  const tight = await profiled({ steps: 4 })
  expect(stepsOf(tight.complete)).toEqual(['step 2', 'step 3', 'step 4'])
})

test("a T5's encoder and decoder are phases", async () => {
  const t5 = await loadBackbone(fixture('t5-plain'))
  const { complete } = await profiled({ backbone: t5, steps: 1 })
  const calls = ['embed', 'encode', 'decodeEncoded', 'head']
  expect([...phasesOf(complete)]).toEqual(expect.arrayContaining(calls))
  const plain = await profiled({ backbone: t5, steps: 1, fastPaths: false })
  const others = ['crossKeyValues', 'decode']
  expect([...phasesOf(plain.complete)]).toEqual(expect.arrayContaining(others))
  t5.dispose()
})

test('weights that are trained without a prompt are shown too', async () => {
  const path = join(folder, 'weights.json')
  const weights = selectWeights(backbone, /ln_f/)
  const events = train({ backbone, weights, task, steps: 1, profile: { path } })
  for await (const _ of events);
  expect(JSON.parse(readFileSync(path, 'utf8')).traceEvents).toContainEqual(
    expect.objectContaining({ name: 'NativeLayerNormBackward0', cat: 'backward' }),
  )
})

test('checkpointed layers run again within the backward phase', async () => {
  const { complete } = await profiled({ steps: 1, checkpointLayers: 1 })
  const backward = complete.find(({ name }) => name === 'backward') as TraceEvent
  const [from, to] = times(backward)
  const again = complete.filter((event) => {
    const [start, end] = times(event)
    return event.name === 'run' && from <= start && end <= to
  })
  expect(again.length).toBeGreaterThan(0)
})

test('kept texts of a suffix prompt run in the phase of the loss', async () => {
  const { complete } = await profiled(
    { steps: 24, profile: { steps: 1, warmupSteps: 0 } },
    { placement: 'suffix' },
  )
  const [from, to] = times(complete.find(({ name }) => name === 'loss') as TraceEvent)
  const runs = complete.filter(({ name }) => name === 'run')
  expect(runs.length).toBeGreaterThan(1) // the texts, then the prompt
  for (const event of runs) {
    const [start, end] = times(event)
    expect(from <= start && end <= to).toBe(true)
  }
})

test('a profiled run gives the same events and the same prompt, to the bit', async () => {
  const prompt = createPrompt(backbone, { length: 4, rank: 2 })
  const plain = await run({ backbone, prompt })
  const { events, prompt: same } = await profiled({})
  const losses = (some: typeof events) =>
    some.flatMap((event) => (event.type === 'step' ? [event.loss] : []))
  expect(losses(events)).toEqual(losses(plain.events))
  expect(bytesOf(same)).toEqual(bytesOf(prompt))
  expect(plain.events.some(({ type }) => type === 'profile')).toBe(false)
})

test('config.json does not speak of a profile, so that a run goes on with one or without', async () => {
  const out = join(folder, 'run')
  await profiled({ steps: 4, out, checkpointEvery: 2 })
  const { training } = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))
  expect(Object.keys(training)).not.toContain('profile')
  const prompt = createPrompt(backbone, { length: 4, rank: 2 })
  const { events } = await run({
    backbone,
    prompt,
    steps: 4,
    out,
    checkpointEvery: 2,
    resume: true,
  })
  expect(events.at(-1)?.type).toBe('done')
})

test('a step that fails ends the recording and writes nothing', async () => {
  const wrong = profiled({ learningRate: 1e30, clip: 0, profile: { warmupSteps: 0 } })
  await expect(wrong).rejects.toMatchObject({ code: 'ERR_NON_FINITE_LOSS' })
  expect(existsSync(join(folder, `made ${files}`))).toBe(false)
  expect((await recordOps(() => 1)).value).toBe(1)
})

test('a file that cannot be written is ERR_IO', async () => {
  const path = folder
  await expect(run({ backbone, steps: 1, profile: { path } })).rejects.toMatchObject({
    code: 'ERR_IO',
  })
})

test('settings out of range are refused by name', async () => {
  const path = join(folder, 'x.json')
  for (const profile of [
    { path, steps: 0 },
    { path, steps: 101 },
    { path, warmupSteps: -1 },
    { path: '' },
  ]) {
    await expect(run({ backbone, profile })).rejects.toThrow(/profile/)
  }
})
