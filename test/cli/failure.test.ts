// Whose mistake a failure is, and what it is called.

import { expect, test } from 'vitest'
import { asked, askedEvents, reportFailure, UsageError } from '../../lib/cli/failure.js'
import type { Output } from '../../lib/cli/output.js'
import { LoptError } from '../../lib/errors.js'

function reported(error: unknown): { code: number; notes: string[] } {
  const notes: string[] = []
  const output: Output = {
    json: false,
    event() {},
    print() {},
    stream() {},
    note: (line) => notes.push(line),
    divertNotes: () => () => {},
  }
  const reworded = (message: string) => message.replace('rank', '--rank')
  const code = reportFailure(error, output, { hint: 'See --help.', reworded })
  return { code, notes }
}

const bug = 'This is a bug in lopt: LOPT_DEBUG=1 shows where it is.'

test('bad usage exits 2, with the flags and where to read on', () => {
  expect(reported(new UsageError('Expected rank in 1..5'))).toEqual({
    code: 2,
    notes: ['lopt: Expected --rank in 1..5', 'See --help.'],
  })
})

test('what failed exits 1 with its code', () => {
  expect(reported(new LoptError('ERR_IO', 'no\n  rank'))).toEqual({
    code: 1,
    notes: ['lopt: ERR_IO: no --rank'],
  })
})

test.each([
  new TypeError("Cannot read properties of undefined (reading 'rank')"),
  new RangeError('matmul: [2, 3] x [2, 3] do not align'),
  'rank',
])('anything else exits 1 as a bug, in its own words: %s', (error) => {
  const message = error instanceof Error ? error.message : error
  expect(reported(error)).toEqual({
    code: 1,
    notes: [`lopt: unexpected error: ${message}`, bug],
  })
})

test('a value out of range is bad usage where options are asked about only', async () => {
  const cause = new RangeError('Expected rank in 1..5')
  const refuse = (error: Error) => () => {
    throw error
  }
  await expect(asked(refuse(cause))).rejects.toEqual(
    new UsageError(cause.message, { cause }),
  )
  for (const error of [
    new TypeError('x is not a function'),
    new LoptError('ERR_IO', ''),
  ]) {
    await expect(asked(refuse(error))).rejects.toBe(error)
  }
})

test('events are asked about up to the first of them', async () => {
  const cause = new RangeError('late')
  async function* failing(events: number) {
    for (let i = 0; i < events; i++) yield i
    throw cause
  }
  const seen: number[] = []
  const all = async (events: AsyncGenerator<number>) => {
    for await (const event of askedEvents(events)) seen.push(event)
  }
  await expect(all(failing(0))).rejects.toBeInstanceOf(UsageError)
  await expect(all(failing(2))).rejects.toBe(cause)
  expect(seen).toEqual([0, 1])
})

test('events that are left early are ended', async () => {
  let ended = 0
  async function* endless() {
    try {
      for (let i = 0; ; i++) yield i
    } finally {
      ended += 1
    }
  }
  for (const last of [0, 2]) {
    for await (const event of askedEvents(endless())) if (event === last) break
  }
  expect(ended).toBe(2)
})
