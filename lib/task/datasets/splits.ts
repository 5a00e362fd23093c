// From a data set's own two splits to train, dev and test. Knows rows only by their groups.

import type { SplitName } from '../task.js'
import type { DataRow, NamedTask } from './named.js'
import { torchOrder } from './torch-order.js'

/**
 * `research`: as this field does it where no test labels are public (XYaoooo/DPT, ZhengxiangShi/DePT,
 * AkariAsai/ATTEMPT, src/tasks.py), drawn by seed 42. `official`: the data set's own, `validation` being
 * dev and test empty, or `test` being test and dev empty.
 */
export const SPLITS = ['research', 'official'] as const

export type Splits = (typeof SPLITS)[number]

const SEED = 42
const DEV_ROWS = 1000

export function splitRows(
  { evaluation, devFrom }: NamedTask,
  rows: { readonly train: readonly DataRow[]; readonly evaluation: readonly DataRow[] },
  splits: Splits,
): Record<SplitName, readonly DataRow[]> {
  const [train, held] = [rows.train, rows.evaluation]
  if (splits === 'official') {
    return evaluation === 'test'
      ? { train, dev: [], test: held }
      : { train, dev: held, test: [] }
  }
  if (devFrom === 'halves') {
    const { taken, rest } = drawn(held, (groups) => Math.floor(groups / 2))
    return { train, dev: taken, test: rest }
  }
  const { taken, rest } = drawn(train, () => DEV_ROWS)
  return { train: rest, dev: taken, test: held }
}

/** Whole groups are drawn: half a question's answers would be no question. Rows keep the drawn order. */
function drawn(
  rows: readonly DataRow[],
  countOf: (groups: number) => number,
): { taken: DataRow[]; rest: DataRow[] } {
  const groups = new Map<string | number, DataRow[]>()
  for (const [i, row] of rows.entries()) {
    const same = groups.get(row.group ?? i)
    if (same) same.push(row)
    else groups.set(row.group ?? i, [row])
  }
  const all = [...groups.values()]
  const order = torchOrder(all.length, SEED)
  const count = countOf(all.length)
  const of = (some: number[]) => some.flatMap((i) => all[i] as DataRow[])
  return { taken: of(order.slice(0, count)), rest: of(order.slice(count)) }
}
