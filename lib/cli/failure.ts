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
 * A call that takes options as they were typed and only checks or reads: a value that it finds out
 * of range is bad usage. Elsewhere a RangeError is a bug, as is a TypeError anywhere: the tables of
 * options have seen to the types.
 */
export async function asked<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message, { cause: error })
    throw error
  }
}

/** The events of work that checks its options before the first of them: those are `asked`. */
export async function* askedEvents<T>(events: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    const first = await asked(() => events.next())
    if (first.done) return
    yield first.value
    yield* events
  } finally {
    await events.return(undefined)
  }
}

/** What is known of the command that failed. */
export interface FailedCommand {
  /** Where to read on after bad usage. */
  readonly hint: string
  /** A message of the library as people at a command line read it. */
  readonly reworded: (message: string) => string
}

/**
 * Says what failed, on one line of stderr and with `--json` as `{"type": "error"}`; `LOPT_DEBUG=1`
 * adds the stack. Help and version, which commander throws, are no failure.
 *
 * @returns the exit code
 */
export function reportFailure(
  error: unknown,
  output: Output,
  { hint, reworded }: FailedCommand,
): number {
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
  const debug = process.env.LOPT_DEBUG === '1'
  const message = oneLineMessage(error)
  if (error instanceof UsageError) {
    const said = reworded(message)
    output.event({ type: 'error', code: 'ERR_USAGE', message: said })
    output.note(`lopt: ${said}`)
    output.note(hint)
  } else if (error instanceof LoptError) {
    const said = reworded(message)
    output.event({ type: 'error', code: error.code, message: said })
    output.note(`lopt: ${error.code}: ${said}`)
  } else {
    output.event({ type: 'error', code: 'ERR_UNEXPECTED', message })
    output.note(`lopt: unexpected error: ${message}`)
    if (!debug) output.note('This is a bug in lopt: LOPT_DEBUG=1 shows where it is.')
  }
  if (debug) output.note(stackOf(error))
  return error instanceof UsageError ? EXIT.usage : EXIT.failed
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
