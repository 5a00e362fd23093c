// A sweep small enough for tests: gpt2-plain of test/fixtures, 24 rows, prompts of up to 4 vectors, 2 steps.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { type SweepEvent, type SweepOptions, sweep } from '../../lib/study/index.js'
import type { SweepConfig } from '../../lib/study/sweep-config.js'
import { fixture } from '../backbone/golden.js'
import { rows } from '../train/small-runs.js'

export const folder = mkdtempSync(join(tmpdir(), 'lopt-study-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

export const data = join(folder, 'rows.jsonl')
writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))

export const small: SweepConfig = {
  backbone: fixture('gpt2-plain'),
  data,
  testData: data,
  length: 4,
  steps: 2,
  batchSize: 4,
  evalEvery: 1,
}

export async function run(options: SweepOptions): Promise<SweepEvent[]> {
  const events: SweepEvent[] = []
  for await (const event of sweep(options)) events.push(event)
  return events
}

/** What became of each cell: `rows/full/P4-seed0: done`, with `kept` where it was not run. */
export function outcomes(events: readonly SweepEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === 'cell'
      ? [`${event.cell}: ${event.status}${event.kept ? ' (kept)' : ''}`]
      : [],
  )
}
