// What a failure looks like to people and to programs, and the exit code it gives. Knows the error
// classes and no command.

import { CommanderError } from 'commander'
import { LoptError } from '../errors.js'
import type { Output } from './output.js'

/** Exit codes: docs and `--help` list them. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const

/** What was asked for cannot be asked for; reported as bad usage. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/**
 * Says what failed, on one line of stderr and with `--json` as `{"type": "error"}`; `LOPT_DEBUG=1`
 * adds the stack. Help and version, which commander throws, are no failure.
 *
 * @param hint where to read on after bad usage
 * @returns the exit code
 */
export function reportFailure(error: unknown, output: Output, hint: string): number {
  if (error instanceof CommanderError) {
    // commander has written its message by itself
    if (error.exitCode === 0) return EXIT.ok
    output.event({
      type: 'error',
      code: 'ERR_USAGE',
      message: withoutPrefix(error.message),
    })
    return EXIT.usage
  }
  const usage =
    error instanceof UsageError ||
    error instanceof TypeError ||
    error instanceof RangeError
  const message = oneLineMessage(error)
  if (error instanceof LoptError) {
    output.event({ type: 'error', code: error.code, message })
    output.note(`lopt: ${error.code}: ${message}`)
  } else {
    output.event({ type: 'error', code: usage ? 'ERR_USAGE' : 'ERR_UNEXPECTED', message })
    output.note(`lopt: ${usage ? '' : 'unexpected error: '}${message}`)
    if (usage) output.note(hint)
  }
  if (process.env.LOPT_DEBUG === '1') output.note(stackOf(error))
  return usage ? EXIT.usage : EXIT.failed
}

function oneLineMessage(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.replace(/\s*\n\s*/g, ' ')
}

/** The stack, and those of the causes. */
function stackOf(error: unknown): string {
  const stacks: string[] = []
  for (
    let one = error;
    one !== undefined;
    one = one instanceof Error ? one.cause : undefined
  ) {
    stacks.push(one instanceof Error ? (one.stack ?? one.message) : String(one))
  }
  return stacks.join('\ncaused by ')
}

function withoutPrefix(message: string): string {
  return message.replace(/^error: /, '')
}
