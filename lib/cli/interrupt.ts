// Ctrl-C, termination and a reader that has gone away, as one AbortSignal. Knows no command.

import { constants } from 'node:os'
import { EXIT } from './failure.js'
import type { Output } from './output.js'

/** What every command gets beside its options. */
export interface Context {
  readonly output: Output
  readonly signal: AbortSignal
}

export interface Interrupt {
  readonly signal: AbortSignal
  /**
   * The process's exit code once it was interrupted, as shells count: 128 and the signal's number.
   * 1 if an output cannot be written.
   */
  exitCode(): number | undefined
  /** For a command that runs until it is told to stop: it has ended well then. `message` says what is done about it. */
  isEnd(message: string): void
}

/**
 * Listens from now on. The first SIGINT or SIGTERM aborts the signal, so that the command can save;
 * the second kills the process at once. Writing to a pipe whose reader has gone (`| head`) aborts
 * it too, and says nothing.
 */
export function listenForInterrupts(note: (line: string) => void): Interrupt {
  const controller = new AbortController()
  let exitCode: number | undefined
  let stopping = 'stopping; once more stops at once, without saving'
  let isEnd = false
  const abort = (code: number) => {
    exitCode ??= code
    controller.abort()
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    // once: after it the system's own way with the signal is back, which ends the process
    process.once(name, () => {
      note(`lopt: ${stopping}`)
      if (isEnd) controller.abort()
      else abort(128 + constants.signals[name])
    })
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // what only talks to people may fall silent where others are being served
      if (isEnd && stream === process.stderr) return
      // each later write fails again: only the first says something
      const first = exitCode === undefined
      abort(error.code === 'EPIPE' ? 128 + constants.signals.SIGPIPE : EXIT.failed)
      if (first && exitCode === EXIT.failed && stream === process.stdout) {
        note(`lopt: ERR_IO: Cannot write to standard output: ${error.message}`)
      }
    })
  }
  return {
    signal: controller.signal,
    exitCode: () => exitCode,
    isEnd(message) {
      stopping = message
      isEnd = true
    },
  }
}
