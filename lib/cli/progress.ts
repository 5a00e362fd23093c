// How far a run of steps is: a bar on a terminal, a plain line every so often elsewhere; both on
// stderr. Knows steps, losses and time, and no command.

import { MultiBar } from 'cli-progress'
import { count, duration, type Output } from './output.js'

export interface Progress {
  /** After each step; `step` from 1. */
  step(step: number, loss: number): void
  /** Takes the bar away. May be called twice. */
  stop(): void
}

/**
 * Shows the progress of `total` steps, of which `done` were done before. Notes go above the bar while
 * it is there.
 */
export function showProgress(output: Output, total: number, done = 0): Progress {
  const show = process.stderr.isTTY ? showBar : showLines
  return show(output, total, done)
}

function showBar(output: Output, total: number, done: number): Progress {
  const bars = new MultiBar({
    stream: process.stderr,
    format: '{bar} {value}/{total} · loss {loss} · {rate} · {left} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    hideCursor: true,
    // Ctrl-C is the command's own: it saves first
    gracefulExit: false,
    autopadding: true,
  })
  const bar = bars.create(total, done, { loss: '…', rate: '…', left: '…' })
  const giveNotesBack = output.divertNotes((line) => bars.log(`${line}\n`))
  const pace = createPace(total, { done })
  let stopped = false
  return {
    step(step, loss) {
      if (stopped) return
      const { rate, left } = pace(step)
      bar.update(step, {
        loss: loss.toFixed(4),
        rate: rateText(rate),
        left: duration(left),
      })
    },
    stop() {
      if (stopped) return
      stopped = true
      giveNotesBack()
      bars.stop()
    },
  }
}

// A line at least this often, so that a log shows that a long run is alive.
const quietSeconds = 30

function showLines(output: Output, total: number, done: number): Progress {
  const pace = createPace(total, { done })
  const every = Math.max(1, Math.ceil(total / 10))
  let lastLine = performance.now()
  return {
    step(step, loss) {
      const { rate, left } = pace(step)
      const now = performance.now()
      const due = step === done + 1 || step === total || step % every === 0
      if (!due && now - lastLine < quietSeconds * 1000) return
      lastLine = now
      const time = step === total ? '' : `  ${duration(left)} left`
      output.note(
        `step ${step}/${total}  loss ${loss.toFixed(4)}  ${rateText(rate)}${time}`,
      )
    },
    stop() {},
  }
}

/** Steps a second over the last steps, and the seconds left at that rate. */
export function createPace(
  total: number,
  { done = 0, now = () => performance.now() }: { done?: number; now?: () => number } = {},
): (step: number) => { rate: number; left: number } {
  // Enough steps to be steady, few enough to follow a change of the rows' length.
  const window = 50
  const times: { step: number; at: number }[] = [{ step: done, at: now() }]
  return (step) => {
    const at = now()
    times.push({ step, at })
    if (times.length > window) times.shift()
    const first = times[0] as { step: number; at: number }
    const rate = (1000 * (step - first.step)) / Math.max(at - first.at, 1e-3)
    return { rate, left: (total - step) / rate }
  }
}

function rateText(rate: number): string {
  if (rate >= 100) return `${count(Math.round(rate))} steps/s`
  return rate >= 1 ? `${rate.toFixed(1)} steps/s` : `${(1 / rate).toFixed(1)} s/step`
}
