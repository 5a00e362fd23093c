// A server's log on standard error. Whoever reads it may stop or have no room: the server goes on, and lines are lost.

import { writeSync } from 'node:fs'

const STDERR = 2

/** Where pino writes its lines. */
export function logStream(): { write(line: string): void } {
  let lost = 0
  return {
    write(line) {
      try {
        if (lost > 0) writeSync(STDERR, `{"level":40,"msg":"${lost} lines were lost"}\n`)
        lost = 0
        writeSync(STDERR, line)
      } catch {
        lost += 1
      }
    },
  }
}
