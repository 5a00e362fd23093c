// What Prometheus reads, a registry for each server. Knows the engine's figures and no route.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Engine, EngineStats } from '../engine/index.js'

// A label's values are bounded: each is a series that Prometheus keeps for ever.
const MOST_PROMPTS = 200
const OTHER = 'other'

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const TOKEN_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384]

export interface Metrics {
  readonly registry: Registry
  /** A name as a label has it, whatever a client wrote. */
  promptLabel(name: string | undefined): string
  /** A request that is over. */
  request(of: { route: string; model: string | undefined; status: number }): void
  seconds(route: string, seconds: number): void
  /** From a request's arrival to the first token of a text. */
  firstToken(seconds: number): void
  /** Between a text's tokens. */
  perToken(seconds: number): void
  stop(): void
}

export function createMetrics(engine: Engine): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const histogram = <Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: Label[] = [],
  ) => new Histogram({ name, help, buckets, labelNames, registers })
  const requests = new Counter({
    name: 'lopt_requests_total',
    help: 'Requests that are over; 499: the client went away',
    labelNames: ['route', 'prompt', 'status'],
    registers,
  })
  const seconds = histogram(
    'lopt_request_seconds',
    'From arrival to the last byte',
    SECONDS,
    ['route'],
  )
  const firstToken = histogram(
    'lopt_time_to_first_token_seconds',
    "From a completion's arrival to its first token",
    SECONDS,
  )
  const perToken = histogram(
    'lopt_time_per_token_seconds',
    "Mean time between a text's tokens",
    TOKEN_SECONDS,
  )
  const rejected = new Counter({
    name: 'lopt_rejected_total',
    help: 'Requests that found the queue full',
    labelNames: ['prompt'],
    registers,
  })
  const passes = {
    seconds: histogram('lopt_pass_seconds', 'A pass through the model', SECONDS, [
      'work',
    ]),
    rows: histogram('lopt_pass_rows', 'Rows of a pass', ROWS, ['work']),
    tokens: histogram('lopt_pass_tokens', 'Tokens of a pass', TOKENS, ['work']),
  }
  addEngineFigures(registry, engine)
  const delay = addProcessFigures(registry)
  const names = boundedNames(engine)
  const promptLabel = names.labelOf
  const stopObserving = engine.observe((event) => {
    if (event.type === 'removed') {
      names.forget(event.prompt)
      for (const counter of [requests, rejected]) void forget(counter, event.prompt)
      return
    }
    if (event.type === 'rejected') {
      rejected.inc({ prompt: promptLabel(event.prompt ?? engine.backboneName) })
      return
    }
    const { work } = event
    passes.seconds.observe({ work }, event.seconds)
    passes.rows.observe({ work }, event.rows)
    passes.tokens.observe({ work }, event.tokens)
  })
  return {
    registry,
    promptLabel,
    request: ({ route, model, status }) =>
      requests.inc({ route, prompt: promptLabel(model), status }),
    seconds: (route, value) => seconds.observe({ route }, value),
    firstToken: (value) => firstToken.observe(value),
    perToken: (value) => perToken.observe(value),
    stop() {
      stopObserving()
      delay.disable()
      registry.clear()
    },
  }
}

/** Names that are served, the first of them; others could be anything that a client wrote. */
function boundedNames(engine: Engine) {
  const known = new Set<string>([engine.backboneName])
  return {
    labelOf(name: string | undefined): string {
      if (name === undefined) return ''
      if (known.has(name)) return name
      if (!engine.prompts.has(name) || known.size > MOST_PROMPTS) return OTHER
      known.add(name)
      return name
    },
    forget: (name: string) => void known.delete(name),
  }
}

/** The series of a prompt that is no longer served. */
async function forget(counter: Counter<'prompt'>, prompt: string): Promise<void> {
  const { values } = await counter.get()
  for (const { labels } of values) if (labels.prompt === prompt) counter.remove(labels)
}

function addEngineFigures(registry: Registry, engine: Engine): void {
  const gauge = (name: string, help: string, of: (stats: EngineStats) => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(of(engine.stats()))
      },
    })
  const counter = (name: string, help: string, key: keyof EngineStats['totals']) =>
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(engine.stats().totals[key])
      },
    })
  gauge('lopt_queued_requests', 'Requests that wait', (stats) => stats.queuedRequests)
  gauge('lopt_queued_tokens', 'Tokens that wait', (stats) => stats.queuedTokens)
  gauge('lopt_running', 'Texts that are continued', (stats) => stats.running)
  gauge('lopt_slots', 'Texts that can be continued at once', (stats) => stats.slots)
  gauge('lopt_cache_bytes', 'Keys and values in memory', (stats) => stats.cacheBytes)
  gauge('lopt_cache_max_bytes', 'Keys and values at most', (stats) => stats.maxCacheBytes)
  gauge(
    'lopt_cache_use_ratio',
    "Share of the cache's positions that are filled",
    (stats) => stats.cacheUse,
  )
  gauge('lopt_prompts', 'Prompts that are served', () => engine.prompts.size)
  counter('lopt_tokens_read_total', 'Tokens of texts that were given', 'tokensRead')
  counter('lopt_tokens_made_total', 'Tokens that were generated', 'tokensMade')
  counter('lopt_failed_total', 'Requests that failed in the engine', 'failed')
  counter('lopt_aborted_total', 'Requests that were given up', 'aborted')
}

function addProcessFigures(registry: Registry) {
  const resolution = 10
  const delay = monitorEventLoopDelay({ resolution })
  delay.enable()
  new Gauge({
    name: 'lopt_event_loop_delay_seconds',
    help: "How late the process's event loop was since the last look",
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      for (const quantile of [0.5, 0.99]) {
        // What is measured is the time between two looks.
        const late = delay.count === 0 ? 0 : delay.percentile(quantile * 100) / 1e9
        this.set({ quantile }, Math.max(0, late - resolution / 1000))
      }
      delay.reset()
    },
  })
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory',
    registers: [registry],
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  return delay
}
