// What the server does now, from its figures for Prometheus, every second while the page is seen.

import { ask } from './api.js'
import { emptySparkline, sparkline } from './chart.js'
import { $, element, whileVisible } from './dom.js'

const LOOK_MS = 1000
/** Of the small curves, in seconds. */
const PLACES = 60
/** Counts are compared with those so many looks ago. */
const RATE_LOOKS = 3
const LATENCY_LOOKS = 10
/** The page's own looks are no requests. */
const IS_WORK = /route="[^"]*\/(completions|classify|predict)"/

/** Title, the number as a curve has it (null: there is none), and how it is written. */
const TILES = [
  ['Requests / s', (samples) => rate(samples), (value) => value.toFixed(1)],
  ['Queue', ([now]) => now.queue, (value) => String(value)],
  ['Running texts', ([now]) => now.running, (value, [now]) => `${value} of ${now.slots}`],
  ['Mean latency', (samples) => latency(samples), duration],
]

/** The tiles, before there is a figure for them: what stands below them does not move. */
export function showTiles() {
  return TILES.map(([title]) => {
    const value = element('span', { className: 'value' }, '–')
    const spark = emptySparkline()
    const figure = element('dd', {}, value, spark)
    $('live').append(element('div', {}, element('dt', {}, title), figure))
    return { value, spark, curve: [] }
  })
}

/**
 * @param tiles what `showTiles` made
 * @param promptsChanged called when there are more or fewer prompts than before
 */
export function startLive(tiles, promptsChanged) {
  /** The newest first. */
  let samples = []
  let prompts
  const look = async () => {
    const sample = await sampleOf().catch(() => undefined)
    $('silent').hidden = sample !== undefined
    if (sample === undefined) return
    samples = [sample, ...samples].slice(0, LATENCY_LOOKS + 1)
    tiles.forEach((tile, i) => {
      showFigure(tile, TILES[i], samples)
    })
    if (prompts !== undefined && prompts !== sample.prompts) promptsChanged()
    prompts = sample.prompts
  }
  whileVisible(LOOK_MS, look, () => {
    // a rate over the time when nobody looked would mean little
    samples = []
  })
}

function showFigure({ value, spark, curve }, [, of, write], samples) {
  const number = of(samples)
  value.textContent = number === null ? '–' : write(number, samples)
  curve.push(number)
  if (curve.length > PLACES) curve.shift()
  sparkline(spark, curve, PLACES)
}

async function sampleOf() {
  const answer = await ask('metrics')
  const text = await answer.text()
  const sum = (name, wanted = /^/) => {
    let total = 0
    for (const [, labels = '', value] of text.matchAll(lineOf(name))) {
      if (wanted.test(labels)) total += Number(value)
    }
    return total
  }
  return {
    at: performance.now(),
    done: sum('lopt_request_seconds_count', IS_WORK),
    seconds: sum('lopt_request_seconds_sum', IS_WORK),
    queue: sum('lopt_queued_requests'),
    running: sum('lopt_running'),
    slots: sum('lopt_slots'),
    prompts: sum('lopt_prompts'),
  }
}

const lineOf = (name) => new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm')

function rate([now, ...before]) {
  const then = before[Math.min(RATE_LOOKS, before.length) - 1]
  return then ? (1000 * (now.done - then.done)) / (now.at - then.at) : null
}

/** Of the requests that ended lately. */
function latency([now, ...before]) {
  const then = before.at(-1)
  const done = then ? now.done - then.done : 0
  return done > 0 ? (now.seconds - then.seconds) / done : null
}

function duration(seconds) {
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`
}
